// The last 24 hours: positions in blocks of one hour, fetched when they are needed, and where everybody was at a time.
import { SILENT_S, mercX, mercY } from "./sea.js";

const BLOCK_S = 3600;
const MEET_S = 1200; // between positions farther apart a ship is not drawn on the line
const NO_COURSE = 65535;

export class Past {
  constructor(sea, onLoaded) {
    this.sea = sea;
    this.onLoaded = onLoaded;
    this.blocks = new Map(); // number of the hour -> block, or a promise of it
  }

  /** Blocks of the past do not change, but for the last. */
  #block(hour) {
    const have = this.blocks.get(hour);
    const complete = this.sea.now > (hour + 1) * BLOCK_S + 600;
    if (have && (have.complete || performance.now() - have.asked < 20000)) return have;
    const block = { ready: have?.ready ?? null, complete, asked: performance.now() };
    this.blocks.set(hour, block);
    fetch(`/api/replay?from=${hour * BLOCK_S}&to=${(hour + 1) * BLOCK_S}`)
      .then((answer) => (answer.ok ? answer.arrayBuffer() : Promise.reject(new Error(String(answer.status)))))
      .then((bytes) => {
        block.ready = unpack(bytes);
        this.onLoaded();
      })
      .catch(() => setTimeout(() => this.blocks.delete(hour), 2000));
    return block;
  }

  /** Fetch the block of a time, and the next. Returns the block when it is there, else null. */
  at(t) {
    const hour = Math.floor(t / BLOCK_S);
    if ((hour + 1) * BLOCK_S < this.sea.now) this.#block(hour + 1);
    return this.#block(hour).ready;
  }

  /** Ships at t as {ship, x, y, state, course}; `abnormal` holds the MMSIs with an alert at that time. */
  *ships(t, abnormal) {
    const block = this.at(t);
    if (!block) return;
    const at = t - block.base;
    for (let k = 0; k < block.mmsi.length; k++) {
      const first = block.starts[k], end = block.starts[k + 1];
      // The last position at or before t.
      let low = first, high = end;
      while (low < high) {
        const mid = (low + high) >> 1;
        if (block.t[mid] <= at) low = mid + 1;
        else high = mid;
      }
      const i = low - 1;
      if (i < first) continue;
      const mmsi = block.mmsi[k], gap = i + 1 < end ? block.t[i + 1] - block.t[i] : Infinity;
      let x = block.x[i], y = block.y[i];
      if (gap < MEET_S) {
        const part = (at - block.t[i]) / gap;
        x += (block.x[i + 1] - x) * part;
        y += (block.y[i + 1] - y) * part;
      }
      const silent = gap >= MEET_S && at - block.t[i] > SILENT_S / 2;
      const state = abnormal.has(mmsi) ? 2 : silent ? 3 : block.code[i];
      const course = block.course[i];
      yield { ship: this.sea.ships.get(mmsi) ?? { mmsi, name: "" }, x, y, state, course: course === NO_COURSE ? null : course / 10 };
    }
  }
}

function unpack(bytes) {
  const view = new DataView(bytes);
  const m = view.getUint32(4, true), n = view.getUint32(8, true), base = view.getFloat64(12, true);
  let at = 20;
  const take = (Kind, count) => {
    // Copied: columns need not begin where the machine wants them.
    const column = new Kind(bytes.slice(at, at + count * Kind.BYTES_PER_ELEMENT));
    at += count * Kind.BYTES_PER_ELEMENT;
    return column;
  };
  const mmsi = take(Uint32Array, m), starts = take(Uint32Array, m + 1);
  const lat = take(Float32Array, n), lon = take(Float32Array, n);
  const t = take(Uint16Array, n), course = take(Uint16Array, n), code = take(Uint8Array, n);
  return { base, mmsi, starts, t, course, code, x: Float64Array.from(lon, mercX), y: Float64Array.from(lat, mercY) };
}
