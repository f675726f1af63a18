// The page: the list of photographs, and the one that is open.

import { Drawing } from "./drawing.js";
import { $, about, ask, askJson, complain, make, measuresTable } from "./server.js";
import "./upload.js";
import * as view from "./view.js";

let photographs = [];
let open = null; // { key, measured, and once it was loaded: name, measures, drawing, seen }

// ---- the list

function addEntry({ key, name }) {
  const entry = $("entry").content.firstElementChild.cloneNode(true);
  const [toShow, toTry, toRemove] = entry.querySelectorAll("button");
  entry.id = key;
  entry.querySelector("b").textContent = name;
  toShow.onclick = () => show(key);
  toTry.onclick = () => ask(`/photographs/${key}/again`, { method: "POST" }).catch(complain);
  toRemove.onclick = () => remove(key, name);
  $("list").append(entry);
  return entry;
}

function drawList() {
  for (const item of photographs) {
    const { key, measured, step, error, note } = item;
    const entry = $(key) ?? addEntry(item);
    const [picture, told] = entry.querySelectorAll("img, small");
    if (measured && !picture.src) picture.src = `/photographs/${key}/thumbnail`;
    told.textContent = error || step || note;
    entry.classList.toggle("failed", error !== "");
    entry.firstElementChild.ariaCurrent = open?.key === key;
    if (open?.key === key) follow(item);
  }
  const keys = photographs.map(({ key }) => key);
  for (const entry of [...$("list").children]) if (!keys.includes(entry.id)) entry.remove();
  if (keys.includes(open?.key)) return;
  open = null; // it was removed, or nothing was there yet
  if (keys.length) show(keys[0]);
  else say("Drop photographs or a folder here.");
}

async function refresh() {
  let said = "";
  try {
    photographs = await askJson("/photographs");
    const [all, busy, failed] = [() => true, ({ step }) => step, ({ error }) => error].map(
      (counts) => photographs.filter(counts).length);
    if (all) said = `${all - failed} ready${failed ? `, ${failed} failed` : ""}.`;
    if (busy) said = `${busy} of ${all} to go.`;
    drawList();
  } catch ({ message }) {
    said = message;
  }
  if ($("status").textContent !== said) $("status").textContent = said; // it is read out
}

async function remove(key, name) {
  if (!confirm(`Remove ${name}, its map, corrections and measures from this machine?`)) return;
  await ask(`/photographs/${key}`, { method: "DELETE" }).catch(complain);
  refresh();
}

// ---- one photograph

function show(key) {
  const lost = "Leave without measuring again? The strokes are lost.";
  if (open?.drawing?.changed && !confirm(lost)) return;
  open = { key };
  drawList();
}

// Shows words in the place of the photograph; without words, the photograph.
function say(words = "") {
  $("words").textContent = words;
  document.body.classList.toggle("open", !words);
}

// The photograph that is open is waited for, or loaded, or was measured again.
function follow({ key, name, measured, step, error }) {
  $("again").disabled = step !== "";
  if (!measured) say(error || `${name}: ${step}`);
  else if (open.measured !== measured) {
    open.measured = measured;
    if (open.drawing) readMeasures(open);
    else load(open, `/photographs/${key}`);
  }
}

async function readMeasures(photograph) {
  const measures = await askJson(`/photographs/${photograph.key}/measures`).catch(complain);
  if (measures && open === photograph) showMeasures(measures); // else another one is open now
}

// Until a photograph is there, the page shows the last one, which cannot be touched.
async function load(opening, path) {
  const parts = document.querySelectorAll("main, aside");
  parts.forEach((part) => (part.inert = true));
  const photograph = make("img", { id: "photograph", alt: "", src: `${path}/view` });
  const map = make("img", { id: "map", alt: "", loading: "lazy", src: `${path}/map` });
  const bytes = async (answer) => (await answer).arrayBuffer();
  try {
    const vessels = await ask(`${path}/drawing`);
    const [measures, values, bits] = await Promise.all([askJson(`${path}/measures`),
      bytes(ask(`${path}/probability`)), bytes(vessels), photograph.decode()]);
    if (open !== opening) return; // another one is open now
    const { row, threshold } = measures;
    const drawing = new Drawing(row, threshold, new Uint16Array(values), new Uint8Array(bits));
    Object.assign(open, { name: row.name, drawing, seen: vessels.headers.get("ETag") });
    $("photograph").replaceWith(photograph);
    $("map").replaceWith(map);
    say();
    showNames(path, row);
    showMeasures(measures);
    view.show(drawing);
  } catch (error) {
    if (open === opening) say(error.message);
  }
  if (open === opening) parts.forEach((part) => (part.inert = false));
}

