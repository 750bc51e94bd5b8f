// The marks of the four states, with the number of ships in each; a press hides or shows them on the map.
import { el } from "./dom.js";
import { STATES } from "./sea.js";
import { mark } from "./sprites.js";

export const STATE_NAMES = { normal: "normal", abnormal: "abnormal", not_judged: "not judged", silent: "silent" };
const ORDER = ["abnormal", "normal", "not_judged", "silent"];

export class Legend {
  /** `toggle(state)` hides or shows a state and returns whether it is shown. */
  constructor(place, colours, toggle) {
    this.entries = ORDER.map((name) => {
      const state = STATES.indexOf(name);
      const icon = el("canvas", { class: "mark", "aria-hidden": "true" });
      const count = el("span", { class: "n" });
      const chip = el("button", { type: "button", class: "chip", "data-state": name, "aria-pressed": "true", title: `${STATE_NAMES[name]}: show or hide` }, icon, count, el("span", { class: "word" }, STATE_NAMES[name]));
      chip.addEventListener("click", () => chip.setAttribute("aria-pressed", toggle(state)));
      place.append(chip);
      return { state, icon, count };
    });
    this.setColours(colours);
  }

  /** counts: number of ships by state. */
  show(counts) {
    for (const { state, count } of this.entries) count.textContent = counts[state].toLocaleString("en");
  }

  setColours(colours) {
    const ratio = devicePixelRatio || 1;
    for (const { state, icon } of this.entries) {
      icon.width = icon.height = 18 * ratio;
      const ctx = icon.getContext("2d");
      ctx.scale(ratio, ratio);
      ctx.translate(9, 9);
      mark(ctx, state, false, state === 2 ? 0.68 : 0.8, colours);
    }
  }
}
