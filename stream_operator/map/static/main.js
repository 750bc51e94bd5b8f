// The page: joins what is known (sea), what is seen (chart, list, story) and who acts (hands, keys, link).
import { boxOf, boxOfShips } from "./boxes.js";
import { Chart } from "./chart.js";
import { Clock } from "./clock.js";
import { $, el } from "./dom.js";
import { Ground } from "./ground.js";
import { Hands } from "./hands.js";
import { Legend, STATE_NAMES } from "./legend.js";
import { Link } from "./link.js";
import { AlertList } from "./list.js";
import { Past } from "./past.js";
import { GONE, STATES, Sea, mercX, mercY } from "./sea.js";
import { Story } from "./story.js";
import { shipClass } from "./vocabulary.js";
import { alertName, cause, course, date, hms, isOpen, openAt, knots, mmsiText, position, reason, shipName, span } from "./text.js";
import { showCondition } from "./banner.js";
import { setUpTheme } from "./theme.js";
import { View } from "./view.js";
import { SuppressionList } from "./suppressions.js";
import { ZoneList } from "./zones.js";

const AT_REST_KN = 0.5; // as the sample rule for moored ships
const FADE_S = 3 * 3600; // the abnormal part of a closed alert stays on the map for so long
const REPLAY_TOLD_MS = 300; // lists and tracks follow a replay so often

const sea = new Sea();
const view = new View();
const hidden = new Set(); // states that are not drawn
let focus = null; // {kind: "alert" | "ship", id, mmsi, track, from, until}
let firstLoad = true;

const clock = new Clock(sea, { change: () => timeChanged() });
const past = new Past(sea, () => chart.refresh());

/** What the chart draws, live or of the past. */
const scene = {
  get live() {
    return clock.live;
  },
  get time() {
    return clock.time;
  },
  get selected() {
    return focus?.mmsi ?? null;
  },
  get focus() {
    return focus?.track ? focus : null;
  },
  bounds: () => view.bounds(),
  /** Live the alert's own word counts: one whose track has ended may be closed at a time that is still to come. */
  stands: (a) => (clock.live ? isOpen(a) : openAt(a, clock.t)),
  *ships(now) {
    if (!clock.live) {
      for (const s of past.ships(clock.t, abnormalAt(clock.t))) if (!hidden.has(s.state)) yield s;
      return;
    }
    for (const ship of sea.ships.values()) {
      const state = sea.stateOf(ship);
      if ((hidden.has(state) || state === GONE) && ship.mmsi !== scene.selected) continue;
      const [x, y] = sea.at(ship, now);
      const resting = ship.sog !== null && ship.sog < AT_REST_KN;
      yield { ship, x, y, state: state === GONE ? 3 : state, course: resting ? null : (ship.cog ?? ship.heading) };
    }
  },
  *wakes() {
    for (const ship of sea.ships.values()) {
      const state = sea.stateOf(ship);
      if (state < 3 && !hidden.has(state)) yield ship;
    }
  },
  *alerts() {
    for (const a of sea.alerts.values()) {
      if (a.challenger || a.status === "retracted" || a.segment_start.t > clock.time) continue;
      if (!scene.stands(a) && clock.time - a.abnormal_until > FADE_S) continue;
      if (focus?.kind === "alert" && focus.id === a.alert_id) continue; // its story draws it
      yield { trail: clock.live ? a.trail : upTo(a.trail, clock.t), open: scene.stands(a), faint: focus !== null, silence: a.alert_type === "silence" };
    }
  },
  /** Where pairs of ships meet: the place of their mark. */
  *meetings(now) {
    for (const a of sea.alerts.values()) {
      if (a.alert_type !== "meeting" || a.status === "retracted" || a.segment_start.t > clock.time) continue;
      const open = scene.stands(a);
      if (!open && clock.time - a.abnormal_until > FADE_S) continue;
      const pair = clock.live && open ? [a.vessel, a.other].map((m) => sea.ships.get(m)).filter(Boolean).map((s) => sea.at(s, now)) : [];
      const trail = clock.live ? a.trail : upTo(a.trail, clock.t);
      if (pair.length === 2) yield { x: (pair[0][0] + pair[1][0]) / 2, y: (pair[0][1] + pair[1][1]) / 2, open };
      else if (trail.length) yield { x: trail[trail.length - 2], y: trail[trail.length - 1], open };
    }
  },
  /** What officers have called normal, as far as it holds at the time that is shown. */
  *suppressions() {
    yield* normal.at(clock.time);
  },
  /** Zones that are watched at the time that is shown, and are not switched off. */
  *zones() {
    for (const z of zones.shown(clock.time)) yield z;
  },
};

