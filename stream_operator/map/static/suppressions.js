// What officers have called normal: kinds of alerts that need a higher score along a stretch, listed with the reason.
import { $, el } from "./dom.js";
import { stamp } from "./text.js";

export class SuppressionList {
  constructor(sea) {
    this.sea = sea;
    this.seen = "";
  }

  /** Those that hold at a time, the latest first; all that have not ended when no time is known. */
  at(t) {
    return this.sea.suppressions.filter((s) => t === null || (s.from <= t && (s.to === null || s.to > t))).sort((a, b) => b.number - a.number);
  }

  /** Renew the list; true when it has changed. */
  refresh(t) {
    const all = this.at(t);
    const key = JSON.stringify(all.map((s) => s.number));
    if (key === this.seen) return false;
    this.seen = key;
    $("suppressions").hidden = all.length === 0;
    $("suppressions-count").textContent = String(all.length);
    $("suppression-list").replaceChildren(...all.map((s) => this.#row(s)));
    return true;
  }

  #row(s) {
    const kind = `${s.alert_type.replaceAll("_", " ")}: ${s.cause.replaceAll("_", " ")}`;
    const whose = s.mmsi === null ? "all ships" : `MMSI ${s.mmsi}`;
    const until = s.to === null ? "" : ` until ${stamp(s.to)}`;
    return el("li", { "data-number": String(s.number) }, `${kind}, ${whose}${until}`, el("span", { class: "faint" }, ` ${s.why} (control record ${s.number})`));
  }
}
