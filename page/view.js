// The photograph on the screen: layers, zoom and pan, strokes, and what is pointed at.

export const RAMP = ["#4f7dff", "#00b4ff", "#00e0c8", "#4df06a", "#c8f03c", "#ffd23c",
  "#ff9640", "#ff5a5a"]; // of widths, from thin to wide
const CELL = 16; // pixels, of the grid in which centre lines are looked up
const NEAR = 12; // pixels of the screen, from a pointer to a centre line

// A canvas of another picture: its green channel in grey, or a map's probabilities.
function greys(width, height, value) {
  const canvas = new OffscreenCanvas(width, height);
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = 0xff000000 | (value(i) * 0x10101);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

export class View {
  layers = { base: "photograph", vessels: true, widths: false, lines: false };
  tool = "";
  radius = 2.5;
  pointers = new Map();

  constructor(canvas, { pointed, drawn }) {
    Object.assign(this, { canvas, pointed, drawn, context: canvas.getContext("2d") });
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    for (const name of ["down", "move", "up", "cancel", "leave"]) {
      canvas.addEventListener(`pointer${name}`, (event) => this[name](event));
    }
  }

  show(drawing, photograph) {
    Object.assign(this, { drawing, photograph, bases: { photograph }, segments: null });
    this.chosen = this.hovered = -1;
    this.fit();
  }

  // Measured centre lines, widths and branch points, as paths to draw.
  measured({ lines, widths, branch_points }) {
    const known = widths.flat().filter((width) => width !== null).sort((a, b) => a - b);
    this.widest = known[Math.floor(0.99 * (known.length - 1))] ?? 1;
    this.segments = lines.map((points) => points.map(([row, column]) => [column + 0.5, row + 0.5]));
    this.paths = RAMP.map(() => new Path2D());
    [this.none, this.centres, this.forks] = [new Path2D(), new Path2D(), new Path2D()];
    this.grid = new Map();
    this.segments.forEach((points, s) => points.forEach(([x, y], k) => {
      const cell = `${Math.floor(x / CELL)} ${Math.floor(y / CELL)}`;
      if (!this.grid.has(cell)) this.grid.set(cell, []);
      this.grid.get(cell).push([x, y, s, widths[s][k]]);
      if (!k) return;
      const width = widths[s][k];
      const colour = Math.min(RAMP.length - 1, Math.floor(width / this.widest * RAMP.length));
      for (const path of [this.centres, width === null ? this.none : this.paths[colour]]) {
        path.moveTo(...points[k - 1]);
        path.lineTo(x, y);
      }
    }));
    this.places = branch_points.map(([row, column]) => [column + 0.5, row + 0.5]);
    this.redraw();
  }

  base() {
    const { base } = this.layers;
    const { width, height, values } = this.drawing;
    if (!this.bases[base] && base === "green") {
      const canvas = new OffscreenCanvas(width, height);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(this.photograph, 0, 0);
      const { data } = context.getImageData(0, 0, width, height);
      this.bases.green = greys(width, height, (i) => data[4 * i + 1]);
    } else if (!this.bases[base]) {
      this.bases.probability = greys(width, height, (i) => values[i] >> 8);
    }
    return this.bases[base];
  }

  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.drawing) this.draw();
    });
  }

  draw() {
    const { context, scale, layers } = this;
    context.resetTransform();
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.setTransform(scale, 0, 0, scale, this.x, this.y);
    context.imageSmoothingEnabled = scale < 4;
    context.drawImage(this.base(), 0, 0);
    const { canvas, preview, width, height } = this.drawing;
    if (layers.vessels) context.drawImage(preview ?? canvas, 0, 0, width, height);
    Object.assign(context, { lineCap: "round", lineJoin: "round" });
    const stroke = (path, colour, width) => {
      Object.assign(context, { strokeStyle: colour, lineWidth: width / scale });
      context.stroke(path);
    };
    const thick = 2.5 * devicePixelRatio;
    if (this.segments && (layers.widths || layers.lines)) stroke(this.centres, "#000b", 2 * thick);
    if (this.segments && layers.lines) stroke(this.centres, "#fff", 0.6 * thick);
    if (this.segments && layers.widths) {
      stroke(this.none, "#999", 0.5 * thick);
      this.paths.forEach((path, k) => stroke(path, RAMP[k], thick));
    }
    if (this.segments && layers.lines) {
      for (const [x, y] of this.places) {
        context.beginPath();
        context.arc(x, y, 1.6 * thick / scale, 0, 7);
        Object.assign(context, { fillStyle: "#ffb020", strokeStyle: "#000", lineWidth: 1 / scale });
        context.fill();
        context.stroke();
      }
    }
    const marked = this.hovered >= 0 ? this.hovered : this.chosen;
    if (this.segments?.[marked]) {
      const path = new Path2D();
      this.segments[marked].forEach((point) => path.lineTo(...point));
      stroke(path, "#000", 3 * thick);
      stroke(path, "#fff", 1.6 * thick);
    }
    if (this.tool && this.pointer) {
      const ring = new Path2D();
      ring.arc(...this.pointer, this.radius, 0, 7);
      stroke(ring, "#000", 3 * devicePixelRatio);
      stroke(ring, this.tool === "brush" ? "#8cf" : "#f98", 1.5 * devicePixelRatio);
    }
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
    this.x = (this.canvas.width - this.scale * width) / 2;
    this.y = (this.canvas.height - this.scale * height) / 2;
    this.fitted = true;
    this.redraw();
  }

  zoom(factor, x = this.canvas.width / 2, y = this.canvas.height / 2) {
    const scale = Math.min(40, Math.max(0.02, this.scale * factor));
    this.x = x - (x - this.x) * scale / this.scale;
    this.y = y - (y - this.y) * scale / this.scale;
    Object.assign(this, { scale, fitted: false });
    this.redraw();
  }

  pan(dx, dy) {
    Object.assign(this, { x: this.x + dx, y: this.y + dy, fitted: false });
    this.redraw();
  }

  // Shows a segment and marks it.
  choose(index) {
    const [x, y] = this.segments[index][this.segments[index].length >> 1];
    this.chosen = index;
    if (!this.fitted) {
      this.x = this.canvas.width / 2 - x * this.scale;
      this.y = this.canvas.height / 2 - y * this.scale;
    }
    this.redraw();
  }

  // ---- pointers

  place({ offsetX, offsetY }) {
    return [offsetX * devicePixelRatio, offsetY * devicePixelRatio];
  }

  onPhotograph([x, y]) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
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
    this.pointer = this.onPhotograph(now);
    if (this.stroking) {
      this.drawing.extend(...this.pointer, this.radius);
    } else if (before && this.pointers.size === 2) {
      const [other] = [...this.pointers].find(([id]) => id !== event.pointerId).slice(1);
      const apart = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]) || 1;
      this.zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    } else if (before) {
      this.pan(now[0] - before[0], now[1] - before[1]);
    } else {
      this.point();
    }
    if (before) this.pointers.set(event.pointerId, now);
    this.redraw();
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    if (this.stroking) this.drawn();
    this.stroking = false;
  }

  cancel(event) {
    this.up(event);
  }

  leave() {
    this.pointer = null;
    this.hovered = -1;
    this.pointed(-1);
    this.redraw();
  }

  // Finds the centre line next to the pointer.
  point() {
    if (!this.segments || this.tool) return;
    const [x, y] = this.pointer;
    let [nearest, segment, width] = [NEAR * devicePixelRatio / this.scale, -1, null];
    const reach = Math.min(4, Math.ceil(nearest / CELL));
    for (let row = -reach; row <= reach; row++) {
      for (let column = -reach; column <= reach; column++) {
        const cell = `${Math.floor(x / CELL) + column} ${Math.floor(y / CELL) + row}`;
        for (const [px, py, s, w] of this.grid.get(cell) ?? []) {
          const away = Math.hypot(px - x, py - y);
          if (away < nearest) [nearest, segment, width] = [away, s, w];
        }
      }
    }
    this.hovered = segment;
    this.pointed(segment, width);
  }
}