/** The part of a trail [t, x, y, ...] that a replay has come to. */
function upTo(trail, t) {
  let n = 0;
  while (n < trail.length && trail[n] <= t) n += 3;
  return trail.slice(0, n);
}

/** MMSIs with an alert that covers a moment. */
function abnormalAt(t) {
  const out = new Set();
  for (const a of sea.alerts.values()) {
    if (a.challenger || a.status === "retracted") continue;
    if (a.segment_start.t <= t && (t <= a.abnormal_until || (isOpen(a) && t <= sea.now))) for (const m of [a.vessel, a.other]) if (m !== null) out.add(m);
  }
  return out;
}

const normal = new SuppressionList(sea);
const zones = new ZoneList(sea, () => chart.tracksChanged());
const chart = new Chart($("canvas"), [$("crowd"), $("above")], view, new Ground(), scene);
const list = new AlertList(sea, scene, { open: (id) => openAlert(id) });
const story = new Story({
  close: () => closeStory(),
  open: (id) => openAlert(id),
  replay: (t) => {
    clock.goTo(t);
    if (!clock.playing) clock.toggle();
  },
  locate: () => flyToFocus(),
});
chart.ground.load().then(() => chart.repaint(), (e) => announce(`The coastline could not be loaded: ${e.message}`));

const link = new Link(sea, {
  loaded() {
    clock.show();
    if (firstLoad) firstView();
    firstLoad = false;
    chart.tracksChanged();
    everySecond();
    followHash();
  },
  changed(fresh) {
    const glide = clock.live && movesVisibly();
    chart.refresh(glide);
    everySecond();
    const open = fresh.map((id) => sea.alerts.get(id)).filter((a) => a && !a.challenger && isOpen(a));
    if (open.length) {
      announce(open.length === 1 ? `New alert: ${alertName(open[0])}, ${cause(open[0])}` : `${open.length} new alerts`);
      chart.tracksChanged();
    }
    refreshStory();
  },
  lost: () => showCondition(link, sea),
  found: () => showCondition(link, sea),
});
setInterval(() => showCondition(link, sea), 1000);

// ---------------------------------------------------------------- what is shown once a second

function everySecond() {
  showCondition(link, sea);
  const t = clock.time;
  $("clock-time").textContent = t ? `${hms(t)}` : "--:--:--";
  $("clock-date").textContent = t ? `UTC · ${date(t)}` : "";
  legend.show(countStates());
  list.refresh();
  if (normal.refresh(t)) chart.tracksChanged();
  if (zones.refresh(t)) chart.tracksChanged();
  clock.marks(chart.colours);
  const open = [...sea.alerts.values()].filter((a) => isOpen(a) && !a.challenger).length;
  document.title = open ? `(${open}) MultitaskAIS` : "MultitaskAIS";
}

/** Is gliding worth its frames? Not when the fastest ship moves by a pixel. */
function movesVisibly() {
  const step = 1.5 / view.scale;
  for (const s of sea.ships.values()) if (s.since && performance.now() - s.since < 100 && Math.abs(s.x - s.fromX) + Math.abs(s.y - s.fromY) > step) return true;
  return false;
}

const legend = new Legend($("legend"), chart.colours, (state) => {
  hidden.has(state) ? hidden.delete(state) : hidden.add(state);
  chart.tracksChanged();
  return !hidden.has(state);
});

function countStates() {
  const counts = [0, 0, 0, 0, 0];
  if (clock.live) for (const s of sea.ships.values()) counts[sea.stateOf(s)]++;
  else for (const { state } of past.ships(clock.t, abnormalAt(clock.t))) counts[state]++;
  return counts;
}

function announce(text) {
  $("announce").textContent = text;
}

// ---------------------------------------------------------------- where the window is

function padding() {
  const stage = $("stage").getBoundingClientRect();
  const wide = stage.width >= 760;
  const listed = $("list").getBoundingClientRect(), told = $("story").hidden ? null : $("story").getBoundingClientRect();
  view.pad = wide
    ? { left: listed.right - stage.left, right: told ? stage.right - told.left : 0, top: 0, bottom: $("time").offsetHeight }
    : { left: 0, right: 0, top: 0, bottom: stage.bottom - (told ?? listed).top };
}

