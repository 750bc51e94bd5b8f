"""How alerts and scores of tracks become figures."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitaskais.config import REGIONS
from multitaskais.errors import InputError
from multitaskais.evaluation import report as files
from multitaskais.evaluation.evaluate import Outcome, outcome, outside_region, report
from multitaskais.evaluation.kinds import right_causes, vessel_class
from multitaskais.evaluation.labelled import FIRST_KEY, labelled, read_labelled
from multitaskais.evaluation.plots import all_plots
from multitaskais.records import Alert, AlertType, Cause, Status
from tests.support.labelled_tables import alert_on, table, trace_of

NAMES = ("vrnn", "place")
BRITTANY = REGIONS["brittany"]


@pytest.fixture
def tracks() -> list[dict]:
    clean = [{"id": f"c{i}", "mmsi": 227_000_000 + i, "lon": -5.5 + 0.01 * i, "ship_type": 70} for i in range(8)]
    return [
        *clean,
        {"id": "c-moored", "mmsi": 228_000_001},
        {"id": "s1", "kind": "shift_5km", "mmsi": 227_000_001},
        {"id": "s2", "kind": "shift_5km", "mmsi": 227_000_002},
        {"id": "d1", "kind": "drift", "mmsi": 227_000_003, "ship_type": 30},
        {"id": "d-short", "kind": "drift", "hours": 1.0, "abnormal_from": 0.5},
    ]


def build(tracks: list[dict], alerts: tuple[tuple, ...] = (), peak: dict[str, float] | None = None) -> Outcome:
    data = table(tracks)
    peaks = {str(t): 0.5 for t in data.tracks["track_id"]} | {"c-moored": np.nan, "s1": 2.0, "d1": 1.5} | (peak or {})
    made: list[Alert] = [alert_on(data, track, hour, **more) for track, hour, more in alerts]
    return outcome(data, made, trace_of(data, peaks), NAMES, outside_region(data.reports, BRITTANY))


STANDARD = (
    ("s1", 3.5, {}),
    ("d1", 4.0, {"cause": Cause.SPEED, "detectors": ("vrnn",)}),
    ("c3", 3.0, {"cause": Cause.COURSE}),
)


def figures(result: Outcome) -> dict:
    return report(result, np.random.default_rng(0), draws=20)


def test_rows_of_different_tracks_never_mix_whatever_their_mmsi() -> None:
    data = table([{"id": "a", "mmsi": 227_000_001}, {"id": "b", "mmsi": 227_000_001, "lat": 48.5}])
    assert data.tracks["key"].tolist() == [FIRST_KEY, FIRST_KEY + 1]
    assert set(data.reports["mmsi"]) == {FIRST_KEY, FIRST_KEY + 1}
    assert np.all(np.diff(data.reports["t"]) >= 0)
    assert data.tracks["mmsi"].tolist() == [227_000_001] * 2


def test_the_order_of_the_rows_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    n = 60
    ids, t = np.array(["b", "a", "c"])[rng.integers(0, 3, n)], rng.permutation(n).astype(float)
    kinds, abnormal = np.where(ids == "b", "drift", "clean"), (ids == "b") & (t > 30)
    values = {"mmsi": np.full(n, 227_000_001), "t": t, "lat": t, "lon": t, "sog": t, "cog": t}
    one = labelled(ids, kinds, abnormal, values)
    p = rng.permutation(n)
    two = labelled(ids[p], kinds[p], abnormal[p], {k: v[p] for k, v in values.items()})
    assert one.reports.tobytes() == two.reports.tobytes()
    assert one.tracks.tobytes() == two.tracks.tobytes()
    np.testing.assert_array_equal(one.abnormal, two.abnormal)
    assert np.nanmin(one.tracks["t_abnormal"]) == t[abnormal].min()


def test_a_score_is_the_greatest_over_samples_and_alerts(tracks: list[dict]) -> None:
    result = build(tracks, (*STANDARD, ("s2", 3.0, {"score": 9.0})))
    score = dict(zip(result.labelled.tracks["track_id"].tolist(), result.fused.score.tolist(), strict=True))
    assert score["s1"] == pytest.approx(2.0)
    assert score["s2"] == 9.0
    assert score["c-moored"] == -np.inf
    assert score["d-short"] == -np.inf
    place = dict(zip(result.labelled.tracks["track_id"].tolist(), result.detectors[1].score.tolist(), strict=True))
    assert place["s1"] == pytest.approx(4.0)  # z of its own, not the fused score


def test_what_was_not_judged_has_its_reason_and_stays_in_every_denominator(tracks: list[dict]) -> None:
    r = figures(build(tracks, STANDARD))
    assert r["not_judged"] == {"moored": 1, "too_short": 1}
    assert r["judged"] == 11
    assert r["clean_tracks"] == 9
    assert r["fused"]["per_kind"]["drift"]["recall"] == 0.5
    assert r["fused"]["per_kind"]["drift"]["recall_at_5pct"] == 0.5
    assert r["fused"]["clean_flagged"] == pytest.approx(1 / 9)


def test_a_track_outside_the_region_says_so() -> None:
    result = build([{"id": "c1"}, {"id": "away", "lat": 10.0, "hours": 1.0}])
    assert result.reason.tolist() == ["outside_region", ""]


def test_figures_are_unweighted_means_over_kinds(tracks: list[dict]) -> None:
    fused = figures(build([*tracks, {"id": "s3", "kind": "shift_5km"}], STANDARD))["fused"]
    shift, drift = fused["per_kind"]["shift_5km"], fused["per_kind"]["drift"]
    assert (shift["tracks"], shift["found"]) == (3, 1)
    for name in ("auroc", "average_precision", "recall_at_1pct", "recall_at_5pct", "recall"):
        assert fused[name] == pytest.approx((shift[name] + drift[name]) / 2)


def test_hours_to_alert_count_from_the_first_abnormal_report_and_of_detected_tracks_only(tracks: list[dict]) -> None:
    early = ("s2", 1.0, {"score": 1.1})  # before the anomaly began: flagged, but this tells no time
    fused = figures(build(tracks, (*STANDARD, early)))["fused"]
    assert fused["per_kind"]["shift_5km"]["recall"] == 1.0
    assert fused["per_kind"]["shift_5km"]["median_hours_to_alert"] == pytest.approx(1.5)
    assert fused["median_hours_to_alert"] == pytest.approx((1.5 + 2.0) / 2)
    later = ("s2", 3.0, {"status": Status.UPDATED, "first_hour": 1.0})
    fused = figures(build(tracks, (*STANDARD, early, later)))["fused"]
    assert fused["per_kind"]["shift_5km"]["median_hours_to_alert"] == pytest.approx((1.5 + 1.0) / 2)


def test_revisions_of_one_alert_count_once_and_challengers_not_at_all(tracks: list[dict]) -> None:
    more = (
        ("c3", 4.0, {"status": Status.UPDATED, "first_hour": 3.0}),
        ("c3", 5.0, {"status": Status.CLOSED, "first_hour": 3.0}),
        ("c5", 4.0, {"challenger": True, "score": 50.0}),
    )
    fused = figures(build(tracks, (*STANDARD, *more)))["fused"]
    days = 9 * 6 / 24
    assert fused["alerts_per_vessel_day"] == pytest.approx(1 / days)
    assert fused["clean_flagged"] == pytest.approx(1 / 9)


def test_a_detector_is_credited_with_the_alerts_that_name_it(tracks: list[dict]) -> None:
    jump = ("s2", 3.0, {"alert_type": AlertType.JUMP, "cause": Cause.JUMP, "detectors": ("jump",), "score": 4.0})
    r = figures(build(tracks, (*STANDARD, jump)))
    assert set(r["detectors"]) == {"vrnn", "place", "jump"}
    assert r["detectors"]["vrnn"]["per_kind"]["drift"]["found"] == 1
    assert r["detectors"]["vrnn"]["per_kind"]["shift_5km"]["found"] == 0
    assert r["detectors"]["place"]["clean_flagged"] == pytest.approx(1 / 9)
    assert r["detectors"]["jump"]["per_kind"]["shift_5km"]["recall_at_1pct"] == 0.5
    assert r["detectors"]["jump"]["clean_flagged"] == 0.0


def test_a_cause_is_right_for_its_kind(tracks: list[dict]) -> None:
    causes = figures(build(tracks, STANDARD))["fused"]["causes"]
    assert causes["named_right"] == 0.5  # the shift by its place; the drift was called a matter of speed
    assert causes["tracks"] == 2
    assert causes["per_kind"]["drift"] == {"speed": 1}
    for kind in (
        "shift_2km",
        "shift_10km",
        "shift",
        "detour",
        "reversed",
        "slow",
        "fast",
        "drift",
        "loiter",
        "spoof",
        "jump",
    ):
        assert right_causes(kind), kind
    assert right_causes("something else") == frozenset()
    assert [vessel_class(x) for x in (-1, 0, 30, 31, 52, 60, 79, 85, 36, 99)] == [
        "unknown", "unknown", "fishing", "tow", "tug", "passenger", "cargo", "tanker", "pleasure", "other",
    ]  # fmt: skip


def test_groups_by_class_and_by_ships_nearby_hold_every_track_once(tracks: list[dict]) -> None:
    fused = figures(build(tracks, STANDARD))["fused"]
    for groups in (fused["per_class"], fused["per_vessels_nearby"]):
        assert sum(g["clean_tracks"] for g in groups.values()) == 9
        assert sum(g["abnormal_tracks"] for g in groups.values()) == 4
    assert fused["per_class"]["fishing"]["recall"] == 1.0


def test_at_the_development_level_the_share_of_the_clean_and_the_recall_are_those_above_it(tracks: list[dict]) -> None:
    from dataclasses import replace

    result = replace(build(tracks, STANDARD, {"c1": 0.9, "c2": 0.8}), development_level=0.7)
    said = figures(result)["fused"]["at_development_5pct"]
    above = result.fused.score > 0.7
    clean = result.labelled.tracks["kind"] == "clean"
    assert said["clean_flagged"] == pytest.approx(above[clean].mean())
    assert said["recall"] == pytest.approx(
        np.mean([above[result.labelled.tracks["kind"] == k].mean() for k in ("drift", "shift_5km")])
    )
    unknown = figures(build(tracks, STANDARD))["fused"]["at_development_5pct"]
    assert np.isnan(unknown["clean_flagged"])


def test_ships_nearby_are_other_ships_with_clean_tracks_within_2_km() -> None:
    result = build(
        [
            {"id": "a", "mmsi": 1, "lon": -5.50},
            {"id": "b", "mmsi": 2, "lon": -5.51},  # 0.7 km away
            {"id": "far", "mmsi": 3, "lon": -5.80},
            {"id": "own", "mmsi": 1, "kind": "drift", "lon": -5.50},
            {"id": "z", "mmsi": 4, "kind": "drift", "lon": -5.505},
        ]
    )
    near = dict(zip(result.labelled.tracks["track_id"].tolist(), result.near.tolist(), strict=True))
    assert near == {"a": 1, "b": 1, "far": 0, "own": 1, "z": 2}


def test_intervals_hold_their_figure(tracks: list[dict]) -> None:
    fused = figures(build(tracks, STANDARD))["fused"]
    for name, (low, high) in fused["intervals_95"].items():
        assert low <= fused[name] <= high, name


def test_the_report_is_written_as_json_without_nan_and_as_one_page(tracks: list[dict], tmp_path: Path) -> None:
    result = build(tracks, STANDARD)
    r = {"model": "<b>test", **figures(result)}
    written = files.write(r, all_plots(result, r["fused"], BRITTANY), tmp_path / "out")
    back = json.loads(written[0].read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    wanted = {
        "auroc",
        "average_precision",
        "recall_at_1pct",
        "recall_at_5pct",
        "clean_flagged",
        "recall",
        "alerts_per_vessel_day",
        "median_hours_to_alert",
    }
    assert wanted <= set(back["fused"])
    assert all(wanted <= set(block) for block in back["fused"]["per_kind"].values())
    assert all(wanted <= set(block) for block in back["detectors"].values())
    page = written[1].read_text()
    assert "<b>test" not in page
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page.replace("http-equiv", "")
    for png in written[2:]:
        assert png.read_bytes().startswith(b"\x89PNG")


def test_an_evaluation_without_alerts_or_without_clean_tracks_still_reports() -> None:
    r = figures(build([{"id": "s1", "kind": "shift_2km"}]))
    assert r["clean_tracks"] == 0
    assert np.isnan(r["fused"]["auroc"])
    assert files.plain(r)["fused"]["clean_flagged"] is None
    r = figures(build([{"id": "c1"}]))
    assert r["fused"]["per_kind"] == {}


def write_table(path: Path, **change: object) -> Path:
    columns: dict = {
        "track_id": ["a", "a", "b"], "mmsi": [227000001] * 3, "t": [0, 60, 0], "lat": [48.0, 48.1, 48.2], "lon": [-5.0] * 3,
        "sog": [10.0, 102.3, 9.0], "cog": [360.0, 90.0, None], "kind": ["clean", "clean", "drift"], "abnormal": [False, False, True],
        "heading": [511, 90, None], "nav_status": [0, None, 5],
    }  # fmt: skip
    columns.update(change)
    pq.write_table(pa.table({k: v for k, v in columns.items() if v is not None}), path)
    return path


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 9), st.sampled_from(["clean", "drift", "slow"])), min_size=3, max_size=25),
    st.integers(20, 90),
    st.integers(0, 2),
)  # fmt: skip
def test_of_a_table_with_more_than_can_be_judged_whole_tracks_are_drawn_by_the_seed(tracks, most, seed):
    rows = {name: [] for name in ("track_id", "mmsi", "t", "kind")}
    for i, (ship, n, kind) in enumerate(tracks):
        rows["track_id"] += [f"track {i}"] * n
        rows["mmsi"] += [227_000_000 + ship] * n
        rows["t"] += list(range(n))
        rows["kind"] += [kind] * n
    n = len(rows["t"])
    rest = {name: np.zeros(n) for name in ("lat", "lon", "sog", "cog")} | {"abnormal": np.zeros(n, bool)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.parquet"
        pq.write_table(pa.table(rows | rest), path, row_group_size=7)
        whole, some = read_labelled(path), read_labelled(path, most, seed) if most < n else None
        if some is None:
            assert read_labelled(path, most).reports.tobytes() == whole.reports.tobytes()
            return
        again = read_labelled(path, most, seed)
    assert whole.whole is None
    assert some.reports.tobytes() == again.reports.tobytes()
    assert some.whole == (len(tracks), sum(k == "clean" for *_, k in tracks), len({s for s, *_ in tracks}), n)
    assert len(some.reports) <= most
    sizes = {f"track {i}": size for i, (_, size, _) in enumerate(tracks)}
    assert all(sizes[str(t["track_id"])] == t["reports"] for t in some.tracks)
    # Who of the clean ships gives something up has no less than another, but for one track.
    clean = some.tracks[some.tracks["kind"] == "clean"]
    got = {s: int(clean["reports"][clean["mmsi"] == s].sum()) for s in np.unique(clean["mmsi"]).tolist()}
    had = {s: sum(k for ship, k, kind in tracks if (227_000_000 + ship, kind) == (s, "clean")) for s in got}
    short = [s for s in got if got[s] < had[s]]
    alone = {s for s in got if (clean["mmsi"] == s).sum() == 1}
    assert all(got[s] + 9 >= got[other] - 9 for s in short for other in set(got) - alone)


def test_ais_sentinels_and_nulls_in_the_table_are_missing_values(tmp_path: Path) -> None:
    data = read_labelled(write_table(tmp_path / "x.parquet"))
    a, b = (data.reports[data.reports["mmsi"] == key] for key in data.tracks["key"])
    assert np.isnan(a["sog"][1])
    assert np.isnan(a["cog"][0])
    assert np.isnan(b["cog"][0])
    assert np.isnan(a["heading"][0])
    assert a["nav_status"].tolist() == [0, -1]
    assert data.tracks["t_abnormal"][1] == 0.0


def test_a_table_that_cannot_be_used_says_why_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_labelled(tmp_path / "none.parquet")
    with pytest.raises(InputError, match="'kind' is missing"):
        read_labelled(write_table(tmp_path / "x.parquet", kind=None))
    with pytest.raises(InputError, match="two kinds"):
        read_labelled(write_table(tmp_path / "y.parquet", kind=["drift", "shift", "clean"]))
    (tmp_path / "z.parquet").write_text("no")
    with pytest.raises(InputError, match="not a Parquet"):
        read_labelled(tmp_path / "z.parquet")
