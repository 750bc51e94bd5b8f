"""``decode`` against the expected output of gpsd and libais; each difference is published and still there."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import pytest

from multitaskais.ais.decoder import Decoder, Message
from multitaskais.cli.decode import message_json
from tests.support import decoder_mappings as mappings

ROOT = Path(__file__).resolve().parents[2]
GPSD_FILES = {
    "sample.aivdm": "sample.aivdm.ju.chk",
    "ais_unpack_sixbit.log": "ais_unpack_sixbit.log.chk",
    "ait250.log": "ait250.log.chk",
    "saab-r4.log": "saab-r4.log.chk",
    "ais-nmea-type6-fid55.log": "ais-nmea-type6-fid55.log.chk",
}
OWN_SHIP_MMSI = 992509977  # of the !AIVDO sentences in sample.aivdm
LIBAIS_FILES = {"typeexamples.nmea": "typeexamples.json", "tagblock.nmea": "tagblock.json"}


def ours(path: Path) -> list[dict[str, Any]]:
    decoder = Decoder()
    lines = enumerate(path.read_bytes().split(b"\n"))
    return [json.loads(message_json(o)) for i, line in lines for o in decoder.feed(i, line) if isinstance(o, Message)]


def theirs(path: Path) -> list[dict[str, Any]]:
    """The AIS objects, without those of own-ship sentences, which we reject by name."""
    out, own_ship = [], False
    for line in path.read_text(errors="replace").splitlines():
        if line[3:7] in ("VDO,", "VDM,"):
            own_ship = line[3:6] == "VDO"
        elif line.startswith("{") and not own_ship:
            values = json.loads(line)
            if values.get("class") == "AIS":
                out.append(values)
    return out


def pairs(a: list[dict], b: list[dict]) -> tuple[list[tuple[dict, dict]], list[tuple[int, int]], list[tuple[int, int]]]:
    """Messages of both that belong together, by order, type and MMSI; then those of ours and of theirs alone."""
    keys_a = [(x["msg_type"], x["mmsi"]) for x in a]
    keys_b = [(x["type"], int(x["mmsi"])) for x in b]
    both, only_a, only_b = [], [], []
    for tag, i, j, k, m in difflib.SequenceMatcher(None, keys_a, keys_b, autojunk=False).get_opcodes():
        if tag == "equal":
            both += list(zip(a[i:j], b[k:m], strict=True))
        else:
            only_a += keys_a[i:j]
            only_b += keys_b[k:m]
    return both, only_a, only_b


def differing(both: list[tuple[dict, dict]]) -> set[tuple[int, str]]:
    found = set()
    for our, their in both:
        for field, value in their.items():
            if field in mappings.NOT_ON_THE_AIR or field.endswith("_text"):
                continue
            name = mappings.our_name(their["type"], field)
            if field == "eta" and their["type"] == 5:
                expected = "{month:02d}-{day:02d}T{hour:02d}:{minute:02d}Z".format(**our)
                same = value == expected
            else:
                same = mappings.equal(name, value, our.get(name))
            if not same:
                found.add((their["type"], field))
    return found


def explained(found: set[tuple[int, str]], table: dict[tuple[int, str], str]) -> tuple[set, set]:
    """Differences without an entry, and entries without a difference."""
    stale = {k for k in table if not ({k} & found or (k[0] == 0 and any(f == k[1] for _, f in found)))}
    return {(t, f) for t, f in found if (t, f) not in table and (0, f) not in table}, stale


@pytest.fixture(scope="module")
def gpsd(shared: Path) -> list[tuple[str, list, list, list]]:
    folder = shared / "data/nmea/gpsd"
    return [(name, *pairs(ours(folder / name), theirs(folder / chk))) for name, chk in GPSD_FILES.items()]


def test_every_message_that_gpsd_expects_is_decoded(gpsd: list) -> None:
    """gpsd joins the two parts of type 24; where its list does not show the sentences, its own-ship messages stand in it."""
    for _, both, only_ours, only_theirs in gpsd:
        assert both
        assert {mmsi for _, mmsi in only_theirs} <= {OWN_SHIP_MMSI}
        assert {t for t, _ in only_ours} <= {6, 21, 24, 25}


def test_gpsd_values_are_ours_but_for_the_published_differences(gpsd: list) -> None:
    found = differing([p for _, both, _, _ in gpsd for p in both])
    assert explained(found, mappings.GPSD) == (set(), set())


def test_libais_values_are_ours_but_for_the_published_differences(shared: Path) -> None:
    found: set[tuple[int, str]] = set()
    for name, expected in LIBAIS_FILES.items():
        both, only_ours, only_theirs = pairs(
            ours(shared / "data/nmea/libais" / name), theirs(shared / "data/nmea/libais" / expected)
        )
        assert (only_ours, only_theirs) == ([], [])
        found |= differing(both)
    assert explained(found, mappings.LIBAIS) == (set(), set())


def test_libais_tag_block_times_are_ours(shared: Path) -> None:
    from datetime import datetime

    folder = shared / "data/nmea/libais"
    both, _, _ = pairs(ours(folder / "tagblock.nmea"), theirs(folder / "tagblock.json"))
    assert len(both) == 4
    for our, their in both:
        assert our["time"] == datetime.fromisoformat(their["tagblock_timestamp"]).timestamp()


@pytest.mark.parametrize("name", ["GPSD", "LIBAIS"])
def test_the_page_publishes_the_tables(name: str) -> None:
    assert mappings.table(getattr(mappings, name)) in (ROOT / "docs/decoding.md").read_text()
