// The pictures of a story: the score of each step against the threshold, and bars.
import { svg, el } from "./dom.js";
import { hm, number } from "./text.js";

const W = 340, H = 150, LEFT = 30, RIGHT = 8, TOP = 10, BOTTOM = 22;

/**
 * Score / threshold of each step over time; the threshold is 1.
 * steps: [[t, code, score or null]], revisions: [{t, score}], from..until: the abnormal part, told: when it was first raised.
 */
export function scoreChart(steps, revisions, from, until, told) {
  const scored = steps.filter(([, , s]) => s !== null);
  const dots = revisions.filter((r) => r.score !== null && r.t !== undefined);
  const times = [...steps.map(([t]) => t), ...dots.map((r) => r.t), from, until].filter((t) => t !== undefined);
  if (!times.length || (!scored.length && !dots.length)) return null;
  const t0 = Math.min(...times) - 300, t1 = Math.max(...times) + 300;
  const top = Math.max(1.6, ...scored.map(([, , s]) => s), ...dots.map((r) => r.score));
  // Above 8 thresholds the axis is logarithmic, so that the threshold can still be seen.
  const log = top > 8;
  const low = log ? Math.min(0.1, ...scored.map(([, , s]) => Math.max(0.01, s))) : 0;
  const high = top * (log ? 1.5 : 1.1);
  const x = (t) => LEFT + ((t - t0) / (t1 - t0)) * (W - LEFT - RIGHT);
  const y = (s) => {
    const part = log ? Math.log(Math.max(s, low) / low) / Math.log(high / low) : s / high;
    return H - BOTTOM - part * (H - TOP - BOTTOM);
  };
  const out = svg("svg", { viewBox: `0 0 ${W} ${H}`, class: "plot", role: "img", "aria-label": `Score of each step against the threshold; greatest ${number(top)} times the threshold` });
  if (from !== undefined)
    out.append(svg("rect", { x: x(from), y: TOP, width: Math.max(2, x(until) - x(from)), height: H - TOP - BOTTOM, class: "segment" }));
  for (const s of ticks(low, high, log)) {
    out.append(svg("line", { x1: LEFT, x2: W - RIGHT, y1: y(s), y2: y(s), class: "grid" }));
    out.append(label(LEFT - 4, y(s) + 3.5, String(s), "end"));
  }
  const every = [600, 1800, 3600, 7200, 3 * 3600, 6 * 3600].find((e) => (t1 - t0) / e <= 6) || 12 * 3600;
  for (let t = Math.ceil(t0 / every) * every; t < t1; t += every) {
    out.append(svg("line", { x1: x(t), x2: x(t), y1: H - BOTTOM, y2: H - BOTTOM + 4, class: "axis" }));
    if (x(t) < W - 16) out.append(label(x(t), H - 6, hm(t), "middle"));
  }
  out.append(svg("line", { x1: LEFT, x2: W - RIGHT, y1: H - BOTTOM, y2: H - BOTTOM, class: "axis" }));
  out.append(svg("line", { x1: LEFT, x2: W - RIGHT, y1: y(1), y2: y(1), class: "threshold" }));
  out.append(label(LEFT + 3, y(1) - 4, "threshold", "start", "threshold-text"));
  if (told >= t0 && told <= t1) {
    out.append(svg("line", { x1: x(told), x2: x(told), y1: TOP, y2: H - BOTTOM, class: "told" }));
    const right = x(told) > W / 2;
    out.append(label(x(told) + (right ? -4 : 4), TOP + 8, "raised", right ? "end" : "start"));
  }
  // After a fast replay only some steps have been told: they are joined all the same, but not over a real hole.
  const gaps = scored.slice(1).map(([t], i) => t - scored[i][0]).sort((a, b) => a - b);
  const hole = Math.min(5400, Math.max(1900, 2.5 * (gaps[gaps.length >> 1] ?? 0)));
  let d = "", last = null;
  for (const [t, , s] of scored) {
    d += `${last !== null && t - last < hole ? "L" : "M"}${x(t).toFixed(1)} ${y(s).toFixed(1)}`;
    last = t;
  }
  out.append(svg("path", { d, class: "line" }));
  for (const [t, code, s] of steps)
    out.append(
      s === null
        ? svg("rect", { x: x(t) - 1.5, y: H - BOTTOM - 3, width: 3, height: 3, class: "dot-none" })
        : svg("circle", { cx: x(t), cy: y(s), r: 2.2, class: s >= 1 || code === 2 ? "dot-over" : "dot" }),
    );
  for (const r of dots) out.append(svg("path", { d: diamond(x(r.t), y(r.score)), class: "revision" }));
  return out;
}

const STEP_S = 600;

/** Says how many steps of a track are not held here; null when (nearly) all are. */
export function missingSteps(steps) {
  if (steps.length < 2) return null;
  const due = Math.round((steps[steps.length - 1][0] - steps[0][0]) / STEP_S) + 1;
  if (steps.length >= 0.8 * due) return null;
  return `${steps.length} of ${due} steps are held here. Every step was judged; the operator publishes the latest verdict of a ship with each checkpoint, so a fast replay leaves out those between.`;
}

const diamond = (x, y) => `M${x} ${y - 5}L${x + 4} ${y}L${x} ${y + 5}L${x - 4} ${y}Z`;

function label(x, y, text, anchor, cls = "tick") {
  const node = svg("text", { x, y, "text-anchor": anchor, class: cls });
  node.textContent = text;
  return node;
}

function ticks(low, high, log) {
  if (log) return [0.1, 1, 10, 100, 1000, 1e4, 1e5, 1e6].filter((s) => s >= low && s <= high);
  const step = [0.5, 1, 2].find((s) => high / s <= 5) || 4;
  return Array.from({ length: Math.floor(high / step) + 1 }, (_, i) => i * step);
}

/** One bar a row: [[label, value 0..1, text]]. */
export function bars(rows, cls = "") {
  return el("div", { class: `bars ${cls}` }, rows.map(([name, part, text]) => {
    const fill = el("span", { class: "fill" });
    fill.style.width = `${Math.max(0, Math.min(1, part)) * 100}%`;
    return el("div", { class: "bar" }, el("span", { class: "bar-name" }, name), el("span", { class: "track" }, fill), el("span", { class: "bar-text" }, text));
  }));
}
