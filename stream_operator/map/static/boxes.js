// Boxes around points of the map.

/** Box {x0, y0, x1, y1} around points [x, y], or null when there are none. */
export function boxOf(points) {
  const box = { x0: Infinity, y0: Infinity, x1: -Infinity, y1: -Infinity };
  for (const [x, y] of points) {
    box.x0 = Math.min(box.x0, x);
    box.x1 = Math.max(box.x1, x);
    box.y0 = Math.min(box.y0, y);
    box.y1 = Math.max(box.y1, y);
  }
  return box.x0 <= box.x1 ? box : null;
}

/** Box around the middle 98 % of the ships: a few far ones do not make the rest small. */
export function boxOfShips(sea) {
  const xs = [...sea.ships.values()].map((s) => s.x).sort((a, b) => a - b), ys = [...sea.ships.values()].map((s) => s.y).sort((a, b) => a - b);
  if (!xs.length) return null;
  const cut = Math.floor(xs.length * 0.01), end = xs.length - 1 - cut;
  return { x0: xs[cut], x1: xs[end], y0: ys[cut], y1: ys[end] };
}
