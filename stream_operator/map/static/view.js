// The window onto the sea: which part of the world is where on the screen. Coordinates are Mercator, 0..1.
import { latOf, lonOf } from "./sea.js";

const MIN_ZOOM = 2, MAX_ZOOM = 16;

export class View {
  constructor() {
    this.x = 0.4847;
    this.y = 0.3455;
    this.zoom = 8;
    this.width = 1;
    this.height = 1;
    this.pad = { left: 0, right: 0, top: 0, bottom: 0 }; // covered by panels
    this.moved = 0; // ms of the last change
    this.flight = null;
  }

  /** Pixels of one unit. */
  get scale() {
    return 256 * 2 ** this.zoom;
  }

  toScreen(x, y) {
    const s = this.scale;
    return [(x - this.x) * s + this.width / 2, (y - this.y) * s + this.height / 2];
  }

  toWorld(px, py) {
    const s = this.scale;
    return [(px - this.width / 2) / s + this.x, (py - this.height / 2) / s + this.y];
  }

  /** What can be seen beside the panels, as {x0, y0, x1, y1}. */
  bounds() {
    const { left, right, top, bottom } = this.pad;
    const [x0, y0] = this.toWorld(left, top);
    const [x1, y1] = this.toWorld(this.width - right, this.height - bottom);
    return { x0, y0, x1, y1 };
  }

  pan(dx, dy) {
    this.flight = null;
    this.#set(this.x - dx / this.scale, this.y - dy / this.scale, this.zoom);
  }

  /** Zoom so that the point under (px, py) stays there. */
  zoomAt(px, py, by) {
    this.flight = null;
    const [wx, wy] = this.toWorld(px, py);
    const zoom = clamp(this.zoom + by, MIN_ZOOM, MAX_ZOOM);
    const s = 256 * 2 ** zoom;
    this.#set(wx - (px - this.width / 2) / s, wy - (py - this.height / 2) / s, zoom);
  }

  resize(width, height) {
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
    this.moved = performance.now();
  }

  /** Centre and zoom that show a box {x0, y0, x1, y1} beside the panels. */
  fitting(box, most = 12) {
    const w = Math.max(60, this.width - this.pad.left - this.pad.right);
    const h = Math.max(60, this.height - this.pad.top - this.pad.bottom);
    const room = 0.8;
    const fit = Math.min((w * room) / Math.max(box.x1 - box.x0, 1e-9), (h * room) / Math.max(box.y1 - box.y0, 1e-9));
    const zoom = clamp(Math.log2(fit / 256), MIN_ZOOM, most);
    const s = 256 * 2 ** zoom;
    return {
      x: (box.x0 + box.x1) / 2 - (this.pad.left - this.pad.right) / 2 / s,
      y: (box.y0 + box.y1) / 2 - (this.pad.top - this.pad.bottom) / 2 / s,
      zoom,
    };
  }

  jump(to) {
    this.flight = null;
    this.#set(to.x, to.y, to.zoom);
  }

  /** Go there within `ms`, or at once for those who asked for no motion. */
  fly(to, ms = 700) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return this.jump(to);
    this.flight = { from: { x: this.x, y: this.y, zoom: this.zoom }, to, start: performance.now(), ms };
    this.moved = performance.now();
  }

  /** Moves a flight on; true while it lasts. */
  step(clock) {
    if (!this.flight) return false;
    const { from, to, start, ms } = this.flight;
    const part = Math.min(1, (clock - start) / ms);
    const e = part < 0.5 ? 4 * part ** 3 : 1 - (-2 * part + 2) ** 3 / 2;
    const far = Math.hypot(to.x - from.x, to.y - from.y) * 256 * 2 ** Math.min(from.zoom, to.zoom);
    const dip = Math.min(3, Math.max(0, Math.log2(far / 1500))) * Math.sin(Math.PI * e); // rise over a long way
    this.#set(from.x + (to.x - from.x) * e, from.y + (to.y - from.y) * e, from.zoom + (to.zoom - from.zoom) * e - dip);
    if (part >= 1) this.flight = null;
    return true;
  }

  #set(x, y, zoom) {
    this.zoom = clamp(zoom, MIN_ZOOM, MAX_ZOOM);
    this.x = clamp(x, 0, 1);
    this.y = clamp(y, 0.05, 0.95);
    this.moved = performance.now();
  }

  /** A copy that a layer was drawn for. */
  snapshot() {
    return { x: this.x, y: this.y, zoom: this.zoom, scale: this.scale, width: this.width, height: this.height };
  }

  /** Metres of one pixel in the middle. */
  metresPerPixel() {
    return (40075016.7 * Math.cos((latOf(this.y) * Math.PI) / 180)) / this.scale;
  }

  place(px, py) {
    const [x, y] = this.toWorld(px, py);
    return [latOf(y), lonOf(x)];
  }
}

function clamp(v, low, high) {
  return Math.max(low, Math.min(high, v));
}