function showNames(path, { name, note, width, height }) {
  document.title = `${name} - Retinal vessels`;
  $("name").textContent = name;
  $("note").textContent = note;
  $("view").ariaLabel = `Photograph ${name}, ${width} x ${height} pixels`;
  $("size").max = Math.max(40, Math.round(width / 25));
  $("report").href = `/report.html#${open.key}`;
  for (const link of document.querySelectorAll("[data-file]")) {
    const { file, end } = link.dataset;
    Object.assign(link, { href: `${path}/${file}`, download: name + end });
  }
}

// Something was measured, for the first time or again; the drawing stays.
function showMeasures(measures) {
  const [{ micrometres_per_pixel: scale }, after] = measures.rows;
  const widest = view.measured(measures);
  if (!open.measures) $("scale").value = scale;
  open.measures = measures;
  $("measures").replaceChildren(measuresTable(measures.rows));
  $("changes").textContent = after
    ? `After: ${after.pixels_added} pixels added, ${after.pixels_removed} removed.` : "";
  $("widest").textContent = `${(widest * (scale || 1)).toFixed(1)} ${scale ? "µm" : "px"}`;
  setThreshold(open.drawing.threshold);
}

function setThreshold(threshold) {
  if (open.drawing.threshold !== threshold) open.drawing.cutAt(threshold);
  $("threshold").value = threshold;
  $("cut").textContent = threshold.toFixed(3);
}

async function measure() {
  const photograph = open; // later another one may be
  const { key, seen, drawing } = photograph;
  const { threshold } = drawing;
  const words = new URLSearchParams({ threshold, scale: $("scale").value, seen });
  const options = { method: "PUT", body: drawing.vessels() };
  $("again").disabled = true;
  drawing.changed = false;
  try {
    photograph.seen = (await askJson(`/photographs/${key}/drawing?${words}`, options)).seen;
  } catch (error) {
    drawing.changed = true;
    complain(error);
  }
  refresh();
}

// ---- controls

function openNext(by) {
  const entries = [...$("list").children];
  const place = entries.findIndex(({ id }) => id === open?.key);
  entries[place + by]?.firstElementChild.click();
}

function changeSize(by) {
  $("size").value = +$("size").value + by;
  $("size").dispatchEvent(new Event("input", { bubbles: true }));
}

const actions = {
  previous: () => view.step(-1), next: () => view.step(1), fit: view.fit, whole: view.whole,
  in: () => view.zoom(1.4), out: () => view.zoom(1 / 1.4),
  undo: () => open.drawing.undo(), redo: () => open.drawing.redo(), measure,
  reset: () => setThreshold(open.measures.row.threshold), remove: () => remove(open.key, open.name),
};
const keys = { j: () => openNext(1), k: () => openNext(-1),
  "[": () => changeSize(-1), "]": () => changeSize(1) };
const arrows = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };

addEventListener("click", ({ target }) => {
  if (open?.drawing) actions[target.dataset.do]?.();
});
addEventListener("keydown", (event) => {
  const { target, key, shiftKey, altKey, ctrlKey, metaKey } = event;
  if (altKey || target.type === "number") return;
  const held = ctrlKey || metaKey ? `ctrl+${shiftKey ? "shift+" : ""}` : "";
  const name = held ? held + key.toLowerCase() : key;
  const control = document.querySelector(`[data-key~="${CSS.escape(name)}"]`);
  if (control) control.click();
  else if (keys[name]) keys[name]();
  else if (target === $("view") && arrows[name]) view.pan(...arrows[name]);
  else return;
  event.preventDefault();
});
addEventListener("beforeunload", (event) => open?.drawing?.changed && event.preventDefault());
for (const name of ["mouseover", "focusin"]) {
  $("measures").addEventListener(name, ({ target }) => {
    $("definition").textContent = target.closest("[title]")?.title ?? "";
  });
}
$("threshold").oninput = ({ target }) => setThreshold(+target.value);
$("size").oninput = ({ target }) => ($("sized").textContent = `${target.value} px`);
$("dismiss").onclick = () => $("messages").replaceChildren();
$("network").textContent = about.network;
changeSize(0);
(async function poll() {
  await refresh();
  setTimeout(poll, 700);
})();
