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
  constructor({ height, width, threshold }, values, bits) {
    Object.assign(this, { height, width, values, threshold, done: [], undone: [] });
    this.least = leastValue(threshold);
    this.edits = new Int8Array(values.length); // 1 added, -1 removed
    for (let i = 0; i < values.length; i++) {
      const drawn = (bits[i >> 3] >> (7 - (i & 7))) & 1;
      if (drawn !== +(values[i] >= this.least)) this.edits[i] = drawn ? 1 : -1;
    }
    this.canvas = new OffscreenCanvas(width, height);
    this.context = this.canvas.getContext("2d");
    this.paint();
  }

  // Cuts each pixel, or each one of `step` times `step` alone, as a preview.
  cutAt(threshold, step = 1) {
    this.threshold = threshold;
    this.least = leastValue(threshold);
    this.preview = step > 1 ? new OffscreenCanvas(Math.ceil(this.width / step),
      Math.ceil(this.height / step)) : null;
    if (this.preview) this.preview.getContext("2d").putImageData(this.image(step), 0, 0);
    else this.paint();
  }

  // Draws what lies in a box; the page's view shows the canvas.
  paint(left = 0, top = 0, right = this.width, bottom = this.height) {
    if (right <= left || bottom <= top) return;
    this.context.putImageData(this.image(1, left, top, right, bottom), left, top);
  }

  image(step, left = 0, top = 0, right = this.width, bottom = this.height) {
    const image = new ImageData(Math.ceil((right - left) / step), Math.ceil((bottom - top) / step));
    const pixels = new Uint32Array(image.data.buffer);
    const { edits, values, least, width } = this;
    for (let row = top, at = 0; row < bottom; row += step) {
      for (let i = row * width + left, end = i + right - left; i < end; i += step, at++) {
        const cut = values[i] >= least;
        if (edits[i] > 0) pixels[at] = cut ? COLOURS.vessel : COLOURS.added;
        else if (cut) pixels[at] = edits[i] < 0 ? COLOURS.removed : COLOURS.vessel;
      }
    }
    return image;
  }

  begin(value) {
    this.stroke = { value, places: [], old: [] };
    this.done.push(this.stroke);
    this.undone = [];
  }

  // A dot of the stroke, or a line from the last dot to this one.
  extend(x, y, radius) {
    const { x: x0 = x, y: y0 = y, value, places, old } = this.stroke;
    const left = Math.max(0, Math.floor(Math.min(x, x0) - radius));
    const right = Math.min(this.width, Math.ceil(Math.max(x, x0) + radius) + 1);
    const top = Math.max(0, Math.floor(Math.min(y, y0) - radius));
    const bottom = Math.min(this.height, Math.ceil(Math.max(y, y0) + radius) + 1);
    const [dx, dy] = [x - x0, y - y0];
    const length = dx * dx + dy * dy || 1;
    for (let row = top; row < bottom; row++) {
      for (let column = left; column < right; column++) {
        const [px, py] = [column + 0.5 - x0, row + 0.5 - y0];
        const along = Math.min(1, Math.max(0, (px * dx + py * dy) / length));
        const i = row * this.width + column;
        if (Math.hypot(px - along * dx, py - along * dy) <= radius && this.edits[i] !== value) {
          places.push(i);
          old.push(this.edits[i]);
          this.edits[i] = value;
        }
      }
    }
    Object.assign(this.stroke, { x, y });
    this.paint(left, top, right, bottom);
  }

  undo() {
    const stroke = this.done.pop();
    if (!stroke) return false;
    stroke.places.forEach((i, k) => (this.edits[i] = stroke.old[k]));
    this.undone.push(stroke);
    this.paint();
    return true;
  }

  redo() {
    const stroke = this.undone.pop();
    if (!stroke) return false;
    stroke.places.forEach((i) => (this.edits[i] = stroke.value));
    this.done.push(stroke);
    this.paint();
    return true;
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
