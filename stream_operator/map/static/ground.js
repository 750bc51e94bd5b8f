// Land, from the package's own outlines, and the lines of latitude and longitude.
import { latOf, lonOf, mercX, mercY } from "./sea.js";

export class Ground {
  constructor() {
    this.layers = []; // {box, rings: [{path, edge, x0, y0, x1, y1}]}
  }

  async load() {
    const answer = await fetch("/api/coast");
    if (!answer.ok) throw new Error(`no coastline: ${answer.status}`);
    this.layers = (await answer.json()).map(({ per_deg, box, rings }) => ({
      box: box && { x0: mercX(box[0]), y0: mercY(box[3]), x1: mercX(box[2]), y1: mercY(box[1]) },
      rings: rings.map((steps) => ring(steps, per_deg, box)),
    }));
  }

  /** Draws in steps; `ctx` draws pixels, `to` is the view it is drawn for, `colours` the theme. */
  *draw(ctx, to, colours) {
    const see = {
      x0: to.x - to.width / 2 / to.scale, x1: to.x + to.width / 2 / to.scale,
      y0: to.y - to.height / 2 / to.scale, y1: to.y + to.height / 2 / to.scale,
    };
    ctx.fillStyle = colours.sea;
    ctx.fillRect(0, 0, to.width, to.height);
    for (const { box, rings } of this.layers) {
      if (box && !meet(box, see)) continue;
      // The world is not drawn where finer land covers all that can be seen.
      if (!box && this.layers.some((l) => l.box && within(see, l.box))) continue;
      ctx.save();
      ctx.transform(to.scale, 0, 0, to.scale, to.width / 2 - to.x * to.scale, to.height / 2 - to.y * to.scale);
      if (box) {
        ctx.beginPath();
        ctx.rect(box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0);
        ctx.clip();
        ctx.fillStyle = colours.sea;
        ctx.fill();
      }
      ctx.lineWidth = 1.1 / to.scale;
      for (const r of rings) {
        if (!meet(r, see) || (r.x1 - r.x0) * to.scale < 0.7) continue;
        ctx.fillStyle = colours.land;
        ctx.fill(r.path, "evenodd");
        ctx.strokeStyle = colours.coast;
        ctx.stroke(r.edge);
        yield;
      }
      ctx.restore();
    }
    this.#grid(ctx, to, see, colours);
  }

  #grid(ctx, to, see, colours) {
    const step = [30, 20, 10, 5, 2, 1, 0.5, 1 / 3, 1 / 6, 1 / 12, 1 / 30, 1 / 60].find((d) => (d / 360) * to.scale < 230) || 1 / 60;
    ctx.strokeStyle = colours.grid;
    ctx.fillStyle = colours.gridText;
    ctx.lineWidth = 1;
    ctx.font = "10px system-ui, sans-serif";
    ctx.beginPath();
    const lines = [];
    for (let i = Math.ceil(lonOf(see.x0) / step); i * step <= lonOf(see.x1); i++) {
      const px = Math.round((mercX(i * step) - to.x) * to.scale + to.width / 2) + 0.5;
      ctx.moveTo(px, 0);
      ctx.lineTo(px, to.height);
      lines.push([px, null, degrees(i * step, "EW")]);
    }
    for (let i = Math.ceil(latOf(see.y1) / step); i * step <= latOf(see.y0); i++) {
      const py = Math.round((mercY(i * step) - to.y) * to.scale + to.height / 2) + 0.5;
      ctx.moveTo(0, py);
      ctx.lineTo(to.width, py);
      lines.push([null, py, degrees(i * step, "NS")]);
    }
    ctx.stroke();
    // Labels repeat along their lines, so that some can always be read beside the panels.
    for (const [px, py, text] of lines) {
      if (px !== null) for (let y = 150; y < to.height; y += 420) ctx.fillText(text, px + 3, y);
      else for (let x = 130; x < to.width; x += 520) ctx.fillText(text, x, py - 3);
    }
  }
}

function degrees(v, signs) {
  const minutes = Math.round(Math.abs(v) * 60);
  return `${Math.floor(minutes / 60)}°${minutes % 60 ? `${String(minutes % 60).padStart(2, "0")}'` : ""}${v === 0 ? "" : signs[v < 0 ? 1 : 0]}`;
}

function ring(steps, perDeg, box) {
  const path = new Path2D();
  const edge = new Path2D(); // without the edges along the box, which are no coast
  const out = { path, edge, x0: Infinity, y0: Infinity, x1: -Infinity, y1: -Infinity };
  let lon = 0, lat = 0, wasOnBox = 0;
  for (let i = 0; i < steps.length; i += 2) {
    lon += steps[i];
    lat += steps[i + 1];
    const x = mercX(lon / perDeg), y = mercY(lat / perDeg);
    const isOnBox = box ? sides(lon / perDeg, lat / perDeg, box) : 0;
    if (i === 0) path.moveTo(x, y);
    else path.lineTo(x, y);
    if (i === 0 || wasOnBox & isOnBox) edge.moveTo(x, y);
    else edge.lineTo(x, y);
    wasOnBox = isOnBox;
    out.x0 = Math.min(out.x0, x);
    out.x1 = Math.max(out.x1, x);
    out.y0 = Math.min(out.y0, y);
    out.y1 = Math.max(out.y1, y);
  }
  path.closePath();
  return out;
}

/** Which sides of the box a point lies on, as bits. */
function sides(lon, lat, [x0, y0, x1, y1]) {
  const near = (a, b) => Math.abs(a - b) < 1e-3;
  return (near(lon, x0) ? 1 : 0) | (near(lat, y0) ? 2 : 0) | (near(lon, x1) ? 4 : 0) | (near(lat, y1) ? 8 : 0);
}

const meet = (a, b) => a.x0 <= b.x1 && a.x1 >= b.x0 && a.y0 <= b.y1 && a.y1 >= b.y0;
const within = (a, b) => a.x0 >= b.x0 && a.x1 <= b.x1 && a.y0 >= b.y0 && a.y1 <= b.y1;
