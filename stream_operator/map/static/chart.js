// The map's canvas: ground, tracks, ships and names, each only when it has to be drawn again.
//
// Ground and tracks are drawn into one picture larger than the window, a few milliseconds a frame; while the map moves, the last
// picture is moved with it. Only the marks of ships are drawn each time, on canvases of their own above it.
import { GLIDE_MS, joined, mercX, mercY } from "./sea.js";
import { Crowd, Sprites } from "./sprites.js";
import { shipName } from "./text.js";

const MARGIN = 0.25; // of the window, on each side of a picture
const BUDGET_MS = 6; // of one frame for pictures
const SETTLED_MS = 120; // the map stands still for so long before its pictures are drawn again
const TRACKS_EVERY_MS = 3000; // wakes grow
const MANY = 500; // ships in sight; above, they are small, written as pixels, and glide at half the rate
const NAMES = 70; // at most on the map at a time

class Layer {
  constructor() {
    this.front = document.createElement("canvas");
    this.back = document.createElement("canvas");
    this.view = null; // that the front was drawn for
    this.job = null;
    this.since = 0;
    this.key = null;
  }

  /** Begin to draw for the window `to` by `draw(ctx, to)`, a generator. */
  begin(to, ratio, key, draw) {
    const w = Math.round(to.width * ratio), h = Math.round(to.height * ratio);
    if (this.back.width !== w || this.back.height !== h) {
      this.back.width = w;
      this.back.height = h;
    }
    const ctx = this.back.getContext("2d", { willReadFrequently: true });
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, to.width, to.height);
    this.key = key;
    this.since = performance.now();
    this.job = { to, ctx, steps: draw(ctx, to) };
  }

  /** Go on until `deadline`; true when a new picture is ready. */
  work(deadline) {
    if (!this.job) return false;
    do {
      const { done } = this.job.steps.next();
      // A browser only notes what is drawn, until somebody looks: look now, or it would all be drawn at once, in one long frame.
      this.job.ctx.getImageData(0, 0, 1, 1);
      if (done) {
        [this.front, this.back] = [this.back, this.front];
        this.view = this.job.to;
        this.job = null;
        return true;
      }
    } while (performance.now() < deadline);
    return false;
  }

  /** The last picture, where it belongs now. */
  put(ctx, view) {
    if (!this.view) return;
    const k = view.scale / this.view.scale;
    const [x, y] = view.toScreen(this.view.x, this.view.y);
    ctx.drawImage(this.front, x - (this.view.width * k) / 2, y - (this.view.height * k) / 2, this.view.width * k, this.view.height * k);
  }
}