function firstView() {
  padding();
  const box = boxOfShips(sea);
  if (box) view.jump(view.fitting(box, 10));
}

function flyToAll() {
  padding();
  const box = boxOfShips(sea);
  if (box) view.fly(view.fitting(box, 10));
}

function flyToFocus() {
  if (!focus) return;
  padding();
  const points = focus.track.filter(([t]) => focus.from === undefined || (t >= focus.from - 3600 && t <= focus.until + 3600)).map(([, lat, lon]) => [mercX(lon), mercY(lat)]);
  const alert = sea.alerts.get(focus.id);
  if (alert) for (let i = 0; i < alert.trail.length; i += 3) points.push([alert.trail[i + 1], alert.trail[i + 2]]);
  const ship = sea.ships.get(focus.mmsi);
  if (focus.kind === "ship" && ship) points.splice(0, points.length, [ship.x, ship.y]);
  const box = boxOf(points);
  if (box) view.fly(view.fitting(box, 11));
}

// ---------------------------------------------------------------- stories

function openAlert(id) {
  if (location.hash === `#alert=${id}`) return followHash();
  location.hash = `alert=${id}`;
}

function followHash() {
  const [what, id] = location.hash.slice(1).split("=");
  if (what === "alert" && id) tell("alert", decodeURIComponent(id), true);
  else if (what === "ship" && /^\d+$/.test(id ?? "")) tell("ship", id, true);
  else if (focus) closeStory();
}

function closeStory() {
  asked++; // an answer that is still on its way opens nothing any more
  const id = focus?.id;
  focus = null;
  story.hide();
  list.select(null);
  if (location.hash) history.pushState(null, "", location.pathname);
  padding();
  chart.tracksChanged();
  if (id) $("alerts").querySelector(`[data-id="${CSS.escape(id)}"]`)?.focus({ preventScroll: true });
}

let asked = 0;

