// The marks of ships: drawn once for each state and course, then only copied. Colour and shape both tell the state.

const COURSES = 72;
export const BIG = 26, SMALL = 12; // CSS pixels of one mark

/** An atlas: one row a state and kind (arrow, at rest), one column a course. */
export class Sprites {
  constructor(colours, ratio) {
    this.ratio = ratio;
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
    return { canvas, size };
  }

  /** Copy a mark to (x, y). `course` in degrees; null or a ship at rest has no direction. */
  put(ctx, sheet, state, course, x, y) {
    const rest = course === null || state === 3;
    const column = rest ? 0 : Math.round((course / 360) * COURSES) % COURSES;
    const row = state * 2 + (rest && state !== 3 ? 1 : 0);
    const s = sheet.size * this.ratio;
    ctx.drawImage(sheet.canvas, column * s, row * s, s, s, x - sheet.size / 2, y - sheet.size / 2, sheet.size, sheet.size);
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