export class Chart {
  /** `scene` answers: ships(clock) -> iterable of {ship, x, y, state, course}, selected, alerts(), focus (an open story or null). */
  constructor(canvas, above, view, ground, scene) {
    this.canvas = canvas;
    this.ctx = canvas.getContext("2d", { alpha: false });
    this.crowd = new Crowd(above[0]);
    this.topCanvas = above[1];
    this.top = above[1].getContext("2d");
    this.view = view;
    this.ground = ground;
    this.scene = scene;
    this.layers = { ground: new Layer(), tracks: new Layer() };
    this.dirty = true; // ships
    this.stale = true; // the picture below them
    this.drawnFor = "";
    this.glideUntil = 0;
    this.lastFrame = 0;
    this.placed = []; // ships as last drawn: [ship, px, py, state]
    this.inSight = 0;
    this.onFrame = () => {};
    this.setColours();
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    this.resize();
    requestAnimationFrame((t) => this.#frame(t));
  }

  setColours() {
    const css = getComputedStyle(document.documentElement);
    const get = (name) => css.getPropertyValue(name).trim();
    this.colours = {
      sea: get("--sea"), land: get("--land"), coast: get("--coast"), grid: get("--grid"), gridText: get("--grid-text"),
      normal: get("--normal"), abnormal: get("--abnormal"), notJudged: get("--not-judged"), silent: get("--silent"),
      zone: get("--zone"), halo: get("--halo"), edge: get("--edge"), text: get("--text"), wake: get("--wake"), before: get("--before"), after: get("--after"),
    };
    this.sprites = new Sprites(this.colours, window.devicePixelRatio || 1);
    this.repaint();
  }

  resize() {
    const box = this.canvas.parentElement.getBoundingClientRect();
    this.ratio = window.devicePixelRatio || 1;
    for (const c of [this.canvas, this.crowd.canvas, this.topCanvas]) {
      c.width = Math.round(box.width * this.ratio);
      c.height = Math.round(box.height * this.ratio);
    }
    this.view.resize(box.width, box.height);
    this.dirty = this.stale = true;
  }

  /** Ships have moved (they glide for a moment), or what is selected has changed. */
  refresh(glide = false) {
    this.dirty = true;
    if (glide) this.glideUntil = performance.now() + GLIDE_MS;
  }

  /** Tracks or colours have changed as well. */
  repaint() {
    this.layers.ground.key = this.layers.tracks.key = null;
    this.dirty = true;
  }

  tracksChanged() {
    this.layers.tracks.key = null;
    this.dirty = true;
  }

  #frame(clock) {
    requestAnimationFrame((t) => this.#frame(t));
    if (document.hidden) return;
    const flying = this.view.step(clock);
    const moving = flying || clock - this.view.moved < SETTLED_MS;
    this.#renew(clock, moving);
    const deadline = performance.now() + BUDGET_MS;
    if (this.layers.ground.work(deadline)) this.layers.tracks.key = null;
    else if (this.layers.tracks.work(deadline)) this.stale = true;
    const gliding = clock < this.glideUntil && clock - this.lastFrame > (this.inSight > MANY ? 60 : 30);
    const v = this.view, now = `${v.x} ${v.y} ${v.zoom}`;
    if (this.stale || now !== this.drawnFor) {
      this.dirty = true;
      this.stale = false;
      this.drawnFor = now;
      this.#below();
    }
    if (this.dirty || gliding) {
      this.dirty = false;
      this.lastFrame = clock;
      this.#ships(clock);
      this.onFrame();
    }
  }

  /** Begin new pictures where the old do not do. */
  #renew(clock, moving) {
    const v = this.view;
    const where = `${v.x} ${v.y} ${v.zoom} ${v.width} ${v.height}`;
    const { ground, tracks } = this.layers;
    const bare = !ground.view || this.#uncovered(ground.view);
    if (ground.key !== where && !ground.job && (!moving || bare))
      ground.begin(wider(v), this.ratio, where, (ctx, to) => this.ground.draw(ctx, to, this.colours));
    // Tracks are drawn over a copy of the ground, for the window that the ground was drawn for.
    const old = clock - tracks.since > TRACKS_EVERY_MS && this.scene.live && !moving;
    if (ground.view && !ground.job && !tracks.job && (tracks.key !== ground.key || old))
      tracks.begin(ground.view, this.ratio, ground.key, (ctx, to) => this.#tracks(ctx, to));
  }

  #uncovered(pic) {
    const k = this.view.scale / pic.scale;
    const [x, y] = this.view.toScreen(pic.x, pic.y);
    const w = (pic.width * k) / 2, h = (pic.height * k) / 2;
    return x - w > 0 || y - h > 0 || x + w < this.view.width || y + h < this.view.height || k > 3;
  }

