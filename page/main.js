// The page: the list of photographs, and the one that is open.

import { Drawing } from "./drawing.js";
import { $, ask, askJson, isMain, make, measuresTable, rounded, spaced, splitUnit } from "./server.js";
import { takeFiles } from "./upload.js";
import { RAMP, View } from "./view.js";

const view = new View($("view"), { pointed, drawn: changed });
const about = await askJson("/about");
let photographs = [];
let open = null; // { key, waiting, and once it was loaded: measures, drawing, seen, changed }
let sent = ""; // on what is being sent, in words

// ---- the list

function complain(error) {
  $("messages").append(make("p", {}, error.message ?? error));
  $("dismiss").hidden = false;
}

function say(text, bad = false) {
  $("status").classList.toggle("bad", bad);
  if ($("status").textContent !== text) $("status").textContent = text; // it is read out
}

function entryOf(item) {
  const picture = item.ready
    ? make("img", { alt: "", loading: "lazy", src: `/photographs/${item.key}/thumbnail` })
    : make("span", { className: "blank" });
  const told = make("small", { className: item.error && "bad" }, item.error || item.step || item.note);
  const entry = make("li", {}, make("button", { onclick: () => show(item.key) },
    picture, make("span", {}, item.name, told)));
  const again = () => ask(`/photographs/${item.key}/again`, { method: "POST" }).catch(complain);
  if (item.error) {
    entry.append(make("div", { className: "bar" },
      make("button", { onclick: again }, "Try again"),
      make("button", { onclick: () => remove(item) }, "Remove")));
  }
  return entry;
}

function list() {
  const old = new Map([...$("list").children].map((entry) => [entry.dataset.key, entry]));
  for (const item of photographs) {
    const [entry, now] = [old.get(item.key), JSON.stringify(item)];
    old.delete(item.key);
    if (entry?.dataset.now === now) continue;
    const fresh = entryOf(item);
    Object.assign(fresh.dataset, { key: item.key, now });
    const focused = entry?.contains(document.activeElement);
    if (entry) entry.replaceWith(fresh);
    else $("list").append(fresh);
    if (focused) fresh.firstChild.focus();
    if (open?.key === item.key) goOn(item);
  }
  old.forEach((entry) => entry.remove());
  for (const { dataset, firstChild } of $("list").children) {
    firstChild.setAttribute("aria-current", open?.key === dataset.key);
  }
  $("all").hidden = !photographs.some(({ ready }) => ready);
}

async function refresh() {
  try {
    photographs = await askJson("/photographs");
    const busy = photographs.filter(({ step }) => step).length;
    const ready = photographs.length ? `${photographs.length} ready.` : "";
    say(sent + (busy ? `${busy} of ${photographs.length} to go.` : ready));
    list();
  } catch (error) {
    say(error.message, true);
  }
}

async function poll() {
  await refresh();
  setTimeout(poll, photographs.some(({ step }) => step) ? 700 : 3000);
}

async function remove({ key, name }) {
  if (!confirm(`Remove ${name}, its map, corrections and measures from this machine?`)) return;
  await ask(`/photographs/${key}`, { method: "DELETE" }).then(() => {
    if (open?.key === key) present((open = null) ?? "");
  }, complain);
  refresh();
}

// ---- one photograph

function show(key) {
  if (open?.changed && !confirm("Leave without measuring again? The strokes are lost.")) return;
  open = { key, waiting: true };
  list();
  goOn(photographs.find((each) => each.key === key));
}

// Which parts of the page are there: of a photograph, or words on why there is none.
function present(words) {
  for (const part of document.querySelectorAll("#view, #zoom, aside")) {
    part.hidden = words !== undefined;
  }
  $("empty").hidden = words !== "";
  $("waiting").hidden = !words;
  $("waiting").textContent = words;
}

// The photograph that is open is shown, or waited for, or was measured again.
function goOn({ key, name, ready, step, error }) {
  const waited = open.waiting;
  open.waiting = step !== "";
  $("again").disabled = open.waiting;
  if (!open.drawing && ready) load(key);
  else if (!open.drawing) present(error || `${name}: ${step}`);
  else if (waited && !step) askJson(`/photographs/${key}/measures`).then(measured, complain);
}

