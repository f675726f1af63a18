// The vessels of one photograph: its map cut at a threshold, and strokes that add or
// remove some. Cut here as retina/corrections.py cuts it: bit for bit the same.

const COLOURS = { vessel: 0xa04cff1a, added: 0xf0ff9632, removed: 0xc03c32ff }; // ABGR

// The least value of a map, 0..65535, that is vessel at a threshold.
export function leastValue(threshold) {
  let value = Math.max(0, Math.floor(threshold * 65535) - 2);
  while (Math.fround(value / 65535) < Math.fround(threshold)) value++;
  return value;
}

export class Drawing {
  // Of a map's values, and of vessels as `packed` gives them: where they differ from
  // the map cut at the threshold, somebody drew them.
  constructor({ height, width }, threshold, values, bits) {
    Object.assign(this, { height, width, values, done: [], undone: [] });
    this.edits = new Int8Array(values.length); // 1 added, -1 removed
    this.canvas = new OffscreenCanvas(width, height);
    const least = leastValue(threshold);
    for (let i = 0; i < values.length; i++) {
      this.edits[i] = ((bits[i >> 3] >> (7 - (i & 7))) & 1) - (values[i] >= least);
    }
    this.cutAt(threshold);
  }

  // Cuts each pixel, or each one of `step` times `step` alone, as a preview.
  cutAt(threshold, step = 1) {
    Object.assign(this, { threshold, least: leastValue(threshold) });
    this.preview = step > 1 && new OffscreenCanvas(
      Math.ceil(this.width / step), Math.ceil(this.height / step));
    this.paint({ canvas: this.preview || this.canvas, step });
  }

  // Draws what lies in a box.
  paint({ left = 0, top = 0, right = this.width, bottom = this.height,
    canvas = this.canvas, step = 1 } = {}) {
    if (right <= left || bottom <= top) return;
    const image = new ImageData(Math.ceil((right - left) / step), Math.ceil((bottom - top) / step));
    const pixels = new Uint32Array(image.data.buffer);
    const { edits, values, least, width } = this;
    for (let row = top, at = 0; row < bottom; row += step) {
      for (let i = row * width + left, end = i + right - left; i < end; i += step, at++) {
        if (values[i] >= least) pixels[at] = edits[i] < 0 ? COLOURS.removed : COLOURS.vessel;
        else if (edits[i] > 0) pixels[at] = COLOURS.added;
      }
    }
    canvas.getContext("2d").putImageData(image, left, top);
  }

  begin(value) {
    this.done.push({ value, places: [], old: [] });
    this.undone = [];
  }

  // A dot of the stroke, or a line from the last dot to this one.
  extend(x, y, radius) {
    const stroke = this.done.at(-1);
    const { x: x0 = x, y: y0 = y, value, places, old } = stroke;
    const box = {
      left: Math.max(0, Math.floor(Math.min(x, x0) - radius)),
      right: Math.min(this.width, Math.ceil(Math.max(x, x0) + radius) + 1),
      top: Math.max(0, Math.floor(Math.min(y, y0) - radius)),
      bottom: Math.min(this.height, Math.ceil(Math.max(y, y0) + radius) + 1),
    };
    const [dx, dy] = [x - x0, y - y0];
    for (let row = box.top; row < box.bottom; row++) {
      for (let column = box.left; column < box.right; column++) {
        const [px, py] = [column + 0.5 - x0, row + 0.5 - y0];
        const along = Math.min(1, Math.max(0, (px * dx + py * dy) / (dx * dx + dy * dy || 1)));
        const i = row * this.width + column;
        if (Math.hypot(px - along * dx, py - along * dy) <= radius && this.edits[i] !== value) {
          places.push(i);
          old.push(this.edits[i]);
          this.edits[i] = value;
        }
      }
    }
    Object.assign(stroke, { x, y });
    this.paint(box);
  }

  // Undoes the last stroke (`done` to `undone`), or does it again; false if there is none.
  move(from, to, edit) {
    const stroke = from.pop();
    if (!stroke) return false;
    stroke.places.forEach((i, k) => (this.edits[i] = edit(stroke, k)));
    to.push(stroke);
    this.paint();
    return true;
  }

  undo() {
    return this.move(this.done, this.undone, ({ old }, k) => old[k]);
  }

  redo() {
    return this.move(this.undone, this.done, ({ value }) => value);
  }

  // One bit a pixel, the first one highest, as numpy.packbits has them.
  packed() {
    const { edits, values, least } = this;
    const bits = new Uint8Array((values.length + 7) >> 3);
    for (let i = 0; i < values.length; i++) {
      if (edits[i] > 0 || (edits[i] === 0 && values[i] >= least)) bits[i >> 3] |= 128 >> (i & 7);
    }
    return bits;
  }
}
