// Hands on the map: mouse, touch and keys move it; what is under the pointer is told.

const TAP_PX = 6;

export class Hands {
  /** `on`: tap(px, py), hover(px, py) or hover(null), moved(). */
  constructor(element, view, on) {
    this.element = element;
    this.view = view;
    this.on = on;
    this.fingers = new Map();
    this.travel = 0;
    const listen = (name, f, options) => element.addEventListener(name, f.bind(this), options);
    listen("pointerdown", this.down);
    listen("pointermove", this.move);
    listen("pointerup", this.up);
    listen("pointercancel", this.up);
    listen("pointerleave", () => on.hover(null));
    listen("wheel", this.wheel, { passive: false });
    listen("dblclick", (e) => this.zoom(e, 1));
    listen("keydown", this.key);
  }

  #at(e) {
    const box = this.element.getBoundingClientRect();
    return [e.clientX - box.left, e.clientY - box.top];
  }

  down(e) {
    if (e.target.closest("button")) return;
    this.element.setPointerCapture(e.pointerId);
    this.fingers.set(e.pointerId, this.#at(e));
    if (this.fingers.size === 1) this.travel = 0;
  }

  move(e) {
    const now = this.#at(e), before = this.fingers.get(e.pointerId);
    if (!before) return this.on.hover(...now);
    this.travel += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (this.fingers.size === 1) {
      if (this.travel > TAP_PX) this.view.pan(now[0] - before[0], now[1] - before[1]);
    } else if (this.fingers.size === 2) {
      const other = [...this.fingers].find(([id]) => id !== e.pointerId)[1];
      const was = Math.hypot(before[0] - other[0], before[1] - other[1]), is = Math.hypot(now[0] - other[0], now[1] - other[1]);
      this.view.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
      if (was > 10 && is > 10) this.view.zoomAt((now[0] + other[0]) / 2, (now[1] + other[1]) / 2, Math.log2(is / was));
    }
    this.fingers.set(e.pointerId, now);
    this.on.moved();
  }

  up(e) {
    if (!this.fingers.delete(e.pointerId)) return;
    if (e.type === "pointerup" && this.fingers.size === 0 && this.travel <= TAP_PX) this.on.tap(...this.#at(e));
  }

  wheel(e) {
    e.preventDefault();
    const unit = e.deltaMode === 1 ? 20 : 1;
    this.zoom(e, Math.max(-1, Math.min(1, (-e.deltaY * unit) / 300)));
  }

  zoom(e, by) {
    if (e.target.closest?.("button")) return;
    this.view.zoomAt(...this.#at(e), by);
    this.on.moved();
  }

  key(e) {
    if (e.ctrlKey || e.altKey || e.metaKey || e.target.closest("button")) return;
    const step = 80;
    const pans = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (pans[e.key]) {
      e.preventDefault();
      this.view.pan(...pans[e.key]);
      this.on.moved();
    }
  }
}
