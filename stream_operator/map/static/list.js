// The list of alerts, newest first, and its filters.
import { $, el } from "./dom.js";
import { ANSWERS, SHIP_CLASSES, shipClass } from "./vocabulary.js";
import { alertName, cause, hm, kind, span, stamp } from "./text.js";

const ROWS = 200; // in the document at a time
const GROUPS = ["open", "closed", "retracted"];

export class AlertList {
  /** `on.open(id)`; `scene` answers bounds(), time (of the replay or now), sea. */
  constructor(sea, scene, on) {
    this.sea = sea;
    this.scene = scene;
    this.on = on;
    this.selected = null;
    this.rows = [];
    this.shown = ROWS;
    this.status = new Set(["open", "closed"]);
    this.seen = "";
    this.#filters();
    $("alerts").addEventListener("keydown", (e) => this.#key(e));
  }

  #filters() {
    for (const name of GROUPS) {
      const chip = el("button", { type: "button", class: "chip", "data-status": name, "aria-pressed": this.status.has(name) }, name, el("span", { class: "n" }));
      chip.addEventListener("click", () => {
        this.status.has(name) ? this.status.delete(name) : this.status.add(name);
        chip.setAttribute("aria-pressed", this.status.has(name));
        this.refresh();
      });
      $("filter-status").append(chip);
    }
    for (const name of SHIP_CLASSES) $("filter-ship").append(el("option", { value: name }, name));
    for (const id of ["filter-kind", "filter-ship", "filter-screen", "filter-challenger"]) $(id).addEventListener("change", () => this.refresh());
    $("filters").addEventListener("submit", (e) => e.preventDefault());
    $("filter-reset").addEventListener("click", () => {
      $("filter-kind").value = $("filter-ship").value = "";
      $("filter-screen").checked = false;
      this.status = new Set(GROUPS);
      for (const chip of $("filter-status").children) chip.setAttribute("aria-pressed", "true");
      this.refresh();
    });
  }

  /** Does an alert pass all filters but the status? */
  #passes(a) {
    if (a.challenger && !$("filter-challenger").checked) return false;
    if (a.first_decided_at > this.scene.time) return false;
    const wanted = $("filter-kind").value, ship = $("filter-ship").value;
    if (wanted && a.alert_type !== wanted) return false;
    if (ship && shipClass(a.ship_type ?? this.sea.ships.get(a.vessel)?.type ?? -1) !== ship) return false;
    if ($("filter-screen").checked) {
      const b = this.scene.bounds(), n = a.trail.length, s = this.sea.ships.get(a.vessel);
      const x = n ? a.trail[n - 2] : s?.x, y = n ? a.trail[n - 1] : s?.y;
      if (!(x >= b.x0 && x <= b.x1 && y >= b.y0 && y <= b.y1)) return false;
    }
    return true;
  }

  /** Its status at the time that is shown. */
  #group(a) {
    if (a.status === "retracted") return "retracted";
    return this.scene.stands(a) ? "open" : "closed";
  }

  get onScreenOnly() {
    return $("filter-screen").checked;
  }

  refresh() {
    const all = [...this.sea.alerts.values()].filter((a) => this.#passes(a));
    const kinds = new Set([...this.sea.alerts.values()].map((a) => a.alert_type));
    this.#kinds(kinds);
    $("challenger-label").hidden = ![...this.sea.alerts.values()].some((a) => a.challenger);
    for (const chip of $("filter-status").children) {
      const n = all.filter((a) => this.#group(a) === chip.dataset.status).length;
      chip.lastChild.textContent = String(n);
    }
    const list = all.filter((a) => this.status.has(this.#group(a))).sort((a, b) => b.first_decided_at - a.first_decided_at || (a.alert_id < b.alert_id ? -1 : 1));
    const key = list.slice(0, this.shown).map((a) => `${a.alert_id}${a.revision}${a.status}${a.answers}`).join() + Math.floor(this.scene.time / 60) + this.shown;
    $("list-count").textContent = String(list.length);
    if (key === this.seen) return;
    this.seen = key;
    this.rows = list;
    const focus = document.activeElement?.dataset?.id;
    $("alerts").replaceChildren(...list.slice(0, this.shown).map((a) => this.#row(a)), ...this.#more(list.length));
    $("empty").hidden = list.length > 0;
    $("empty").textContent = this.sea.alerts.size ? "No alert passes these filters." : "No alerts. Ships are watched; what is abnormal will stand here.";
    if (focus) $("alerts").querySelector(`[data-id="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
  }

  #kinds(kinds) {
    const select = $("filter-kind");
    const have = new Set([...select.options].map((o) => o.value));
    for (const k of [...kinds].sort()) if (!have.has(k)) select.append(el("option", { value: k }, kind(k)));
  }

  #more(n) {
    if (n <= this.shown) return [];
    const button = el("button", { type: "button", class: "link" }, `${n - this.shown} more`);
    button.addEventListener("click", () => {
      this.shown += ROWS;
      this.refresh();
    });
    return [el("li", { class: "more" }, button)];
  }

  #row(a) {
    const group = this.#group(a), age = this.scene.time - a.first_decided_at;
    const what = shipClass(a.ship_type ?? this.sea.ships.get(a.vessel)?.type ?? -1);
    const row = el("li", {
      class: `alert ${group}`, role: "option", tabindex: "0", "data-id": a.alert_id, "data-status": group,
      "aria-selected": a.alert_id === this.selected,
    },
      el("div", { class: "line" },
        el("span", { class: "name" }, alertName(a)),
        el("time", { title: stamp(a.first_decided_at) }, age >= 0 && age < 86400 ? `${hm(a.first_decided_at)} · ${span(age)} ago` : stamp(a.first_decided_at))),
      el("div", { class: "line" },
        el("span", { class: "cause" }, cause(a), el("span", { class: "what" }, what === "unknown" ? "" : ` · ${what}`)),
        el("span", { class: "badges" },
          a.challenger && el("span", { class: "badge" }, "challenger"),
          a.answer && el("span", { class: `badge answer-${a.answer}`, title: "the last answer of an officer" }, ANSWERS[a.answer]),
          group !== "open" && el("span", { class: "badge" }, group),
          el("span", { class: "score", title: "score / threshold" }, a.score === null ? "" : `×${a.score < 100 ? a.score.toFixed(1) : "99+"}`))));
    row.addEventListener("click", () => this.on.open(a.alert_id));
    return row;
  }

  select(id) {
    this.selected = id;
    for (const row of $("alerts").children) {
      const is = row.dataset.id === id;
      row.setAttribute("aria-selected", is);
      if (is) row.scrollIntoView({ block: "nearest" });
    }
  }

  /** Open the alert `by` rows below the selected one. */
  step(by) {
    if (!this.rows.length) return;
    const i = this.rows.findIndex((a) => a.alert_id === this.selected);
    const next = this.rows[Math.max(0, Math.min(this.rows.length - 1, i < 0 ? 0 : i + by))];
    this.on.open(next.alert_id);
  }

  #key(e) {
    const row = e.target.closest("li.alert");
    if (!row) return;
    if (e.key === "Enter" || e.key === " ") {
      e.preventDefault();
      e.stopPropagation();
      this.on.open(row.dataset.id);
    } else if (e.key === "ArrowDown" || e.key === "ArrowUp") {
      e.preventDefault();
      e.stopPropagation();
      (e.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling)?.focus();
    }
  }
}
