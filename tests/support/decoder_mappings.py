"""Names and values of gpsd and libais against ours, and each difference that remains.

``docs/decoding.md`` publishes these tables; a test holds the page and this file together.
"""

from __future__ import annotations

from typing import Any

# their field -> ours
RENAMED = {
    "type": "msg_type",
    "shiptype": "ship_type",
    "stationtype": "station_type",
    "portname": "port_name",
    "part_num": "partno",
    "link_id": "linkage",
    "notice_type": "notice",
    "msg_seq": "seqno",
}
RENAMED_BY_TYPE = {
    (18, "reserved"): "reserved_1",
    (18, "regional"): "reserved_2",
    (19, "reserved"): "reserved_1",
    (19, "regional"): "reserved_2",
    (9, "regional"): "reserved_1",
    (21, "regional"): "reserved_1",
    (18, "unit"): "cs",
}
# what the other decoder adds of its own: words for a number, its input, its clock
NOT_ON_THE_AIR = {"class", "device", "scaled", "timestamp", "tagblock_T", "tagblock_q", "tagblock_timestamp"}
NOT_ON_THE_AIR |= {"tagblock_station", "tagblock_group"}

BOXES = [(17, "lon"), (17, "lat"), *((t, f"{c}_{d}") for t in (22, 23) for c in ("ne", "sw") for d in ("lon", "lat"))]

# (type, field) -> why it differs; type 0 = every type
GPSD: dict[tuple[int, str], str] = {
    (4, "epfd"): "codes 9-14 are undefined: pyais gives 0",
    (
        5,
        "shiptype",
    ): "spare codes (38, 57, 71, ...): pyais gives the code of their group; static records keep the raw code",
    (5, "callsign"): "a text that begins with the padding '@': gpsd ends there, pyais keeps what follows",
    (5, "destination"): "a text that begins with the padding '@': gpsd ends there, pyais keeps what follows",
    (6, "alarm"): "DAC 235 FID 10 is not taken apart: see `data`",
    (6, "ana_int"): "DAC 235 FID 10 is not taken apart: see `data`",
    (6, "ana_ext1"): "DAC 235 FID 10 is not taken apart: see `data`",
    (6, "ana_ext2"): "DAC 235 FID 10 is not taken apart: see `data`",
    (6, "racon"): "DAC 235 FID 10 is not taken apart: see `data`",
    (6, "light"): "DAC 235 FID 10 is not taken apart: see `data`",
    (6, "lastport"): "DAC 1 FID 12 is not taken apart: see `data`",
    (6, "departure"): "DAC 1 FID 12 is not taken apart: see `data`",
    (6, "nextport"): "DAC 1 FID 12 is not taken apart: see `data`",
    (6, "eta"): "DAC 1 FID 12 is not taken apart: see `data`",
    (6, "arrival"): "DAC 1 FID 18: given as month, day, hour, minute",
    (6, "tidals"): "DAC 1 FID 14 and 32 are not taken apart: see `data`",
    (6, "linkage"): "DAC 1 FID 30 is not taken apart: see `data`",
    (6, "text"): "DAC 1 FID 30 is not taken apart: see `data`",
    (6, "passengers"): "DAC 200 FID 55 is not taken apart: see `data`",
    (6, "personnel"): "DAC 200 FID 55 is not taken apart: see `data`",
    (6, "crew"): "DAC 200 FID 55 is not taken apart: see `data`",
    (
        7,
        "mmsi3",
    ): "cut by the end of the message: gpsd fills up with zeros on the right, pyais takes the bits there are",
    (8, "airtemp"): "gpsd gives the raw number, pyais the scaled one",
    (8, "dewpoint"): "gpsd gives the raw number, pyais the scaled one",
    (8, "pressure"): "gpsd gives the raw number, pyais the scaled one",
    (8, "waterlevel"): "gpsd gives the raw number, pyais the scaled one",
    (8, "watertemp"): "gpsd gives the raw number, pyais the scaled one",
    **{
        (8, f): "gpsd gives the raw number, pyais the scaled one"
        for f in ("waveheight", "swellheight", "cspeed", "cspeed2", "cspeed3", "salinity", "visibility")
    },
    (8, "length"): "DAC 200 FID 10: gpsd gives decimetres, pyais metres",
    (8, "beam"): "DAC 200 FID 10: gpsd gives decimetres, pyais metres",
    (8, "draught"): "DAC 200 FID 10: gpsd gives centimetres, pyais metres",
    (17, "lat"): "pyais reads the latitude of type 17 without its sign (southern ones are wrong)",
    (8, "shiptype"): "DAC 200 FID 10: the field is named shiptype there and ship_type elsewhere",
    (8, "data"): "taken apart by pyais",
    (21, "name"): "gpsd joins name and name_ext",
    (24, "shiptype"): "gpsd joins parts A and B into one message; we give one message a sentence",
    (24, "vendorid"): "as above; and pyais gives three letters, model and serial apart, as in the standard of 2014",
    (24, "model"): "gpsd joins parts A and B",
    (24, "serial"): "gpsd joins parts A and B",
    (24, "callsign"): "gpsd joins parts A and B",
    (24, "to_bow"): "gpsd joins parts A and B",
    (24, "to_stern"): "gpsd joins parts A and B",
    (24, "to_port"): "gpsd joins parts A and B",
    (24, "to_starboard"): "gpsd joins parts A and B",
    (24, "shipname"): "gpsd joins parts A and B",
    (26, "data"): "gpsd takes the last 20 bits as radio status, pyais as data when the message is short",
    (26, "app_id"): "gpsd reads an application id in unstructured messages, pyais does not",
}
LIBAIS: dict[tuple[int, str], str] = {
    (0, "spare"): "spare bits are left out",
    (0, "spare2"): "spare bits are left out",
    (0, "spare3"): "spare bits are left out",
    (0, "sync_state"): "radio status is given whole, as `radio`",
    (0, "slot_timeout"): "radio status is given whole, as `radio`",
    (0, "received_stations"): "radio status is given whole, as `radio`",
    (0, "slot_increment"): "radio status is given whole, as `radio`",
    (0, "slots_to_allocate"): "radio status is given whole, as `radio`",
    (0, "slot_number"): "radio status is given whole, as `radio`",
    (0, "slot_offset"): "radio status is given whole, as `radio`",
    (0, "utc_min"): "radio status is given whole, as `radio`",
    (18, "commstate_cs_fill"): "radio status is given whole, as `radio`",
    (11, "transmission_ctl"): "a spare bit in pyais",
    (1, "turn"): "libais gives null where no turn indicator is at hand, pyais -128",
    (2, "turn"): "libais gives a fraction, pyais whole degrees a minute",
    (6, "retransmit"): "libais turns the flag around",
    (8, "notice_type_str"): "words for `notice`",
    (8, "sub_areas"): "given raw, as `area_data`",
    (8, "duration_minutes"): "libais reads two bits beside the field, pyais gives `duration`",
    (9, "alt_sensor"): "a regional bit in pyais (`reserved_1`)",
    (9, "speed"): "libais divides the speed of aircraft by 10; on the air it is in whole knots",
    (14, "text"): "libais drops the last, cut character",
    (15, "offset1_2"): "a message that is cut short: libais gives other bits",
    (21, "name"): "libais has its own signs for codes 31 and 39",
    **{(t, f): "degrees there; pyais gives minutes" for t, f in BOXES},
    (23, "stationtype"): "pyais gives 6 for the undefined codes from 10 on",
    (26, "dac"): "given as `app_id` (dac x 64 + fid)",
    (26, "fid"): "given as `app_id` (dac x 64 + fid)",
    (27, "gnss"): "libais turns the flag around",
}