  #below() {
    const { ctx, view, colours } = this;
    ctx.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    ctx.fillStyle = colours.sea;
    ctx.fillRect(0, 0, view.width, view.height);
    this.layers.tracks.put(ctx, view);
  }

  #ships(clock) {
    const { top: ctx, view, sprites, scene } = this;
    ctx.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    ctx.clearRect(0, 0, view.width, view.height);
    const placed = [], loud = [];
    const s = view.scale, dx = view.width / 2 - view.x * s, dy = view.height / 2 - view.y * s;
    for (const { ship, x, y, state, course } of scene.ships(clock)) {
      const px = x * s + dx, py = y * s + dy;
      if (px < -20 || py < -20 || px > view.width + 20 || py > view.height + 20) continue;
      (state === 2 || ship.mmsi === scene.selected ? loud : placed).push([ship, px, py, state, course]);
    }
    this.inSight = placed.length + loud.length;
    const many = this.inSight > MANY;
    const sheet = many || view.zoom < 6.5 ? sprites.small : sprites.big;
    if (many) this.crowd.draw(placed, sprites, sheet);
    else this.crowd.clear();
    if (!many) for (const p of placed) sprites.put(ctx, sheet, p[3], p[4], p[1], p[2]);
    const ring = sheet === sprites.small ? 9 : 15;
    for (const p of loud) {
      if (p[3] === 2) this.#ring(p[1], p[2], ring);
      sprites.put(ctx, p[3] === 2 || p[0].mmsi === scene.selected ? sprites.big : sheet, p[3], p[4], p[1], p[2]);
      if (p[0].mmsi === scene.selected) this.#brackets(p[1], p[2]);
    }
    for (const m of scene.meetings(clock)) this.#pair(m.x * s + dx, m.y * s + dy, m.open);
    this.placed = placed.concat(loud);
    this.#names(placed, loud);
  }

  #ring(x, y, r) {
    const { top: ctx, colours } = this;
    ctx.beginPath();
    ctx.arc(x, y, r, 0, 7);
    ctx.globalAlpha = 0.22;
    ctx.fillStyle = colours.abnormal;
    ctx.fill();
    ctx.globalAlpha = 1;
    ctx.strokeStyle = colours.abnormal;
    ctx.lineWidth = 1.5;
    ctx.stroke();
  }

  /** Two linked rings above a pair of ships that meet. */
  #pair(x, y, open) {
    const { top: ctx, colours } = this;
    ctx.globalAlpha = open ? 1 : 0.6;
    for (const [colour, width] of [[colours.halo, 5], [colours.abnormal, 2.2]]) {
      ctx.beginPath();
      for (const by of [-4.5, 4.5]) {
        ctx.moveTo(x + by + 7, y - 24);
        ctx.arc(x + by, y - 24, 7, 0, 7);
      }
      ctx.strokeStyle = colour;
      ctx.lineWidth = width;
      ctx.stroke();
    }
    ctx.globalAlpha = 1;
  }

  #brackets(x, y) {
    const { top: ctx, colours } = this;
    ctx.beginPath();
    for (const [a, b] of [[-1, -1], [1, -1], [1, 1], [-1, 1]]) {
      ctx.moveTo(x + a * 20, y + b * 12);
      ctx.lineTo(x + a * 20, y + b * 20);
      ctx.lineTo(x + a * 12, y + b * 20);
    }
    ctx.strokeStyle = colours.text;
    ctx.lineWidth = 2;
    ctx.stroke();
  }

  /** Names where there is room: the selected and the abnormal first, others when few are in sight. */
  #names(placed, loud) {
    const { top: ctx, view, colours, scene } = this;
    const wanted = loud.slice(-NAMES);
    wanted.sort((a, b) => (b[0].mmsi === scene.selected) - (a[0].mmsi === scene.selected));
    if (view.zoom >= 9.5 && placed.length < 160) wanted.push(...placed.slice(0, NAMES));
    ctx.font = "600 11.5px system-ui, sans-serif";
    ctx.lineWidth = 3;
    ctx.lineJoin = "round";
    const taken = [];
    const { left, right, top, bottom } = view.pad;
    const free = (x, y, w) => x > left && x + w < view.width - right && y > top + 12 && y < view.height - bottom - 6;
    for (const [ship, px, py] of wanted) {
      const text = shipName(ship), w = ctx.measureText(text).width;
      const spot = [[px + 15, py + 4], [px - 15 - w, py + 4], [px - w / 2, py - 17], [px - w / 2, py + 26]].find(
        ([x, y]) => free(x, y, w) && !taken.some((t) => x < t[2] && x + w > t[0] && y - 11 < t[3] && y + 3 > t[1]),
      );
      if (!spot) continue;
      taken.push([spot[0] - 2, spot[1] - 12, spot[0] + w + 2, spot[1] + 4]);
      ctx.strokeStyle = colours.halo;
      ctx.strokeText(text, ...spot);
      ctx.fillStyle = colours.text;
      ctx.fillText(text, ...spot);
    }
  }

  // ---------------------------------------------------------------- tracks

  *#tracks(ctx, to) {
    ctx.drawImage(this.layers.ground.front, 0, 0, to.width, to.height);
    const s = to.scale, dx = to.width / 2 - to.x * s, dy = to.height / 2 - to.y * s;
    const at = (x, y) => [x * s + dx, y * s + dy];
    const { colours, scene } = this;
    for (const zone of scene.zones()) {
      this.#zone(ctx, at, zone);
      yield;
    }
    for (const s of scene.suppressions()) this.#suppression(ctx, at, s);
    if (scene.live) {
      ctx.strokeStyle = colours.wake;
      ctx.lineWidth = 1;
      ctx.lineJoin = "bevel";
      let n = 0;
      ctx.beginPath();
      for (const ship of scene.wakes()) {
        const { tail } = ship;
        const [px, py] = at(ship.x, ship.y);
        if (tail.length < 3 || px < -200 || py < -200 || px > to.width + 200 || py > to.height + 200) continue;
        trail(ctx, at, tail, ship);
        if (++n % 40 === 0) {
          ctx.stroke();
          ctx.beginPath();
          yield;
        }
      }
      ctx.stroke();
    }
    ctx.lineJoin = ctx.lineCap = "round";
    for (const a of scene.alerts()) {
      if (a.trail.length < 3) continue;
      if (a.silence) {
        unheard(ctx, at, a.trail, colours, (a.open ? 0.9 : 0.5) * (a.faint ? 0.5 : 1));
        continue;
      }
      ctx.beginPath();
      trail(ctx, at, a.trail);
      stroke(ctx, colours.abnormal, a.open ? 3.5 : 2, (a.open ? 0.9 : 0.4) * (a.faint ? 0.5 : 1));
      yield;
    }
    if (scene.focus) this.#focus(ctx, at, scene.focus);
  }

  /** A dotted line along what was called normal, a dotted ring where it is one place. */
  #suppression(ctx, at, s) {
    const [from, to] = s.ends.map(([x, y]) => at(x, y));
    ctx.beginPath();
    if (Math.hypot(to[0] - from[0], to[1] - from[1]) < 6) ctx.arc(...from, 8, 0, 2 * Math.PI);
    else {
      ctx.moveTo(...from);
      ctx.lineTo(...to);
    }
    ctx.setLineDash([3, 5]);
    stroke(ctx, this.colours.after, 3, 1);
    ctx.setLineDash([]);
  }

  #zone(ctx, at, zone) {
    const { colours } = this;
    ctx.beginPath();
    let west = Infinity, east = -Infinity, north = Infinity;
    for (const ring of zone.rings) {
      ring.forEach(([x, y], i) => {
        const p = at(x, y);
        ctx[i ? "lineTo" : "moveTo"](...p);
        west = Math.min(west, p[0]);
        east = Math.max(east, p[0]);
        north = Math.min(north, p[1]);
      });
      ctx.closePath();
    }
    ctx.globalAlpha = 0.12;
    ctx.fillStyle = colours.zone;
    ctx.fill("evenodd");
    ctx.setLineDash(zone.begun ? [] : [3, 4]);
    stroke(ctx, colours.zone, zone.severity === "high" ? 2.5 : 1.5, 0.9);
    ctx.setLineDash([]);
    ctx.font = "600 11px system-ui, sans-serif";
    ctx.textAlign = "center";
    ctx.lineWidth = 3;
    ctx.strokeStyle = colours.halo;
    ctx.strokeText(zone.name, (west + east) / 2, north - 5);
    ctx.fillStyle = colours.zone;
    ctx.fillText(zone.name, (west + east) / 2, north - 5);
    ctx.textAlign = "start";
  }

  /** The track of the open story: before, the abnormal part, after; with hours along it. */
  #focus(ctx, at, { track, from, until, silence, partner }) {
    const { colours } = this;
    if (partner?.length) {
      ctx.beginPath();
      trail(ctx, at, partner.flatMap(([t, lat, lon]) => [t, mercX(lon), mercY(lat)]));
      ctx.setLineDash([7, 3]);
      stroke(ctx, colours.normal, 2, 0.9);
      ctx.setLineDash([]);
    }
    const points = track.map(([t, lat, lon]) => [t, mercX(lon), mercY(lat)]);
    const part = (t0, t1) => points.filter(([t]) => t >= t0 && t <= t1).flat();
    for (const [flat, colour, width, dash] of [
      [part(-Infinity, from ?? Infinity), colours.before, 2.2, []],
      [from === undefined ? [] : part(until, Infinity), colours.after, 2.2, [2, 5]],
      [from === undefined ? [] : part(from, until), colours.abnormal, 5, []],
    ]) {
      if (flat.length < 6) continue;
      ctx.beginPath();
      trail(ctx, at, flat);
      ctx.setLineDash([]);
      stroke(ctx, colours.halo, width + 2.5, 0.75);
      ctx.setLineDash(dash);
      stroke(ctx, colour, width, 1);
      ctx.setLineDash([]);
    }
    if (silence) {
      const before = points.findLast(([t]) => t <= from), after = points.find(([t]) => t >= until);
      if (before) unheard(ctx, at, until > from && after ? [...before, ...after] : before, colours, 1);
    }
    ctx.font = "10.5px system-ui, sans-serif";
    let last = null;
    for (const [t, x, y] of points) {
      const hour = Math.floor(t / 3600);
      const [px, py] = at(x, y);
      if (last === null || hour === last.hour) {
        last = last ?? { hour, px: -99, py: -99 };
        continue;
      }
      last.hour = hour;
      ctx.beginPath();
      ctx.arc(px, py, 3, 0, 7);
      ctx.fillStyle = t >= from && t <= until ? colours.abnormal : colours.before;
      ctx.fill();
      ctx.strokeStyle = colours.halo;
      ctx.lineWidth = 1.2;
      ctx.stroke();
      if (Math.hypot(px - last.px, py - last.py) < 44) continue;
      [last.px, last.py] = [px, py];
      const text = `${String(hour % 24).padStart(2, "0")}:00`;
      ctx.lineWidth = 3;
      ctx.strokeText(text, px + 7, py - 6);
      ctx.fillStyle = colours.text;
      ctx.fillText(text, px + 7, py - 6);
    }
  }

  /** The ship under a point of the window, or null. */
  pick(px, py, within = 16) {
    let best = null, least = within;
    for (const p of this.placed) {
      const d = Math.hypot(p[1] - px, p[2] - py) - (p[3] === 2 ? 4 : 0);
      if (d < least) [best, least] = [p, d];
    }
    return best;
  }
}

