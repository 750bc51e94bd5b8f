// Words and numbers as people read them. Everything here returns text; nobody makes markup of it.

import { CAUSES, REASONS, RULES } from "./vocabulary.js";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (n) => String(n).padStart(2, "0");

/** "14:05" UTC of Unix seconds. */
export function hm(t) {
  const d = new Date(t * 1000);
  return `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`;
}

/** "1 Jan". */
export function day(t) {
  const d = new Date(t * 1000);
  return `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]}`;
}

/** "1 Jan 14:05 UTC". */
export const stamp = (t) => (t == null ? "–" : `${day(t)} ${hm(t)} UTC`);

/** "1 Jan 2026". */
export const date = (t) => `${day(t)} ${new Date(t * 1000).getUTCFullYear()}`;

export function hms(t) {
  return `${hm(t)}:${two(new Date(t * 1000).getUTCSeconds())}`;
}

/** "3 min", "2 h 10 min", "5 days". */
export function span(s) {
  const min = Math.round(s / 60);
  if (s < 90) return `${Math.max(0, Math.round(s))} s`;
  if (min < 60) return `${min} min`;
  if (min < 48 * 60) return min % 60 ? `${Math.floor(min / 60)} h ${min % 60} min` : `${min / 60} h`;
  return `${Math.round(min / 1440)} days`;
}

/** 48°30.5'N 005°12.0'W, as on a chart. */
export function position(lat, lon) {
  const part = (v, digits, signs) => {
    const m = Math.round(Math.abs(v) * 600);
    const min = (m % 600) / 10;
    return `${String(Math.floor(m / 600)).padStart(digits, "0")}°${min.toFixed(1).padStart(4, "0")}'${signs[v < 0 ? 1 : 0]}`;
  };
  return `${part(lat, 2, "NS")} ${part(lon, 3, "EW")}`;
}

export const mmsiText = (mmsi) => String(mmsi).padStart(9, "0");
export const knots = (v) => (v == null ? "speed unknown" : `${v.toFixed(1)} kn`);
export const course = (v) => (v == null ? "course unknown" : `${two(Math.floor(Math.round(v) % 360 / 10))}${Math.round(v) % 10}°`);
export const number = (x, digits = 3) => (x == null ? "–" : Number(x.toPrecision(digits)).toLocaleString("en"));

export function cause(a) {
  if (a.alert_type === "meeting" && a.partner) return `Meeting with ${alertName(a.partner)}`;
  if (a.alert_type === "zone" && a.zone) return `Zone ${a.zone.name}`;
  return CAUSES[a.cause] || sentence(a.cause || a.alert_type);
}
export const kind = (alertType) => ({ abnormal: "abnormal track", identity_conflict: "identity conflict" })[alertType] || String(alertType).replaceAll("_", " ");
function sentence(s) {
  s = String(s).replaceAll("_", " ");
  return s.charAt(0).toUpperCase() + s.slice(1);
}

export const rule = (r) => RULES[r] || sentence(r);

export const reason = (r) => REASONS[r] || (r ? String(r).replaceAll("_", " ") : "no verdict yet");

export const shipName = (ship) => ship.name || `MMSI ${mmsiText(ship.mmsi)}`;
export const alertName = (a) => a.ship_name || `MMSI ${mmsiText(a.mmsi)}`;
export const isOpen = (a) => a.status === "raised" || a.status === "updated";
/** Did it stand at a time of the replay? */
export const openAt = (a, t) => a.first_decided_at <= t && (isOpen(a) || (a.status === "closed" && t < a.decided_at));
