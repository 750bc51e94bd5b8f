// The panel that shows one alert, or one ship.
import { $, el } from "./dom.js";
import { bars, missingSteps, scoreChart } from "./plots.js";
import { ANSWERS, shipClass } from "./vocabulary.js";
import { alertName, cause, course, isOpen, kind, knots, mmsiText, number, position, reason, rule, shipName, span, stamp } from "./text.js";

const SHARE = { lat: "latitude", lon: "longitude", sog: "speed", cog: "course" };

export class Story {
  /** `on.close()`, `on.open(alertId)`, `on.replay(t)`, `on.locate()`. */
  constructor(on) {
    this.on = on;
    this.key = null; // "alert ID" or "ship MMSI" that is shown
    this.open = new Set(); // details that are unfolded
  }

  hide() {
    this.key = null;
    $("story").hidden = true;
  }

  showMissing(id) {
    this.#show(`alert ${id}`, [
      this.#head("Alert not found", null),
      el("p", {}, "This alert is not held here any more, or has not been read yet. The map keeps alerts of seven days; older ones are in the topic: "),
      el("p", {}, el("code", {}, "python -m stream_operator alerts")),
    ]);
  }

  /** `story` is the answer of /api/alert/ID. */
  showAlert(story) {
    const a = story.alert, now = story.ship;
    const parts = [
      this.#head(alertName(a), `${cap(shipClass(a.ship_type ?? -1))} · MMSI ${mmsiText(a.mmsi)}`),
      el("p", { class: "badges" },
        el("span", { class: `badge status ${isOpen(a) ? "open" : ""}` }, isOpen(a) ? "open" : a.status),
        el("span", { class: "badge strong" }, cause(a)),
        a.alert_type !== a.cause && el("span", { class: "badge" }, kind(a.alert_type)),
        a.challenger && el("span", { class: "badge" }, "challenger model")),
      el("p", { class: "sentence" }, a.message || `${alertName(a)}: ${cause(a)}`),
      el("p", { class: "actions" },
        el("button", { type: "button", onclick: () => this.on.locate() }, "Show on map"),
        el("button", { type: "button", onclick: () => this.on.replay(a.segment_start.t - 1800) }, "Replay it"),
        el("button", { type: "button", id: "copy-link", onclick: (e) => copyLink(e.currentTarget) }, "Copy link")),
      this.#answerForm(a, story.answers),
      el("h3", {}, "Score of each step"),
      scoreChart(story.steps, story.revisions, a.segment_start.t, a.abnormal_until, a.first_decided_at) ?? el("p", { class: "faint" }, "No scores are held for this track."),
      el("p", { class: "faint" }, "Score / threshold of the place; from 1 on a step is strange. Diamonds: revisions of the alert, with its greatest score so far. Shaded: the abnormal part."),
      missingSteps(story.steps) && el("p", { class: "faint" }, missingSteps(story.steps)),
      a.share && [
        el("h3", {}, "What is strange"),
        bars(Object.entries(SHARE).map(([k, name]) => [name, a.share[k] ?? 0, a.share[k] === null ? "–" : `${Math.round(a.share[k] * 100)} %`])),
      ],
      a.detectors.length > 0 && [
        el("h3", {}, "Detectors"),
        bars(a.detectors.map((d) => [d.name, (d.z ?? 0) / Math.max(10, ...a.detectors.map((o) => o.z ?? 0)), d.z === null ? "–" : `z ${number(d.z)}`]), "detectors"),
      ],
      el("h3", {}, "Facts"),
      facts([
        ["Decided", stamp(a.decided_at)],
        a.first_decided_at !== a.decided_at && ["First raised", stamp(a.first_decided_at)],
        ["Abnormal part", `${stamp(a.segment_start.t)} to ${stamp(a.abnormal_until)} (${span(a.abnormal_until - a.segment_start.t)})${isOpen(a) ? ", goes on" : ""}`],
        a.segment_start.lat !== null && ["From", position(a.segment_start.lat, a.segment_start.lon)],
        a.partner && ["With", `${alertName(a.partner)} (${shipClass(a.partner.ship_type ?? -1)}, MMSI ${mmsiText(a.partner.mmsi)})`],
        a.zone && ["Zone", `${a.zone.name}: ${rule(a.zone.rule)}`],
        a.segment_end.lat !== null && ["To", position(a.segment_end.lat, a.segment_end.lon)],
        ["Score", a.score === null ? "–" : `${number(a.score)} × the threshold`],
        ["NFA", a.log10_nfa === null ? "none: decided by the score alone" : `10^${a.log10_nfa.toFixed(1)}: by chance ${number(10 ** a.log10_nfa, 2)} such stretches are expected`],
        now && ["Now", `${knots(now[4])}, ${course(now[5])}, heard ${stamp(now[1])}`],
        ["Track", a.track_id],
        ["Model", a.model_version],
        ["Alert", a.alert_id],
      ]),
      this.#fold("revisions", `Revisions (${a.revision})`, el("ol", { class: "revisions" }, story.revisions.map((r) =>
        el("li", { value: r.revision }, el("strong", {}, r.status), ` ${stamp(r.decided_at)}, score ${number(r.score)}`, el("p", {}, r.message))))),
    ];
    this.#show(`alert ${a.alert_id}`, parts);
  }

  /** `told` is the answer of /api/ship/MMSI; `alerts` are those of the ship. */
  showShip(told, state, alerts) {
    const [mmsi, t, lat, lon, sog, cog, heading, , why, name, type] = told.ship;
    const words = { not_judged: `not judged: ${reason(why)}`, normal: "normal", abnormal: "abnormal", silent: "silent" }[state];
    const chart = scoreChart(told.steps, []);
    this.#show(`ship ${mmsi}`, [
      this.#head(shipName({ name, mmsi }), `${cap(shipClass(type))} · MMSI ${mmsiText(mmsi)}`),
      el("p", { class: "badges" }, el("span", { class: `badge status ${state === "abnormal" ? "open" : ""}` }, words)),
      el("p", { class: "actions" }, el("button", { type: "button", onclick: () => this.on.locate() }, "Show on map")),
      facts([
        ["Heard", stamp(t)], ["Position", position(lat, lon)], ["Speed", knots(sog)], ["Course", course(cog)],
        ["Heading", heading === null ? "unknown" : course(heading)],
      ]),
      chart && [el("h3", {}, "Score of each step"), chart, el("p", { class: "faint" }, "Score / threshold of the place; from 1 on a step is strange."), missingSteps(told.steps) && el("p", { class: "faint" }, missingSteps(told.steps))],
      el("h3", {}, "Alerts of this ship"),
      alerts.length
        ? el("ul", { class: "plain" }, alerts.map((a) => el("li", {}, el("button", { type: "button", class: "link", onclick: () => this.on.open(a.alert_id) }, `${stamp(a.first_decided_at)}: ${cause(a)} (${a.status})`))))
        : el("p", { class: "faint" }, "None in the last days."),
    ]);
  }

  #show(key, parts) {
    const story = $("story"), same = key === this.key, at = story.scrollTop;
    // What an officer is typing survives a new revision.
    const typed = same ? { word: $("word")?.value, who: $("who")?.value, focus: document.activeElement?.id } : {};
    this.key = key;
    story.replaceChildren(...parts.flat(Infinity).filter(Boolean));
    story.hidden = false;
    if (typed.word) $("word").value = typed.word;
    if (typed.who) $("who").value = typed.who;
    if (typed.focus === "word" || typed.focus === "who") $(typed.focus).focus();
    story.scrollTop = same ? at : 0;
    if (!same) story.focus({ preventScroll: true });
  }

  #head(title, under) {
    return el("div", { class: "head" },
      el("div", {}, el("h2", { id: "story-title" }, title), under && el("p", { class: "faint" }, under)),
      el("button", { type: "button", id: "story-close", "aria-label": "Close the story (Esc)", onclick: () => this.on.close() }, "✕"));
  }

  #fold(name, title, body) {
    const fold = el("details", { open: this.open.has(name) }, el("summary", {}, title), body);
    fold.addEventListener("toggle", () => (fold.open ? this.open.add(name) : this.open.delete(name)));
    return fold;
  }

  #answerForm(a, answers) {
    const word = el("input", { id: "word", maxlength: "280", placeholder: "a word, if you like", "aria-label": "A word about your answer" });
    const who = el("input", { id: "who", maxlength: "40", placeholder: "your name", "aria-label": "Your name", value: remembered() });
    const note = el("p", { id: "answer-note", role: "status" });
    const send = async (answer) => {
      note.className = "";
      note.textContent = "…";
      try {
        localStorage.setItem("who", who.value);
      } catch { /* no storage: it is asked for again */ }
      try {
        const done = await fetch("/api/feedback", {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify({ alert_id: a.alert_id, answer, word: word.value, who: who.value }),
        });
        if (!done.ok) throw new Error(await done.text());
        word.value = "";
        note.textContent = "Kept.";
      } catch (e) {
        note.className = "wrong";
        note.textContent = e instanceof TypeError ? "Not kept: the map's server does not answer. Please send it again." : `Not kept: ${e.message}`;
      }
    };
    return el("section", { class: "answer", "aria-label": "Your answer" },
      el("h3", {}, "Your answer"),
      el("div", { class: "row" }, word, who),
      el("div", { class: "row buttons" }, Object.entries({ acknowledge: "Acknowledge", normal_here: "Normal here", real: "Real" }).map(([k, text]) =>
        el("button", { type: "button", "data-answer": k, onclick: () => send(k) }, text))),
      note,
      answers.length > 0 && el("ul", { class: "plain answers" }, answers.toReversed().map((x) =>
        el("li", {}, el("span", { class: `badge answer-${x.answer}` }, ANSWERS[x.answer]), x.word && ` “${x.word}”`, ` ${x.who ? `${x.who}, ` : ""}${stamp(x.time)}`))));
  }
}

function facts(rows) {
  return el("dl", { class: "facts" }, rows.filter(Boolean).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

const cap = (s) => (s === "unknown" ? "Type unknown" : s.charAt(0).toUpperCase() + s.slice(1));

function remembered() {
  try {
    return localStorage.getItem("who") || "";
  } catch {
    return "";
  }
}

async function copyLink(button) {
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
  } catch {
    prompt("Link to this alert", location.href);
  }
}
