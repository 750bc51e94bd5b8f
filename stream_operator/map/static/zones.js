// The zones that are watched: listed, and each switched off or on again on the map.
import { $, el } from "./dom.js";
import { rule, stamp } from "./text.js";

export class ZoneList {
  /** `changed()` is called when a zone was switched off or on. */
  constructor(sea, changed) {
    this.sea = sea;
    this.changed = changed;
    this.off = new Set(); // names
    this.seen = "";
  }

  /** Zones that have not ended at a time, by name; `begun`: they are watched then. */
  at(t) {
    return this.sea.zones
      .filter((z) => z.to === null || t === null || z.to > t)
      .map((z) => ({ ...z, begun: t === null || z.from <= t }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  shown(t) {
    return this.at(t).filter((z) => !this.off.has(z.name));
  }

  /** Renew the list; true when it has changed. */
  refresh(t) {
    const all = this.at(t);
    const key = JSON.stringify(all.map((z) => [z.name, z.rule, z.severity, z.from, z.to, z.begun, z.rings]));
    if (key === this.seen) return false;
    this.seen = key;
    $("zones").hidden = all.length === 0;
    $("zones-count").textContent = String(all.length);
    $("zone-list").replaceChildren(...all.map((z) => this.#row(z)));
    return true;
  }

  #row(z) {
    const box = el("input", { type: "checkbox", "data-zone": z.name });
    box.checked = !this.off.has(z.name);
    box.addEventListener("change", () => {
      box.checked ? this.off.delete(z.name) : this.off.add(z.name);
      this.changed();
    });
    return el("li", {}, el("label", {}, box, el("span", {}, z.name, el("span", { class: "faint" }, ` ${rule(z.rule)}${z.begun ? "" : `, from ${stamp(z.from)}`}`))));
  }
}
