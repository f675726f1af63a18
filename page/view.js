// The photograph on the screen: zoom and pan, lines, strokes, and what is pointed at.
// style.css says which of its layers are seen.

import { $, rounded, spaced, splitUnit } from "./server.js";

const NEAR = 12; // pixels of the screen, from a pointer to a centre line
const RAMP = ["#4f7dff", "#00b4ff", "#00e0c8", "#4df06a", "#c8f03c", "#ffd23c", "#ff9640",
  "#ff5a5a"]; // of widths, from thin to wide
const UNKNOWN = "#999";
const frame = $("view");
const pointers = new Map(); // that are down
const tool = () => +document.querySelector("[name=tool]:checked").value; // as `stroke`
let [x, y, scale, fitted] = [0, 0, 1, true]; // of the photograph's corner, on the screen
let [drawing, measures, marked] = [null, null, -1];
let stroke = 0; // that is being drawn: 1 adds, -1 removes

export function show(shown) {
  drawing = shown;
  fit();
}

// ---- lines

const lineOf = (points) => `M${points.join(" ")}`;

// Puts paths into a part of the drawing: of each its shape and, if it has one, its colour.
function fill(part, shapes) {
  $(part).replaceChildren(...shapes.map(([d, colour]) => {
    const path = document.createElementNS($(part).namespaceURI, "path");
    path.setAttribute("d", d);
    if (colour) path.setAttribute("stroke", colour);
    return path;
  }));
}

// A line in pieces of one colour, where each point has that of the way to it.
function piecesOf(points, colours) {
  const pieces = [];
  for (let k = 1; k < points.length; k++) {
    if (k === 1 || colours[k] !== colours[k - 1]) pieces.push([`M${points[k - 1]}`, colours[k]]);
    pieces.at(-1)[0] += ` ${points[k]}`;
  }
  return pieces;
}

// Takes centre lines, widths and branch points to draw. Returns a width that few exceed.
export function measured(found) {
  const xy = ([row, column]) => [column + 0.5, row + 0.5];
  measures = { ...found, lines: found.lines.map((points) => points.map(xy)) };
  const { lines, widths, branch_points } = measures;
  const known = widths.flat().filter(Boolean).sort((a, b) => a - b);
  const widest = known[Math.floor(0.99 * (known.length - 1))] ?? 1;
  const colourOf = (width) => width === null ? UNKNOWN
    : RAMP[Math.min(RAMP.length - 1, Math.floor(width / widest * RAMP.length))];
  fill("centres", lines.map((points) => [lineOf(points)]));
  fill("colours", lines.flatMap((points, s) => piecesOf(points, widths[s].map(colourOf))));
  fill("forks", branch_points.map((at) => [`M${xy(at)}h.01`])); // dots
  mark(-1);
  return widest;
}

// Marks a segment, and tells of it and of the width where it is pointed at.
function mark(index, width = null) {
  const segment = measures.segments[index];
  if (index !== marked) $("marked").setAttribute("d", segment ? lineOf(measures.lines[index]) : "");
  marked = index;
  const parts = width === null ? [] : [`width here ${width} px`];
  for (const [column, value] of Object.entries(segment ?? {})) {
    const [name, unit] = splitUnit(column);
    if (!["mean_width", "length", "arc_over_chord"].includes(name)) continue;
    parts.push(`${spaced(name)} ${rounded(value)} ${unit}`.trim());
  }
  $("readout").textContent = segment ? `Segment ${segment.segment}: ${parts.join(", ")}` : "";
}

// Marks the segment that is `by` places after the one that is marked.
export function step(by) {
  const count = measures.lines.length;
  if (!count) return;
  mark((Math.max(marked, by < 0 ? 0 : -1) + by + count) % count);
  const points = measures.lines[marked];
  const [px, py] = points[points.length >> 1];
  if (!fitted) put(frame.clientWidth / 2 - px * scale, frame.clientHeight / 2 - py * scale, scale);
}

// Marks the segment whose centre line is next to the pointer.
function point([px, py]) {
  let [nearest, found, width] = [NEAR / scale, -1, null];
  measures.lines.forEach((points, s) => points.forEach((at, k) => {
    const away = Math.hypot(at[0] - px, at[1] - py);
    if (away < nearest) [nearest, found, width] = [away, s, measures.widths[s][k]];
  }));
  mark(found, width);
}

// ---- zoom and pan

function put(...place) {
  [x, y, scale] = place;
  fitted = false;
  const { style, classList } = $("layers");
  style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
  $("zoomed").setAttribute("transform", `translate(${x} ${y}) scale(${scale})`);
  classList.toggle("large", scale >= 4);
}

export function fit() {
  const [{ clientWidth, clientHeight }, { width, height }] = [frame, drawing];
  const most = Math.min(clientWidth / width, clientHeight / height);
  put((clientWidth - width * most) / 2, (clientHeight - height * most) / 2, most);
  fitted = true;
}

export const pan = (dx, dy) => put(x + dx, y + dy, scale);

export function zoom(factor, [px, py] = [frame.clientWidth / 2, frame.clientHeight / 2]) {
  const most = Math.min(40, Math.max(0.02, scale * factor));
  put(px - (px - x) * most / scale, py - (py - y) * most / scale, most);
}

export const whole = () => zoom(1 / devicePixelRatio / scale);

new ResizeObserver(() => drawing && fitted && fit()).observe(frame);

// ---- pointers

const placeOf = ({ offsetX, offsetY }) => [offsetX, offsetY];
const onPhotograph = ([px, py]) => [(px - x) / scale, (py - y) / scale];

frame.onwheel = (event) => {
  event.preventDefault();
  const turned = event.deltaMode ? 16 * event.deltaY : event.deltaY;
  zoom(Math.exp(-turned * (event.ctrlKey ? 0.01 : 0.002)), placeOf(event));
};

frame.onpointerdown = (event) => {
  frame.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, placeOf(event));
  stroke = event.button === 0 && pointers.size === 1 ? tool() : 0;
  if (stroke) drawing.begin();
  frame.onpointermove(event);
};

frame.onpointermove = (event) => {
  const [now, before] = [placeOf(event), pointers.get(event.pointerId)];
  const [left, top] = now;
  const width = $("size").value * scale;
  Object.assign($("ring").style, { left: `${left}px`, top: `${top}px`, width: `${width}px` });
  if (before) pointers.set(event.pointerId, now);
  if (before && stroke) {
    drawing.extend(onPhotograph(before), onPhotograph(now), $("size").value / 2, stroke);
  } else if (before && pointers.size === 2) { // a pinch
    const [, other] = [...pointers].find(([id]) => id !== event.pointerId);
    const apart = ([px, py]) => Math.hypot(px - other[0], py - other[1]) || 1;
    zoom(apart(now) / apart(before), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
  } else if (before) {
    pan(now[0] - before[0], now[1] - before[1]);
  } else if (!tool()) {
    point(onPhotograph(now));
  }
};

frame.onpointerup = frame.onpointercancel = ({ pointerId }) => {
  pointers.delete(pointerId);
  stroke = 0;
};

frame.onpointerleave = () => mark(-1);

$("ramp").style.background = `linear-gradient(90deg, ${RAMP})`;
