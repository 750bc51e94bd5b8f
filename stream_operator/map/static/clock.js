// Which time the map shows: now, or a moment of the last 24 hours that is replayed.
import { $ } from "./dom.js";
import { hm, stamp } from "./text.js";

export class Clock {
  /** `on.change()` when the time or its kind has changed. */
  constructor(sea, on) {
    this.sea = sea;
    this.on = on;
    this.t = null; // of the replay; null is live
    this.playing = false;
    this.last = 0;
    $("slider").addEventListener("input", () => this.goTo(this.sea.now + Number($("slider").value) * 60));
    $("live").addEventListener("click", () => this.goLive());
    $("play").addEventListener("click", () => this.toggle());
    setInterval(() => this.#run(), 50);
  }

  get live() {
    return this.t === null;
  }

  get time() {
    return this.t ?? this.sea.now ?? 0;
  }

  goLive() {
    this.t = null;
    this.playing = false;
    this.show();
    this.on.change();
  }

  goTo(t) {
    if (this.sea.now === null) return;
    if (t >= this.sea.now) return this.goLive();
    this.t = Math.max(this.sea.now - this.sea.hours * 3600, t);
    this.show();
    this.on.change();
  }

  back(s) {
    this.goTo(this.time - s);
  }

  toggle() {
    if (this.sea.now === null) return;
    if (this.live) this.t = this.sea.now - this.sea.hours * 3600;
    this.playing = !this.playing;
    this.last = performance.now();
    this.show();
    this.on.change();
  }

  #run() {
    const now = performance.now();
    if (this.playing && this.t !== null) this.goTo(this.t + ((now - this.last) / 1000) * Number($("speed").value));
    this.last = now;
  }

  show() {
    const slider = $("slider");
    slider.min = String(-this.sea.hours * 60);
    const back = this.live ? 0 : Math.round((this.t - this.sea.now) / 60);
    slider.value = String(back);
    const text = this.live ? "live" : stamp(this.t);
    $("slider-text").textContent = text;
    slider.setAttribute("aria-valuetext", text);
    $("live").classList.toggle("on", this.live);
    $("live").setAttribute("aria-pressed", this.live);
    $("play").textContent = this.playing ? "⏸" : "▶";
    $("play").setAttribute("aria-label", this.playing ? "Pause" : "Play");
    document.body.classList.toggle("replay", !this.live);
  }

  /** Marks over the slider: when alerts were raised, and the hours. */
  marks(colours) {
    const canvas = $("marks"), ratio = devicePixelRatio || 1;
    const w = canvas.clientWidth, h = canvas.clientHeight;
    if (!w || this.sea.now === null) return;
    canvas.width = w * ratio;
    canvas.height = h * ratio;
    const ctx = canvas.getContext("2d");
    ctx.scale(ratio, ratio);
    const t0 = this.sea.now - this.sea.hours * 3600, inset = 8; // half of the slider's thumb
    const x = (t) => inset + ((t - t0) / (this.sea.now - t0)) * (w - 2 * inset);
    ctx.font = "9.5px system-ui, sans-serif";
    ctx.textAlign = "center";
    const every = w < 420 ? 6 : 3;
    for (let hour = Math.ceil(t0 / 3600); hour * 3600 < this.sea.now; hour++) {
      if (hour % every) continue;
      ctx.fillStyle = colours.gridText;
      ctx.fillRect(x(hour * 3600), h - 14, 1, 3);
      if (x(hour * 3600) > 14 && x(hour * 3600) < w - 14) ctx.fillText(hm(hour * 3600), x(hour * 3600), h - 2);
    }
    ctx.fillStyle = colours.abnormal;
    for (const a of this.sea.alerts.values()) {
      if (a.challenger || a.first_decided_at < t0 || a.first_decided_at > this.sea.now) continue;
      ctx.fillRect(x(a.first_decided_at) - 1, 0, 2, 6);
    }
  }
}