// Until a photograph is there, the page shows the last one, which cannot be touched.
async function load(key) {
  const of = (kind) => ask(`/photographs/${key}/${kind}`);
  const touchable = (is) => document.querySelectorAll("main, aside").forEach(
    (part) => (part.inert = !is));
  touchable(false);
  try {
    const [measures, values, bits, picture] = await Promise.all([
      askJson(`/photographs/${key}/measures`), of("probability"), of("drawing"), of("view")]);
    const drawing = new Drawing(measures.row, measures.threshold,
      new Uint16Array(await values.arrayBuffer()), new Uint8Array(await bits.arrayBuffer()));
    const photograph = await createImageBitmap(await picture.blob());
    if (open?.key !== key) return; // another one was opened meanwhile
    Object.assign(open, { drawing, seen: bits.headers.get("ETag") });
    present();
    named(key, measures.row);
    $("scale").value = measures.rows[0].micrometres_per_pixel;
    measured(measures);
    view.resize();
    view.show(drawing, photograph);
  } catch (error) {
    if (open?.key === key) present(error.message);
  }
  if (open?.key === key) touchable(true);
}

function named(key, { name, note, width, height }) {
  document.title = `${name} - Retinal vessels`;
  $("size").max = Math.max(40, Math.round(width / 25));
  $("name").textContent = name;
  $("note").textContent = note;
  $("view").setAttribute("aria-label", `Photograph ${name}, ${width} x ${height} pixels`);
  showCut();
  const file = (text, kind, end) => make("a", { className: "button", textContent: text,
    href: `/photographs/${key}/${kind}`, download: name + end });
  $("downloads").replaceChildren(
    file("Map", "map", ".png"), file("Vessels", "vessels", ".vessels.png"),
    file("Overlay", "overlay", ".overlay.jpg"),
    ...["measurements.csv", "segments.csv"].map((table) => file(table, table, `.${table}`)),
    file("All (zip)", "zip", ".zip"),
    make("a", { className: "button", href: `/report.html#${key}`, target: "_blank" }, "Report to print"));
}

function showCut() {
  $("threshold").value = open.drawing.threshold;
  $("cut").textContent = open.drawing.threshold.toFixed(3);
}

// Something was measured, for the first time or again; the drawing stays.
function measured(measures) {
  const { rows: [{ micrometres_per_pixel: scale }, after] } = measures;
  const tell = (text) => ($("definition").textContent = text);
  const table = (wanted) => measuresTable(measures.rows, about.definitions, wanted, tell);
  open.measures = measures;
  $("measures").replaceChildren(table(isMain));
  $("others").replaceChildren(table((name) => !isMain(name)));
  tell(after ? `After: ${after.pixels_added} pixels added, ${after.pixels_removed} removed.` : "");
  view.measured(measures);
  const widest = `${(view.widest * (scale || 1)).toFixed(1)} ${scale ? "µm" : "px"}`;
  $("legend").replaceChildren("0 ", ...RAMP.map((colour) => {
    const box = make("i");
    box.style.background = colour;
    return box;
  }), ` ${widest} or more`);
}

async function measure() {
  const { key, seen, drawing } = open;
  const words = new URLSearchParams({ threshold: drawing.threshold, scale: $("scale").value, seen });
  const sentNow = { method: "PUT", body: drawing.packed() };
  try {
    const now = await askJson(`/photographs/${key}/drawing?${words}`, sentNow);
    Object.assign(open, now, { waiting: true, changed: false });
    await refresh();
    goOn(photographs.find((item) => item.key === key)); // it may be measured already
  } catch (error) {
    complain(error);
  }
}