/** A window with a margin around that of the view. */
function wider(view) {
  const to = view.snapshot();
  to.width = Math.round(to.width * (1 + 2 * MARGIN));
  to.height = Math.round(to.height * (1 + 2 * MARGIN));
  return to;
}

function stroke(ctx, colour, width, alpha) {
  ctx.globalAlpha = alpha;
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.stroke();
  ctx.globalAlpha = 1;
}

/** Where a ship was not heard: a dashed line from its last place to where it was heard again, a dashed ring while it was not. */
function unheard(ctx, at, flat, colours, alpha) {
  const n = flat.length, [x0, y0] = at(flat[1], flat[2]), [x1, y1] = at(flat[n - 2], flat[n - 1]);
  for (const [colour, width] of [[colours.halo, 5], [colours.abnormal, 2.5]]) {
    ctx.beginPath();
    if (n > 3 && Math.hypot(x1 - x0, y1 - y0) > 2) {
      ctx.moveTo(x0, y0);
      ctx.lineTo(x1, y1);
    } else {
      ctx.moveTo(x0 + 16, y0);
      ctx.arc(x0, y0, 16, 0, 7);
    }
    ctx.setLineDash([7, 6]);
    stroke(ctx, colour, width, alpha);
  }
  ctx.setLineDash([]);
}

/** A line through [t, x, y, ...], and on to a ship's last position; broken where no ship can have sailed it. */
function trail(ctx, at, flat, ship) {
  ctx.moveTo(...at(flat[1], flat[2]));
  for (let i = 3; i < flat.length; i += 3) {
    const ok = joined(flat[i - 3], flat[i - 2], flat[i - 1], flat[i], flat[i + 1], flat[i + 2]);
    ctx[ok ? "lineTo" : "moveTo"](...at(flat[i + 1], flat[i + 2]));
  }
  const n = flat.length;
  if (ship && joined(flat[n - 3], flat[n - 2], flat[n - 1], ship.t, ship.x, ship.y)) ctx.lineTo(...at(ship.x, ship.y));
}
