"""Make ``coastline.npz`` from Natural Earth: ``python -m benchmarks.build_coastline PACKAGE_DIR``.

PACKAGE_DIR is an unpacked npm package ``world-atlas`` (2.0.2, Natural Earth 4.1.0 as TopoJSON; both are free to use and to
pass on, Natural Earth is in the public domain). The result holds the world at 1:50 million and the boxes of the region
presets, with a margin, at 1:10 million.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multitaskais.config import REGIONS
from multitaskais.data.coastline import COASTLINE_FILE, QUANTUM_DEG

MARGIN_DEG = 1.0  # pictures look a little beyond the region's box
WORLD_MIN_EXTENT_DEG = 0.1  # smaller islands do not show on a map of the world

Ring = NDArray[np.float64]


def rings_of(topology: dict[str, Any]) -> list[Ring]:
    """All rings of object ``land``: (n, 2) lon, lat in degrees, closed (TopoJSON specification 2.1, arcs by delta)."""
    scale, translate = np.array(topology["transform"]["scale"]), np.array(topology["transform"]["translate"])
    arcs = [np.cumsum(np.array(a), axis=0) * scale + translate for a in topology["arcs"]]

    def ring(indices: list[int]) -> Ring:
        # A negative index ~i is arc i backwards; the first point of each further arc repeats the last one.
        parts = [arcs[i] if i >= 0 else arcs[~i][::-1] for i in indices]
        return np.concatenate([parts[0], *(p[1:] for p in parts[1:])])

    out: list[Ring] = []
    stack = [topology["objects"]["land"]]
    while stack:
        geometry = stack.pop()
        match geometry["type"]:
            case "GeometryCollection":
                stack += geometry["geometries"]
            case "Polygon":
                out += [ring(r) for r in geometry["arcs"]]
            case "MultiPolygon":
                out += [ring(r) for polygon in geometry["arcs"] for r in polygon]
    return out


def clip(ring: Ring, lon_min: float, lat_min: float, lon_max: float, lat_max: float) -> Ring:
    """The part of a closed ring inside a box, as one closed ring (Sutherland-Hodgman); empty when there is none."""
    for axis, bound, sign in ((0, lon_min, 1.0), (0, lon_max, -1.0), (1, lat_min, 1.0), (1, lat_max, -1.0)):
        if len(ring) == 0:
            break
        depth = sign * (ring[:, axis] - bound)
        inside = depth >= 0
        out: list[NDArray[np.float64]] = []
        for i in range(len(ring) - 1):
            if inside[i]:
                out.append(ring[i])
            if inside[i] != inside[i + 1]:
                out.append(ring[i] + (ring[i + 1] - ring[i]) * depth[i] / (depth[i] - depth[i + 1]))
        ring = np.array([*out, out[0]]) if out else np.empty((0, 2))
    return ring


def pack(rings: list[Ring]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Rings as steps of whole quanta (small numbers, which compress well) and the length of each ring."""
    whole = [np.round(r / QUANTUM_DEG).astype(np.int32) for r in rings]
    whole = [w[np.r_[True, np.any(np.diff(w, axis=0) != 0, axis=1)]] for w in whole]
    whole = [w for w in whole if len(w) >= 4]
    steps = np.concatenate([np.diff(w, axis=0, prepend=np.zeros((1, 2), np.int32)) for w in whole])
    return steps, np.array([len(w) for w in whole], np.int32)


def main(package: Path) -> None:
    world = rings_of(json.loads((package / "land-50m.json").read_text()))
    fine = rings_of(json.loads((package / "land-10m.json").read_text()))
    sets = {"world": [r for r in world if np.ptp(r, axis=0).max() >= WORLD_MIN_EXTENT_DEG]}
    for region in REGIONS.values():
        if region.name == "global":
            continue
        box = (
            region.lon_min - MARGIN_DEG, region.lat_min - MARGIN_DEG,
            region.lon_max + MARGIN_DEG, region.lat_max + MARGIN_DEG,
        )  # fmt: skip
        sets[region.name] = [c for r in fine if len(c := clip(r, *box)) >= 4]
    arrays: dict[str, Any] = {}
    for name, rings in sets.items():
        arrays[f"{name}_steps"], arrays[f"{name}_lengths"] = pack(rings)
        print(f"{name}: {len(rings)} rings, {len(arrays[f'{name}_steps'])} points")
    np.savez_compressed(COASTLINE_FILE, **arrays)
    print(f"{COASTLINE_FILE}: {COASTLINE_FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