# raw numbers of gpsd (`gpsdecode -u`) -> ours: the scale of the standard
# lon, lat: 1/10000, 1/1000, 1/10 minute; pyais leaves those of types 17, 22 and 23 in minutes
SCALES = {
    "speed": (10.0,),
    "course": (10.0,),
    "draught": (10.0,),
    "lon": (6e5, 6e4, 600.0, 10.0),
    "lat": (6e5, 6e4, 600.0, 10.0),
}
SCALES |= {f"{c}_{d}": (10.0,) for c in ("ne", "sw") for d in ("lon", "lat")}


def our_name(msg_type: int, field: str) -> str:
    return RENAMED_BY_TYPE.get((msg_type, field)) or RENAMED.get(field, field)


def turn_of(raw: int) -> float:
    """ITU-R M.1371-5 table 45: degrees a minute from the raw rate of turn."""
    return float(raw) if abs(raw) >= 127 else (1 if raw >= 0 else -1) * float(round((raw / 4.733) ** 2))


def equal(field: str, theirs: Any, ours: Any) -> bool:
    """One value of theirs and ours, as the tables of the page read."""
    if theirs == ours:
        return True
    if ours is None:  # beyond the end of the message: they write 0 or nothing
        return theirs in (0, "", "@@@", False)
    if isinstance(theirs, bool):
        return int(theirs) == int(ours)
    if isinstance(theirs, str) and isinstance(ours, str):
        if field == "data":  # length in bits, then hexadecimal; the spelling of the rest is the same
            return theirs.split(":", 1)[-1] == ours
        return theirs.strip() == ours.strip()
    if isinstance(theirs, str):
        return theirs.isdigit() and int(theirs) == ours  # libais writes the IMO number as text
    if isinstance(theirs, int | float) and isinstance(ours, int | float):
        if field == "turn" and isinstance(theirs, int) and turn_of(theirs) == ours:
            return True
        # libais computes in single precision and rounds differently
        return any(abs(theirs / s - ours) < 2e-5 for s in (1.0, *SCALES.get(field, ())))
    return False


def table(differences: dict[tuple[int, str], str]) -> str:
    """The page's table."""
    rows = [f"| {t or 'all'} | `{f}` | {why} |" for (t, f), why in sorted(differences.items())]
    return "\n".join(["| type | field | difference |", "|---|---|---|", *rows])
