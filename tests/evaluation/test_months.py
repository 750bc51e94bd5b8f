"""The summary by month and year counts what the tables hold, however they come."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from multitaskais.engine.track_tally import TrackVerdict
from multitaskais.evaluation.alert_files import verdict_table
from multitaskais.evaluation.months import Months

TIME = st.integers(1_400_000_000, 1_460_000_000).map(float)
TRACK = st.builds(
    lambda mmsi, t, verdict, reason: TrackVerdict(
        f"{mmsi}-{t}", mmsi, t, t + 9, 3, 1, verdict, reason if verdict == "not_judged" else None, 0.5, 0
    ),
    st.integers(1, 6),
    TIME,
    st.sampled_from(["normal", "abnormal", "not_judged"]),
    st.sampled_from(["moored", "too_short"]),
)
ALERT = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["raised", "updated", "closed"]),
        "decided_at": TIME,
        "alert_type": st.sampled_from(["abnormal", "jump", "zone"]),
    }
)


@given(st.lists(TRACK, max_size=30), st.lists(ALERT, max_size=20))
def test_each_month_and_year_counts_its_tracks_vessels_and_raised_alerts(tracks, alerts):
    months = Months()
    for mmsi in {t.mmsi for t in tracks}:
        months.add_tracks(verdict_table([t for t in tracks if t.mmsi == mmsi]))
    for a in alerts:
        months.add_alert(a)
    found = months.as_dict()
    for name, form in (("months", "%Y-%m"), ("years", "%Y")):

        def of(t, form=form):
            return datetime.fromtimestamp(t, UTC).strftime(form)

        raised = [a for a in alerts if a["status"] == "raised"]
        assert list(found[name]) == sorted({of(t.t_start) for t in tracks} | {of(a["decided_at"]) for a in raised})
        for period, counts in found[name].items():
            mine = [t for t in tracks if of(t.t_start) == period]
            assert counts["tracks"] == len(mine) == counts["judged"] + sum(counts["not_judged"].values())
            assert counts["vessels"] == len({t.mmsi for t in mine})
            assert counts["abnormal"] == sum(t.verdict == "abnormal" for t in mine)
            for reason in ("moored", "too_short"):
                assert counts["not_judged"].get(reason, 0) == sum(t.reason == reason for t in mine)
            for kind in ("abnormal", "jump", "zone"):
                own = [a for a in raised if a["alert_type"] == kind and of(a["decided_at"]) == period]
                assert counts["alerts"].get(kind, 0) == len(own)


def test_the_figure_is_drawn_of_one_month_and_of_twenty_years():
    for years in (0, 20):
        months = Months()
        t = [1_400_000_000.0 + 86400.0 * 30 * m for m in range(12 * years + 1)]
        tracks = [TrackVerdict(f"1-{x}", 1, x, x, 1, 0, "not_judged", "moored", None, 0) for x in t]
        months.add_tracks(verdict_table(tracks))
        assert months.picture("title").startswith(b"\x89PNG")
