// How good the data are: the officer must never take an old picture for the present one.
import { $ } from "./dom.js";
import { date, hm, number, position, span } from "./text.js";

const OLD_S = 300; // data older than this are said to be old
const QUIET_S = 120; // no record at all for so long
const ARCHIVE_S = 6 * 3600; // records that come but are older than this are a replayed archive

const STATION_S = 3600; // an event of a station is shown for so long, in the time of the data

// What is wrong with stations, one sentence each; another kind is another line.
const STATIONS = {
  station_outage: (e) => `A station fell silent near ${position(e.lat, e.lon)} at ${hm(e.t)} UTC: ${e.silent} ships are not heard there, ${e.heard} still ${e.heard === 1 ? "is" : "are"}. Their silences are no alerts.`,
  station_clock: (e) => `The clock of ${e.station ? `station ${e.station}` : "a station"} is wrong${e.offset_s == null ? "" : ` by ${span(e.offset_s)}`} since ${hm(e.t)} UTC: ${e.ships} ships seem displaced. None of them raises an alert for it.`,
};

/** The newest event of a station that still matters, as a sentence; null without one. */
export function stationNote(sea) {
  const e = (sea.stations ?? []).findLast((x) => STATIONS[x.kind] && sea.now !== null && Math.abs(sea.now - x.decided_at) < STATION_S);
  return e ? STATIONS[e.kind](e) : null;
}

/** The sentence for the banner as [text, kind], or null when all is well. What is wrong with the data comes before what is wrong with a station. */
export function condition(link, sea) {
  const data = dataCondition(link, sea), station = stationNote(sea);
  if (!station || (data && data[1] !== "note")) return data;
  return [data ? `${station} ${data[0]}` : station, "warn"];
}

function dataCondition(link, sea) {
  const h = sea.health;
  const gone = link.quietFor;
  const age = h && h.age_s !== null ? h.age_s + gone : null;
  const quiet = h && h.quiet_s !== null ? h.quiet_s + gone : null;
  const archive = age !== null && age - (quiet ?? 0) > ARCHIVE_S;
  const old = quiet === null ? "" : ` What you see is ${span(archive ? quiet : Math.max(quiet, age ?? 0))} old.`;
  if (link.isLost) return [`No connection to the map's server for ${span(gone)}; trying again.${old}`, "bad"];
  if (!h) return ["Loading …", "note"];
  if (h.missing_topics.length) return [`Topic ${h.missing_topics[0]} does not exist; create it with: python -m stream_operator topics`, "bad"];
  if (!h.broker) return [`The Kafka broker does not answer; trying again.${old}`, "bad"];
  if (h.clock_ahead_s != null)
    return [`The clock of the map's server is ${span(Math.abs(h.clock_ahead_s))} ${h.clock_ahead_s > 0 ? "ahead of" : "behind"} the broker's: one of the two is wrong. Ships are shown at the times of their reports.`, "warn"];
  if (!h.caught_up) return [`Reading what has been heard: ${number(h.records, 6)} records so far.`, "note"];
  if (sea.now === null) return ["No ship has been heard yet.", "note"];
  if (archive)
    return quiet > QUIET_S
      ? [`Replay of an archive, at its end: ${date(sea.now)}, ${hm(sea.now)} UTC. Nothing new for ${span(quiet)}.`, "note"]
      : [`Replay of an archive: the data are of ${date(sea.now)}, not of now.`, "note"];
  if (quiet > QUIET_S) return [`Data is ${span(Math.max(quiet, age))} old: no report has come for ${span(quiet)}.`, "warn"];
  if (age > OLD_S) return [`Data is ${span(age)} old: reports come late.`, "warn"];
  return null;
}

let shown = "";

export function showCondition(link, sea) {
  const [text, kind] = condition(link, sea) ?? ["", ""];
  if (text === shown) return;
  shown = text;
  const banner = $("banner");
  banner.hidden = !text;
  banner.className = kind;
  banner.textContent = text;
}
