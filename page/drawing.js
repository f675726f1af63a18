// The vessels of one photograph: its map cut at a threshold, and strokes that add or
// remove some. Cut here as retina/corrections.py cuts it: bit for bit the same.

import { $ } from "./server.js";

const [VESSEL, ADDED, REMOVED] = [0xa04cff1a, 0xf0ff9632, 0xc03c32ff]; // ABGR

// The least value of a map, 0..65535, that is vessel at a threshold.
export function leastValue(threshold) {
  let value = Math.max(0, Math.floor(threshold * 65535) - 2);
  while (Math.fround(value / 65535) < Math.fround(threshold)) value++;
  return value;
}

export class Drawing {
  changed = false;
  done = []; // strokes: of each, the pixels that it changed, and their edits without it
  undone = [];

  // Of a map's values, and of vessels, 0 or 1: where they differ from the map cut at
  // the threshold, somebody drew them.
  constructor({ height, width }, threshold, values, vessels) {
    Object.assign($("drawing"), { width, height });
    Object.assign(this, { height, width, values });
    const least = leastValue(threshold);
    this.edits = new Int8Array(values.length); // 1 added, -1 removed
    for (let i = 0; i < values.length; i++) this.edits[i] = vessels[i] - (values[i] >= least);
    this.cutAt(threshold);
  }

  cutAt(threshold) {
    Object.assign(this, { threshold, least: leastValue(threshold) });
    this.paint();
  }

  // Draws what lies in a box.
  paint(left = 0, top = 0, right = this.width, bottom = this.height) {
    if (right <= left || bottom <= top) return;
    const image = new ImageData(right - left, bottom - top);
    const pixels = new Uint32Array(image.data.buffer);
    const { edits, values, least, width } = this;
    for (let row = top, at = 0; row < bottom; row++) {
      for (let i = row * width + left; i < row * width + right; i++, at++) {
        if (values[i] >= least) pixels[at] = edits[i] < 0 ? REMOVED : VESSEL;
        else if (edits[i] > 0) pixels[at] = ADDED;
      }
    }
    $("drawing").getContext("2d").putImageData(image, left, top);
  }

  begin() {
    this.done.push({ pixels: [], edits: [] });
    Object.assign(this, { undone: [], changed: true });
  }

  // Makes the edits `value` on the way from one point to another.
  extend([x0, y0], [x, y], radius, value) {
    const stroke = this.done.at(-1);
    const left = Math.max(0, Math.floor(Math.min(x, x0) - radius));
    const top = Math.max(0, Math.floor(Math.min(y, y0) - radius));
    const right = Math.min(this.width, Math.ceil(Math.max(x, x0) + radius) + 1);
    const bottom = Math.min(this.height, Math.ceil(Math.max(y, y0) + radius) + 1);
    const [dx, dy] = [x - x0, y - y0];
    for (let row = top; row < bottom; row++) {
      for (let column = left; column < right; column++) {
        const [px, py] = [column + 0.5 - x0, row + 0.5 - y0];
        const along = Math.min(1, Math.max(0, (px * dx + py * dy) / (dx * dx + dy * dy || 1)));
        const i = row * this.width + column;
        if (Math.hypot(px - along * dx, py - along * dy) <= radius && this.edits[i] !== value) {
          stroke.pixels.push(i);
          stroke.edits.push(this.edits[i]);
          this.edits[i] = value;
        }
      }
    }
    this.paint(left, top, right, bottom);
  }

  undo(from = this.done, to = this.undone) {
    const stroke = from.pop();
    if (!stroke) return;
    const { pixels, edits } = stroke;
    to.push({ pixels, edits: pixels.map((i) => this.edits[i]) });
    pixels.forEach((i, k) => (this.edits[i] = edits[k]));
    this.changed = true;
    this.paint();
  }

  redo() {
    this.undo(this.undone, this.done);
  }

  // As they are now: 0 or 1 a pixel.
  vessels() {
    const { edits, values, least } = this;
    const vessels = new Uint8Array(edits.length);
    for (let i = 0; i < edits.length; i++) vessels[i] = edits[i] + (values[i] >= least) > 0;
    return vessels;
  }
}