function pointed(index, width = null) {
  const segment = open?.measures.segments[index];
  if (!segment) return ($("readout").textContent = "");
  const parts = ["mean_width", "length", "arc_over_chord"].map((name) => {
    const column = Object.keys(segment).find((each) => splitUnit(each)[0] === name);
    return `${spaced(name)} ${rounded(segment[column])} ${splitUnit(column)[1]}`.trim();
  });
  if (width !== null) parts.unshift(`width here ${width} px`);
  return ($("readout").textContent = `Segment ${segment.segment}: ${parts.join(", ")}`);
}

// ---- controls

function changed() {
  open.changed = true;
  view.redraw();
}

function layer() {
  view.layers.base = document.querySelector("[name=base]:checked").value;
  for (const id of ["vessels", "widths", "lines"]) view.layers[id] = $(id).checked;
  $("legend").hidden = !$("widths").checked;
  view.redraw();
}

function choose(tool) {
  view.tool = tool;
  $("view").classList.toggle("drawing", tool !== "");
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", button.dataset.tool === tool);
  }
  if (tool && !$("vessels").checked) $("vessels").click();
}

function size(value) {
  $("size").value = value;
  view.radius = $("size").value / 2;
  $("sized").textContent = `${$("size").value} px`;
  view.redraw();
}

// While the slider moves, no more pixels are cut than the screen shows.
function cut(threshold, moving = false) {
  open.drawing.cutAt(threshold, moving ? Math.max(1, Math.floor(1 / view.scale)) : 1);
  showCut();
  view.redraw();
}

function next(by) {
  const place = photographs.findIndex(({ key }) => key === open?.key);
  const item = photographs[Math.min(photographs.length - 1, Math.max(0, place + by))];
  if (item && item.key !== open?.key) show(item.key);
}

const actions = {
  in: () => view.zoom(1.4), out: () => view.zoom(1 / 1.4), fit: () => view.fit(),
  whole: () => view.zoom(devicePixelRatio / view.scale),
  undo: () => open.drawing.undo() && changed(), redo: () => open.drawing.redo() && changed(),
  reset: () => cut(open.measures.row.threshold), measure,
  remove: () => remove({ key: open.key, name: $("name").textContent }),
};
const keys = {
  j: () => next(1), k: () => next(-1), "+": actions.in, "=": actions.in, "-": actions.out,
  0: actions.fit, 9: actions.whole, v: () => choose(""), b: () => choose("brush"),
  e: () => choose("eraser"), "[": () => size($("size").value - 1),
  "]": () => size(+$("size").value + 1), ".": () => view.step(1), ",": () => view.step(-1),
  m: () => $("again").click(),
};
document.querySelectorAll("[name=base], #vessels, #widths, #lines").forEach((input, place) => {
  input.onchange = layer;
  keys[place + 1] = () => input.click();
});
const arrows = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };

addEventListener("click", ({ target: { dataset: { do: action, tool } } }) => {
  if (action && open?.drawing) actions[action]();
  if (tool !== undefined) choose(tool);
});
addEventListener("keydown", (event) => {
  const { target, key, shiftKey, altKey, ctrlKey, metaKey } = event;
  let act = keys[key];
  if (ctrlKey || metaKey) act = key.toLowerCase() === "z" && actions[shiftKey ? "redo" : "undo"];
  else if (target === $("view") && arrows[key]) act = () => view.pan(...arrows[key]);
  const can = open?.drawing || "jk".includes(key);
  if (!act || !can || altKey || target.type === "number") return;
  event.preventDefault();
  act();
});
addEventListener("beforeunload", (event) => {
  if (open?.changed || sent) event.preventDefault();
});
$("threshold").oninput = () => cut(+$("threshold").value, true);
$("threshold").onchange = () => cut(+$("threshold").value);
$("size").oninput = () => size($("size").value);
$("dismiss").onclick = () => {
  $("messages").replaceChildren();
  $("dismiss").hidden = true;
};

takeFiles(about, {
  complain,
  sending: (done, total) => (sent = total ? `Sending ${done + 1} of ${total}. ` : ""),
  arrived: async ({ key }) => {
    await refresh();
    if (!open) show(key);
  },
});
$("network").textContent = about.network;
await poll();
if (photographs.length && !open) show(photographs[0].key);
