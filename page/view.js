// The photograph on the screen: layers, zoom and pan, strokes, and what is pointed at.

export const RAMP = ["#4f7dff", "#00b4ff", "#00e0c8", "#4df06a", "#c8f03c", "#ffd23c",
  "#ff9640", "#ff5a5a"]; // of widths, from thin to wide
const NEAR = 12; // pixels of the screen, from a pointer to a centre line
const THICK = 2.5; // likewise, of lines

// A canvas in grey: of the photograph's green channel, or of a map's probabilities.
function greys({ width, height }, value) {
  const canvas = new OffscreenCanvas(width, height);
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = 0xff000000 | (value(i) * 0x10101);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function greenOf(photograph) {
  const { width, height } = photograph;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(photograph, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  return (i) => data[4 * i + 1];
}

export class View {
  layers = { base: "photograph", vessels: true, widths: false, lines: false };
  tool = "";
  radius = 2.5; // of the tool, pixels of the photograph
  pointers = new Map();

  // `pointed` is told the segment and the width there, `drawn` that a stroke ended.
  constructor(canvas, { pointed, drawn }) {
    Object.assign(this, { canvas, pointed, drawn, context: canvas.getContext("2d") });
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    for (const name of ["down", "move", "up", "leave"]) {
      canvas.addEventListener(`pointer${name}`, (event) => this[name](event));
    }
    canvas.addEventListener("pointercancel", (event) => this.up(event));
  }

  show(drawing, photograph) {
    Object.assign(this, { drawing, bases: { photograph } });
    this.fit();
  }

  // Measured centre lines, widths and branch points, as paths to draw.
  measured({ lines, widths, branch_points }) {
    const known = widths.flat().filter((width) => width !== null).sort((a, b) => a - b);
    const widest = known[Math.floor(0.99 * (known.length - 1))] ?? 1;
    const xy = ([row, column]) => [column + 0.5, row + 0.5];
    const paths = RAMP.map(() => new Path2D());
    const [none, centres] = [new Path2D(), new Path2D()];
    const segments = lines.map((points) => points.map(xy));
    segments.forEach((points, s) => {
      let last;
      points.forEach((point, k) => {
        centres[k ? "lineTo" : "moveTo"](...point);
        if (!k) return;
        const width = widths[s][k];
        const colour = Math.min(RAMP.length - 1, Math.floor(width / widest * RAMP.length));
        const path = width === null ? none : paths[colour];
        if (path !== last) path.moveTo(...points[k - 1]);
        path.lineTo(...point);
        last = path;
      });
    });
    Object.assign(this, { segments, widths, widest, paths, none, centres,
      forks: branch_points.map(xy), chosen: -1, hovered: -1 });
    this.redraw();
  }

  base() {
    const { layers: { base }, bases, drawing } = this;
    return (bases[base] ??= greys(drawing, base === "green" ? greenOf(bases.photograph)
      : (i) => drawing.values[i] >> 8));
  }

  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.drawing) this.draw();
    });
  }

  draw() {
    const { context, scale, layers, drawing: { canvas, preview, width, height } } = this;
    context.resetTransform();
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.setTransform(scale, 0, 0, scale, this.x, this.y);
    Object.assign(context, { imageSmoothingEnabled: scale < 4, lineCap: "round", lineJoin: "round" });
    context.drawImage(this.base(), 0, 0);
    if (layers.vessels) context.drawImage(preview || canvas, 0, 0, width, height);
    this.drawLines(layers);
    if (this.tool && this.pointer) {
      const ring = new Path2D();
      ring.arc(...this.pointer, this.radius, 0, 7);
      this.stroke(ring, "#000", 3);
      this.stroke(ring, this.tool === "brush" ? "#8cf" : "#f98", 1.5);
    }
  }

  drawLines({ widths, lines }) {
    if (widths || lines) this.stroke(this.centres, "#000b", 2 * THICK);
    if (lines) this.stroke(this.centres, "#fff", 0.6 * THICK);
    if (widths) {
      this.stroke(this.none, "#999", 0.5 * THICK);
      this.paths.forEach((path, k) => this.stroke(path, RAMP[k], THICK));
    }
    for (const [x, y] of lines ? this.forks : []) {
      const dot = new Path2D();
      dot.arc(x, y, 1.6 * THICK * devicePixelRatio / this.scale, 0, 7);
      this.context.fillStyle = "#ffb020";
      this.context.fill(dot);
      this.stroke(dot, "#000", 1);
    }
    const marked = this.segments[this.hovered] ?? this.segments[this.chosen];
    if (marked) {
      const path = new Path2D();
      marked.forEach((point) => path.lineTo(...point));
      this.stroke(path, "#000", 3 * THICK);
      this.stroke(path, "#fff", 1.6 * THICK);
    }
  }

  stroke(path, strokeStyle, width) {
    const lineWidth = width * devicePixelRatio / this.scale;
    Object.assign(this.context, { strokeStyle, lineWidth });
    this.context.stroke(path);
  }

  // ---- zoom and pan; x, y and scale are in pixels of the canvas

  resize() {
    const { width, height } = this.canvas.getBoundingClientRect();
    this.canvas.width = width * devicePixelRatio;
    this.canvas.height = height * devicePixelRatio;
    if (this.fitted) this.fit();
    else this.redraw();
  }

  fit() {
    if (!this.drawing || !this.canvas.width) return;
    const { width, height } = this.drawing;
    this.scale = Math.min(this.canvas.width / width, this.canvas.height / height);
    this.centre(width / 2, height / 2);
    this.fitted = true;
  }

  centre(x, y) {
    this.x = this.canvas.width / 2 - x * this.scale;
    this.y = this.canvas.height / 2 - y * this.scale;
    this.redraw();
  }

  zoom(factor, x = this.canvas.width / 2, y = this.canvas.height / 2) {
    const scale = Math.min(40, Math.max(0.02, this.scale * factor));
    this.pan((x - this.x) * (1 - scale / this.scale), (y - this.y) * (1 - scale / this.scale));
    this.scale = scale;
  }

  pan(dx, dy) {
    Object.assign(this, { x: this.x + dx, y: this.y + dy, fitted: false });
    this.redraw();
  }

  // Marks the segment that is `by` places after the one that is marked.
  step(by) {
    const count = this.segments.length;
    if (!count) return;
    this.chosen = (Math.max(this.chosen, by < 0 ? 0 : -1) + by + count) % count;
    const points = this.segments[this.chosen];
    if (!this.fitted) this.centre(...points[points.length >> 1]);
    this.pointed(this.chosen);
    this.redraw();
  }

  // ---- pointers

  place({ offsetX, offsetY }) {
    return [offsetX * devicePixelRatio, offsetY * devicePixelRatio];
  }

  wheel(event) {
    event.preventDefault();
    const step = event.deltaMode ? 16 * event.deltaY : event.deltaY;
    this.zoom(Math.exp(-step * (event.ctrlKey ? 0.01 : 0.002)), ...this.place(event));
  }

  down(event) {
    this.canvas.focus();
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.place(event));
    if (this.tool && event.button === 0 && this.pointers.size === 1) {
      this.drawing.begin(this.tool === "brush" ? 1 : -1);
      this.stroking = true;
      this.move(event);
    }
  }

  move(event) {
    const [now, before] = [this.place(event), this.pointers.get(event.pointerId)];
    this.pointer = [(now[0] - this.x) / this.scale, (now[1] - this.y) / this.scale];
    if (this.stroking) {
      this.drawing.extend(...this.pointer, this.radius);
    } else if (before && this.pointers.size === 2) { // a pinch
      const [, other] = [...this.pointers].find(([id]) => id !== event.pointerId);
      const apart = ([x, y]) => Math.hypot(x - other[0], y - other[1]) || 1;
      this.zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    } else if (before) {
      this.pan(now[0] - before[0], now[1] - before[1]);
    } else if (!this.tool) {
      this.point(...this.pointer);
    }
    if (before) this.pointers.set(event.pointerId, now);
    if (this.tool) this.redraw();
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    if (this.stroking) this.drawn();
    this.stroking = false;
  }

  leave() {
    this.pointer = null;
    this.hovered = -1;
    this.pointed(-1);
    this.redraw();
  }

  // Finds the centre line next to the pointer.
  point(x, y) {
    let [nearest, found, width] = [NEAR * devicePixelRatio / this.scale, -1, null];
    this.segments.forEach((points, s) => points.forEach(([px, py], k) => {
      const away = Math.hypot(px - x, py - y);
      if (away < nearest) [nearest, found, width] = [away, s, this.widths[s][k]];
    }));
    this.pointed(found, width);
    if (found !== this.hovered) this.redraw();
    this.hovered = found;
  }
}
