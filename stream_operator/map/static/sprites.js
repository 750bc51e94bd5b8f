// The marks of ships: drawn once for each state and course, then only copied. Colour and shape both tell the state.

const COURSES = 72;
export const BIG = 26, SMALL = 12; // CSS pixels of one mark

/** An atlas: one row a state and kind (arrow, at rest), one column a course. */
export class Sprites {
  constructor(colours, ratio) {
    this.ratio = Math.max(1, Math.round(ratio)); // whole, so that the cells of the atlas are
    this.big = this.#sheet(BIG, colours);
    this.small = this.#sheet(SMALL, colours);
  }

  #sheet(size, colours) {
    const canvas = document.createElement("canvas");
    canvas.width = COURSES * size * this.ratio;
    canvas.height = 8 * size * this.ratio;
    const ctx = canvas.getContext("2d");
    ctx.scale(this.ratio, this.ratio);
    for (let state = 0; state < 4; state++) {
      for (let rest = 0; rest < 2; rest++) {
        for (let i = 0; i < (rest || state === 3 ? 1 : COURSES); i++) {
          ctx.save();
          ctx.translate((i + 0.5) * size, (state * 2 + rest + 0.5) * size);
          ctx.rotate((i / COURSES) * 2 * Math.PI);
          mark(ctx, state, rest === 1, size / BIG, colours);
          ctx.restore();
        }
      }
    }
    return { canvas, size, pixels: new Uint32Array(ctx.getImageData(0, 0, canvas.width, canvas.height).data.buffer) };
  }

  /** The cell of a mark in a sheet: [column, row]. */
  cell(state, course) {
    if (state === 3) return [0, 6];
    if (course === null) return [0, state * 2 + 1];
    return [Math.round((course / 360) * COURSES) % COURSES, state * 2];
  }

  /** Copy a mark to (x, y). `course` in degrees; null or a ship at rest has no direction. */
  put(ctx, sheet, state, course, x, y) {
    const [column, row] = this.cell(state, course);
    const s = sheet.size * this.ratio;
    ctx.drawImage(sheet.canvas, column * s, row * s, s, s, x - sheet.size / 2, y - sheet.size / 2, sheet.size, sheet.size);
  }
}

/**
 * Thousands of marks, written as pixels: where a machine draws without a graphics card, that takes a tenth of the time that
 * `drawImage` takes.
 */
export class Crowd {
  constructor(canvas) {
    this.canvas = canvas;
    this.ctx = canvas.getContext("2d");
    this.image = null;
    this.isClear = true;
  }

  clear() {
    if (!this.isClear) this.ctx.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.isClear = true;
  }

  /** placed: [[ship, x, y, state, course]] in CSS pixels. */
  draw(placed, sprites, sheet) {
    const { width, height } = this.canvas;
    if (!this.image || this.image.width !== width || this.image.height !== height) {
      this.image = this.ctx.createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    const to = this.pixels.fill(0), from = sheet.pixels, wide = sheet.canvas.width;
    const size = sheet.size * sprites.ratio, half = size / 2;
    for (const [, x, y, state, course] of placed) {
      const x0 = Math.round(x * sprites.ratio - half), y0 = Math.round(y * sprites.ratio - half);
      const left = Math.max(0, -x0), right = Math.min(size, width - x0), top = Math.max(0, -y0), bottom = Math.min(size, height - y0);
      const [column, row] = sprites.cell(state, course);
      for (let j = top; j < bottom; j++) {
        let s = (row * size + j) * wide + column * size + left, d = (y0 + j) * width + x0 + left;
        for (let i = left; i < right; i++, s++, d++) {
          const colour = from[s];
          // Soft edges lie over the sea, not over another mark.
          if (colour >>> 24 > 190 || (colour >>> 24 && to[d] === 0)) to[d] = colour;
        }
      }
    }
    this.ctx.putImageData(this.image, 0, 0);
    this.isClear = false;
  }
}

/** One mark around the origin, pointing up. */
export function mark(ctx, state, rest, k, colours) {
  const colour = [colours.notJudged, colours.normal, colours.abnormal, colours.silent][state];
  ctx.scale(k, k);
  ctx.lineJoin = "round";
  ctx.beginPath();
  if (state === 3) {
    // silent: a cross in a ring
    ctx.arc(0, 0, 5, 0, 7);
    ctx.moveTo(-3.2, -3.2);
    ctx.lineTo(3.2, 3.2);
    ctx.moveTo(3.2, -3.2);
    ctx.lineTo(-3.2, 3.2);
    ctx.strokeStyle = colours.halo;
    ctx.lineWidth = 3.5;
    ctx.stroke();
    ctx.strokeStyle = colour;
    ctx.lineWidth = 1.7;
    ctx.stroke();
    return;
  }
  const big = state === 2 ? 1.3 : 1;
  if (rest) {
    ctx.arc(0, 0, 4.4 * big, 0, 7);
  } else {
    ctx.moveTo(0, -9 * big);
    ctx.lineTo(5 * big, 7 * big);
    ctx.lineTo(0, 4.2 * big);
    ctx.lineTo(-5 * big, 7 * big);
    ctx.closePath();
  }
  if (state === 0) {
    // not judged: hollow
    ctx.fillStyle = colours.halo;
    ctx.fill();
    ctx.strokeStyle = colour;
    ctx.lineWidth = 1.9;
    ctx.stroke();
    return;
  }
  ctx.strokeStyle = state === 2 ? colours.edge : colours.halo;
  ctx.lineWidth = state === 2 ? 2.4 : 1.4;
  ctx.stroke();
  ctx.fillStyle = colour;
  ctx.fill();
}