async function tell(kind, id, fly) {
  const turn = ++asked;
  let told;
  try {
    const answer = await fetch(`/api/${kind}/${encodeURIComponent(id)}`);
    if (turn !== asked) return; // another one was opened meanwhile
    if (answer.status === 404) {
      focus = null;
      story.showMissing(id);
      return;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    told = await answer.json();
  } catch {
    showCondition(link, sea); // the banner says that the server is away; what is shown stays
    return;
  }
  if (turn !== asked) return;
  if (kind === "alert") {
    const a = told.alert;
    focus = { kind, id, mmsi: Number(a.mmsi), track: told.track, from: a.segment_start.t, until: a.abnormal_until, silence: a.alert_type === "silence", partner: told.partner_track, key: storyKey(a) };
    if (!focus.track.length) focus.track = [a.segment_start, a.segment_end].filter((p) => p.lat !== null).map((p) => [p.t, p.lat, p.lon]);
    story.showAlert(told);
    list.select(id);
  } else {
    const ship = sea.ships.get(Number(id));
    focus = { kind, id: null, mmsi: Number(id), track: told.track, key: shipKey(ship) };
    story.showShip(told, (ship && STATES[sea.stateOf(ship)]) || "silent", sea.alertsOf(Number(id)));
    list.select(null);
  }
  if (fly) flyToFocus();
  else padding();
  chart.tracksChanged();
}

const storyKey = (a) => `${a.revision} ${a.status} ${a.answers} ${a.abnormal_until}`;
const shipKey = (s) => (s ? `${Math.floor(s.t / 30)} ${sea.stateOf(s)}` : "");

/** A new revision or answer shows at once. */
function refreshStory() {
  if (focus?.kind === "alert") {
    const a = sea.alerts.get(focus.id);
    if (a && storyKey(a) !== focus.key) tell("alert", focus.id, false);
  } else if (focus?.kind === "ship" && clock.live) {
    if (shipKey(sea.ships.get(focus.mmsi)) !== focus.key) tell("ship", String(focus.mmsi), false);
  }
}

let toldAt = 0;

/** Twenty times a second while a replay plays: ships each time, the rest less often. */
function timeChanged() {
  chart.refresh();
  if (clock.playing && performance.now() - toldAt < REPLAY_TOLD_MS) return;
  toldAt = performance.now();
  chart.tracksChanged();
  everySecond();
}

// ---------------------------------------------------------------- hands and keys

const hands = new Hands($("map"), view, {
  tap(px, py) {
    $("map").focus({ preventScroll: true });
    const hit = chart.pick(px, py);
    if (!hit) return;
    const mmsi = hit[0].mmsi, newest = sea.alertsOf(mmsi).find((a) => isOpen(a) && !a.challenger);
    if (newest) openAlert(newest.alert_id);
    else if (location.hash === `#ship=${mmsi}`) followHash();
    else location.hash = `ship=${mmsi}`;
  },
  hover: (px, py) => tip(px, py),
  moved: () => chart.refresh(),
});

function tip(px, py) {
  const box = $("tip");
  if (px === null) {
    box.hidden = true;
    $("cursor").textContent = "";
    return;
  }
  $("cursor").textContent = position(...view.place(px, py));
  const hit = chart.pick(px, py);
  box.hidden = !hit;
  $("map").classList.toggle("over", Boolean(hit));
  if (!hit) return;
  const ship = hit[0], state = STATES[hit[3]];
  const lines = [el("strong", {}, shipName(ship)), el("span", {}, `MMSI ${mmsiText(ship.mmsi)}${ship.type > 0 ? ` · ${shipClass(ship.type)}` : ""}`)];
  if (clock.live && ship.t) lines.push(el("span", {}, `${knots(ship.sog)} · ${course(ship.cog)} · ${span(Math.max(0, sea.now - ship.t))} ago`));
  lines.push(el("span", { class: `state ${state}` }, state === "not_judged" ? `not judged: ${reason(ship.reason)}` : STATE_NAMES[state]));
  box.replaceChildren(...lines);
  const w = box.offsetWidth, h = box.offsetHeight;
  box.style.left = `${Math.min(view.width - w - 6, px + 16)}px`;
  box.style.top = `${Math.min(view.height - h - 6, py + 14)}px`;
}

chart.onFrame = () => {
  const per = view.metresPerPixel();
  const nm = [500, 200, 100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02].find((n) => (n * 1852) / per <= 130) ?? 0.01;
  $("scale-bar").style.width = `${(nm * 1852) / per}px`;
  $("scale-text").textContent = `${nm} NM`;
  if (list.onScreenOnly) screenMoved();
};

let soon = 0;

function screenMoved() {
  clearTimeout(soon);
  soon = setTimeout(() => {
    padding();
    list.refresh();
  }, 150);
}

$("zoom").addEventListener("click", (e) => {
  const by = e.target.dataset.zoom;
  if (by === "0") flyToAll();
  else if (by) zoomMiddle(Number(by));
});

function zoomMiddle(by) {
  padding();
  const { left, right, top, bottom } = view.pad;
  view.zoomAt((left + view.width - right) / 2, (top + view.height - bottom) / 2, by);
  chart.refresh();
}

$("help").addEventListener("click", () => $("keys").showModal());
$("list-fold").addEventListener("click", () => {
  const folded = $("list").classList.toggle("folded");
  $("list-fold").setAttribute("aria-expanded", !folded);
  padding();
});

const KEYS = {
  j: () => list.step(1), k: () => list.step(-1), l: () => clock.goLive(), a: () => flyToAll(), d: () => toggleTheme(),
  s: () => $("filter-screen").click(), "?": () => $("keys").showModal(), "+": () => zoomMiddle(1), "=": () => zoomMiddle(1), "-": () => zoomMiddle(-1),
  " ": () => clock.toggle(), ",": () => clock.back(600), ".": () => clock.back(-600),
};

addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.altKey || e.metaKey || $("keys").open) return;
  if (e.key === "Escape" && !$("story").hidden) return closeStory();
  if (e.target.closest("input:not([type=checkbox]):not([type=range]), select, textarea")) return;
  if (e.key === " " && e.target.closest("button, input, summary")) return;
  const act = KEYS[e.key.length === 1 ? e.key.toLowerCase() : e.key];
  if (act) {
    e.preventDefault();
    act();
  }
});
addEventListener("hashchange", followHash);
addEventListener("popstate", () => {
  if (!location.hash && focus) closeStory();
});

const toggleTheme = setUpTheme($("theme"), () => {
  chart.setColours();
  legend.setColours(chart.colours);
  clock.marks(chart.colours);
});
new ResizeObserver(() => {
  padding();
  clock.marks(chart.colours);
}).observe($("stage"));

// For tests and for support: what the page knows, read only in intent.
window.map = { sea, view, chart, clock, past, link, hands, list, normal, zones, scene };
