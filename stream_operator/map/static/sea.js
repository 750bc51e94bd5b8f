// What the page knows: ships, alerts, the time of the data. Filled by the link, read by everything else.
import { isOpen } from "./text.js";

export const SILENT_S = 1800; // a ship that has not been heard for so long is shown as silent
export const GONE_S = 3 * 3600; // then its track has ended long ago: it is no longer on the map of now
export const STATES = ["not_judged", "normal", "abnormal", "silent"]; // 0..2 are the verdict codes of the server
export const GONE = 4;
const TAIL_S = 1800;
const TAIL_EVERY_S = 60;

export const mercX = (lon) => lon / 360 + 0.5;
export const mercY = (lat) => {
  const l = Math.max(-85, Math.min(85, lat)) * (Math.PI / 180);
  return 0.5 - Math.log(Math.tan(Math.PI / 4 + l / 2)) / (2 * Math.PI);
};
export const lonOf = (x) => (x - 0.5) * 360;
export const latOf = (y) => (Math.atan(Math.exp((0.5 - y) * 2 * Math.PI)) * 2 - Math.PI / 2) * (180 / Math.PI);

/** [t, x, y, t, x, y, ...] of [s, 1e-5 deg lat, 1e-5 deg lon, ...] differences. */
export function unpackPath(steps) {
  const out = new Array(steps.length);
  let t = 0, lat = 0, lon = 0;
  for (let i = 0; i < steps.length; i += 3) {
    t += steps[i];
    lat += steps[i + 1];
    lon += steps[i + 2];
    out[i] = t;
    out[i + 1] = mercX(lon / 1e5);
    out[i + 2] = mercY(lat / 1e5);
  }
  return out;
}

/** Two positions are not joined by a line when no ship can have sailed it: a hole in reception, or two ships on one MMSI. */
export function joined(t1, x1, y1, t2, x2, y2) {
  const dt = t2 - t1;
  if (dt > 2 * 3600) return false;
  // One unit of x is the equator's 21,600 NM; at latitude 48 it is 14,450 NM. Good enough to tell 60 kn from 600 kn.
  const nm = Math.hypot(x2 - x1, y2 - y1) * 14450;
  return nm < 1 || (nm / Math.max(dt, 1)) * 3600 < 80;
}

export class Sea {
  constructor() {
    this.clear();
  }

  clear() {
    this.ships = new Map(); // mmsi -> ship
    this.alerts = new Map(); // alert id -> alert
    this.openOf = new Map(); // mmsi -> number of open alerts
    this.now = null;
    this.health = null;
    this.hours = 24;
    this.version = 0; // of the alerts
    this.suppressions = []; // {number, alert_type, cause, mmsi, why, from, to, ends}, ends of [x, y]
    this.zones = []; // {name, rule, severity, from, to, rings}, rings of [x, y]
    this.stations = []; // events of stations, oldest first
  }

  /** A snapshot replaces everything. */
  load(state) {
    this.clear();
    this.hours = state.hours;
    for (const row of state.ships) this.#ship(row, 0);
    for (const [mmsi, steps] of Object.entries(state.tails)) {
      const ship = this.ships.get(Number(mmsi));
      if (ship) ship.tail = unpackPath(steps);
    }
    for (const a of state.alerts) this.#alert(a);
    this.#marks(state);
    this.#head(state);
  }

  /** A delta; returns ids of alerts that are new. */
  apply(delta, clock) {
    const fresh = [];
    for (const row of delta.ships) this.#ship(row, clock);
    for (const mmsi of delta.gone) this.ships.delete(mmsi);
    for (const a of delta.alerts) if (this.#alert(a)) fresh.push(a.alert_id);
    for (const id of delta.gone_alerts) this.#drop(id);
    this.#marks(delta);
    this.#head(delta);
    return fresh;
  }

  /** Zones, suppressions and events of stations come only when they have changed. */
  #marks(message) {
    if (message.stations) this.stations = message.stations;
    if (message.suppressions)
      this.suppressions = message.suppressions.map((s) => ({ ...s, ends: s.ends.map(([lon, lat]) => [mercX(lon), mercY(lat)]) }));
    if (message.zones)
      this.zones = message.zones.map((z) => ({ ...z, rings: z.rings.map((ring) => ring.map(([lon, lat]) => [mercX(lon), mercY(lat)])) }));
  }

  #head(message) {
    this.now = message.now;
    this.health = message.health;
  }

  #ship([mmsi, t, lat, lon, sog, cog, heading, code, reason, name, type], clock) {
    const x = mercX(lon), y = mercY(lat);
    let s = this.ships.get(mmsi);
    if (!s) {
      s = { mmsi, tail: [], x, y };
      this.ships.set(mmsi, s);
    } else if (clock && (s.x !== x || s.y !== y)) {
      // It glides from where it is drawn now to where it is.
      const [px, py] = this.at(s, clock);
      s.fromX = px;
      s.fromY = py;
      s.since = joined(s.t, s.x, s.y, t, x, y) ? clock : 0;
    }
    const n = s.tail.length;
    if (t > (n ? s.tail[n - 3] : -Infinity) + TAIL_EVERY_S) {
      s.tail.push(t, x, y);
      let old = 0;
      while (s.tail[old] < t - TAIL_S) old += 3;
      if (old) s.tail.splice(0, old);
    }
    Object.assign(s, { t, lat, lon, sog, cog, heading, code, reason, name, type, x, y });
  }

  /** Where a ship is drawn at `clock` ms. */
  at(s, clock) {
    const part = s.since ? (clock - s.since) / GLIDE_MS : 1;
    if (part >= 1 || part < 0) return [s.x, s.y];
    return [s.fromX + (s.x - s.fromX) * part, s.fromY + (s.y - s.fromY) * part];
  }

  #alert(a) {
    const before = this.alerts.get(a.alert_id);
    this.#count(before, -1);
    a.trail = unpackPath(a.path);
    a.vessel = Number(a.mmsi);
    a.other = a.partner ? Number(a.partner.mmsi) : null;
    this.alerts.set(a.alert_id, a);
    this.#count(a, 1);
    this.version++;
    return !before;
  }

  #drop(id) {
    this.#count(this.alerts.get(id), -1);
    this.alerts.delete(id);
    this.version++;
  }

  #count(a, by) {
    if (a && isOpen(a) && !a.challenger)
      for (const mmsi of [a.vessel, a.other]) if (mmsi !== null) this.openOf.set(mmsi, (this.openOf.get(mmsi) || 0) + by);
  }

  /** Index into STATES, or GONE. An open alert is shown as abnormal also when the ship has gone silent. */
  stateOf(s) {
    if (this.openOf.get(s.mmsi) > 0) return 2;
    if (this.now - s.t > SILENT_S) return this.now - s.t > GONE_S ? GONE : 3;
    return s.code;
  }

  /** The alerts of a ship, newest first. */
  alertsOf(mmsi) {
    return [...this.alerts.values()].filter((a) => a.vessel === mmsi || a.other === mmsi).sort((a, b) => b.first_decided_at - a.first_decided_at);
  }
}

export const GLIDE_MS = 900; // positions come once a second
