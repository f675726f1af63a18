// The page: the list of photographs, and the one that is open.

import { Drawing } from "./drawing.js";
import { ask, askJson, isMain, make, measuresTable, rounded, splitUnit } from "./server.js";
import { RAMP, View } from "./view.js";

const $ = (id) => document.getElementById(id);
const view = new View($("view"), { pointed, drawn: changed });
let about = {};
let photographs = [];
let open = null; // { key, seen, row, drawing, measures }
let sent = null; // { done, total } of an upload

// ---- the list

function status() {
  const busy = photographs.filter(({ state }) => ["waiting", "working"].includes(state));
  const upload = sent ? `Sending ${sent.done + 1} of ${sent.total}. ` : "";
  const work = busy.length ? `${busy.length} of ${photographs.length} to go. ` : "";
  const ready = photographs.length ? `${photographs.length} ready.` : "";
  const text = upload + work || ready;
  if ($("status").textContent !== text) $("status").textContent = text;
}

function listed(item) {
  const told = item.error || (item.state === "working" && item.step)
    || (item.state === "waiting" && "waiting") || item.note;
  const picture = item.mapped
    ? make("img", { alt: "", loading: "lazy", src: `/photographs/${item.key}/picture/thumbnail` })
    : make("span", { className: "blank" });
  const button = make("button", { onclick: () => show(item.key) }, picture,
    make("span", {}, item.name, make("small", { className: item.error ? "bad" : "" }, told || "")));
  const entry = make("li", {}, button);
  if (item.error) {
    const retry = () => ask(`/photographs/${item.key}/again`, { method: "POST" }).catch(complain);
    entry.append(make("div", { className: "bar" },
      make("button", { onclick: retry }, "Try again"),
      make("button", { onclick: () => remove(item) }, "Remove")));
  }
  return entry;
}

async function refresh() {
  try {
    ({ photographs } = await askJson("/photographs"));
    if ($("status").classList.contains("bad")) $("status").classList.remove("bad");
    status();
  } catch (error) {
    $("status").textContent = error.message;
    $("status").classList.add("bad");
    return;
  }
  const kept = new Map([...$("list").children].map((child) => [child.dataset.key, child]));
  photographs.forEach((item, place) => {
    const now = JSON.stringify(item);
    let child = kept.get(item.key);
    if (child?.dataset.now !== now) {
      const fresh = listed(item);
      Object.assign(fresh.dataset, { key: item.key, now });
      const focused = child?.contains(document.activeElement);
      if (child) child.replaceWith(fresh);
      else $("list").insertBefore(fresh, $("list").children[place] ?? null);
      if (focused) fresh.firstChild.focus();
      child = fresh;
      if (open?.key === item.key && open.waiting) progress(item);
    }
    child.firstChild.setAttribute("aria-current", open?.key === item.key);
    kept.delete(item.key);
  });
  kept.forEach((child) => child.remove());
  $("all").hidden = !photographs.some(({ mapped }) => mapped);
}

async function poll() {
  await refresh();
  const busy = photographs.some(({ state }) => state === "working" || state === "waiting");
  setTimeout(poll, busy ? 700 : 3000);
}

function complain(error) {
  const line = make("p", {}, error.message ?? error, " ");
  line.append(make("button", { onclick: () => line.remove(), ariaLabel: "Dismiss" }, "×"));
  $("messages").append(line);
}

// ---- what is dropped

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((done, fail) => entry.file(done, fail))];
  const [reader, files] = [entry.createReader(), []];
  for (;;) { // a reader gives a hundred at a time
    const entries = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!entries.length) return files;
    for (const each of entries) files.push(...await filesOf(each));
  }
}

const isPicture = ({ name }) => !name.startsWith(".")
  && about.endings.some((ending) => name.toLowerCase().endsWith(ending));

function pictures(files) {
  const kept = files.filter(isPicture);
  const skipped = files.filter((file) => !file.name.startsWith(".")).length - kept.length;
  const noun = skipped === 1 ? "file" : "files";
  if (skipped) complain(`${skipped} ${noun} skipped: no pictures by their names`);
  return kept;
}

async function send(files) {
  sent = { done: 0, total: files.length + (sent ? sent.total : 0), ...(sent && { done: sent.done }) };
  for (const file of files) {
    status();
    const name = encodeURIComponent(file.name);
    try {
      if (file.size > about.most_bytes) {
        throw new Error(`expected a photograph of at most ${about.most_bytes >> 20} MB, but `
          + `${file.name} is larger: make it smaller`);
      }
      const item = await askJson(`/photographs?name=${name}`, { method: "POST", body: file });
      await refresh();
      if (!open) show(item.key);
    } catch (error) {
      complain(error);
    }
    sent.done++;
  }
  if (sent.done >= sent.total) sent = null;
  status();
}

addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
addEventListener("dragleave", () => document.body.classList.remove("over"));
addEventListener("drop", async (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  for (const entry of entries) {
    const files = await filesOf(entry);
    await send(entry.isFile ? files : pictures(files));
  }
});
$("files").onchange = () => send([...$("files").files]);
$("folder").onchange = () => send(pictures([...$("folder").files]));

// ---- one photograph

function show(key) {
  if (open?.changed && !confirm("Leave without measuring again? The strokes are lost.")) return;
  open = { key, waiting: true };
  for (const child of $("list").children) {
    child.firstChild.setAttribute("aria-current", child.dataset.key === key);
  }
  const item = photographs.find((each) => each.key === key);
  if (item.mapped) load(key);
  else progress(item);
}

// Which parts of the page are there: of a photograph, or words on why there is none.
function present(words) {
  for (const element of [$("view"), $("zoom"), document.querySelector("aside")]) {
    element.hidden = words !== undefined;
  }
  $("empty").hidden = words !== "";
  $("waiting").hidden = !words;
  $("waiting").textContent = words ?? "";
}

// The photograph that is open goes on: it is waited for, or was measured again.
function progress(item) {
  if (item.state === "done" || item.state === "failed") {
    open.waiting = false;
    if (item.mapped) renew().catch(complain);
    else present(item.error);
  } else if (!open.drawing) {
    present(`${item.name}: ${item.step || item.state}`);
  }
  $("again").disabled = open.waiting;
}

// Until a photograph is there, the page shows the last one, which cannot be touched.
const untouchable = (is) => document.querySelectorAll("main, aside").forEach(
  (part) => (part.inert = is));

async function load(key) {
  const of = (rest) => ask(`/photographs/${key}/${rest}`);
  untouchable(true);
  try {
    const [told, values, bits, picture] = await Promise.all([
      askJson(`/photographs/${key}`), of("probability"), of("vessels"), of("picture/photograph")]);
    const drawing = new Drawing(told.row, new Uint16Array(await values.arrayBuffer()),
      new Uint8Array(await bits.arrayBuffer()));
    const photograph = await createImageBitmap(await picture.blob());
    if (open?.key !== key) return; // another one was opened meanwhile
    Object.assign(open, told, { drawing, seen: bits.headers.get("ETag"), changed: false });
    open.waiting = told.state !== "done";
    present();
    view.resize();
    view.show(drawing, photograph);
    shown();
  } catch (error) {
    if (open?.key === key) present(error.message);
  }
  if (open?.key === key) untouchable(false);
}

function shown() {
  const { row, drawing, measures, key } = open;
  document.title = `${row.name} - Retinal vessels`;
  $("size").max = Math.max(40, Math.round(row.width / 25));
  $("again").disabled = open.waiting;
  $("name").textContent = row.name;
  $("note").textContent = row.note;
  $("view").setAttribute("aria-label", `Photograph ${row.name}, ${row.width} x ${row.height} pixels`);
  if (measures) drawing.cutAt(measures.threshold);
  $("scale").value = measures?.before.micrometres_per_pixel ?? about.scale ?? "";
  showCut();
  showMeasures();
  const link = (text, href, rest) => make("a", { className: "button", href, ...rest }, text);
  const file = (text, path) => link(text, `/photographs/${key}/${path}`);
  $("downloads").replaceChildren(
    ...Object.entries({ Map: "map", Vessels: "vessels", Overlay: "overlay",
      "measurements.csv": "measurements", "segments.csv": "segments" })
      .map(([text, path]) => file(text, `download/${path}`)),
    file("All (zip)", "zip"),
    link("Report to print", `/page/report.html#${key}`, { target: "_blank" }));
}

function showCut() {
  $("threshold").value = open.drawing.threshold;
  $("cut").textContent = open.drawing.threshold.toFixed(3);
}

function showMeasures() {
  const { measures } = open;
  for (const id of ["measures", "others", "definition", "legend"]) $(id).replaceChildren();
  if (!measures) return;
  const tell = (text) => ($("definition").textContent = text);
  const table = (wanted) => measuresTable(measures, about.definitions, wanted, tell);
  $("measures").replaceChildren(table(isMain));
  $("others").replaceChildren(table((name) => !isMain(name)));
  tell(measures.after ? `After: ${measures.after.vessels}` : "");
  view.measured(measures);
  const scale = measures.before.micrometres_per_pixel;
  const widest = `${(view.widest * (scale || 1)).toFixed(1)} ${scale ? "µm" : "px"}`;
  $("legend").replaceChildren(`0 `, ...RAMP.map((colour) => {
    const box = make("i");
    box.style.background = colour;
    return box;
  }), ` ${widest} or more`);
}

// Something was measured again: the measures are new, the drawing stays.
async function renew() {
  if (!open.drawing) return load(open.key);
  const told = await askJson(`/photographs/${open.key}`);
  open.measures = told.measures;
  if (told.error) complain(`${told.name}: ${told.error}`);
  showMeasures();
}

function changed() {
  open.changed = true;
  view.redraw();
}

function change(undoOrRedo) {
  if (open.drawing[undoOrRedo]()) changed();
}

async function measure() {
  const { key, seen, drawing } = open;
  const words = new URLSearchParams({ threshold: drawing.threshold, scale: $("scale").value, seen });
  try {
    const now = await askJson(`/photographs/${key}/vessels?${words}`,
      { method: "PUT", body: drawing.packed() });
    Object.assign(open, now, { waiting: true, changed: false });
    $("again").disabled = true;
    await refresh();
  } catch (error) {
    complain(error);
  }
}

async function remove({ key, name }) {
  if (!confirm(`Remove ${name}, its map, corrections and measures from this machine?`)) return;
  try {
    await ask(`/photographs/${key}`, { method: "DELETE" });
    if (open?.key === key) {
      open = null;
      present("");
    }
    await refresh();
  } catch (error) {
    complain(error);
  }
}

function pointed(index, width = null) {
  const segment = open?.measures?.segments[index];
  $("readout").textContent = segment ? `Segment ${segment.segment}: ` + [
    width === null ? null : `width here ${width} px`,
    ...["mean_width", "length", "arc_over_chord"].map((name) => {
      const column = Object.keys(segment).find((each) => splitUnit(each)[0] === name);
      const value = segment[column] && `${rounded(segment[column])} ${splitUnit(column)[1]}`.trim();
      return `${name.replaceAll("_", " ")} ${value || "none"}`;
    })].filter(Boolean).join(", ") : "";
}

function step(by) {
  const count = view.segments?.length;
  if (!count) return;
  view.choose((view.chosen + by + count) % count);
  pointed(view.chosen);
}

// ---- controls

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
  open.drawing.cutAt(threshold, moving ? Math.floor(1 / view.scale) : 1);
  showCut();
  view.redraw();
}

const next = (by) => {
  const place = photographs.findIndex(({ key }) => key === open?.key);
  const item = photographs[Math.min(photographs.length - 1, Math.max(0, place + by))];
  if (item && item.key !== open?.key) show(item.key);
};
const actions = {
  in: () => view.zoom(1.4), out: () => view.zoom(1 / 1.4), fit: () => view.fit(),
  whole: () => view.zoom(devicePixelRatio / view.scale),
  undo: () => change("undo"), redo: () => change("redo"),
  reset: () => cut(open.row.threshold), measure,
  remove: () => remove(open),
};
const keys = {
  j: () => next(1), k: () => next(-1), "+": actions.in, "=": actions.in, "-": actions.out,
  0: actions.fit, 9: actions.whole, v: () => choose(""), b: () => choose("brush"),
  e: () => choose("eraser"), "[": () => size($("size").value - 1),
  "]": () => size(+$("size").value + 1), ".": () => step(1), ",": () => step(-1), m: measure,
};
document.querySelectorAll("[name=base], #vessels, #widths, #lines").forEach((input, place) => {
  input.onchange = layer;
  keys[place + 1] = () => input.click();
});
const arrows = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };

addEventListener("click", ({ target }) => {
  const { do: action, tool } = target.dataset ?? {};
  if (action && open?.drawing) actions[action]();
  if (tool !== undefined) choose(tool);
});
addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (target.type === "number" || event.altKey) return;
  if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "z" && open?.drawing) {
    actions[event.shiftKey ? "redo" : "undo"]();
  } else if (event.ctrlKey || event.metaKey) {
    return;
  } else if (arrows[key] && target === $("view")) {
    view.pan(...arrows[key]);
  } else if (keys[key] && (open?.drawing || "jk".includes(key))) {
    keys[key]();
  } else {
    return;
  }
  event.preventDefault();
});
addEventListener("beforeunload", (event) => {
  if (open?.changed || sent) event.preventDefault();
});
$("threshold").oninput = () => cut(+$("threshold").value, true);
$("threshold").onchange = () => cut(+$("threshold").value);
$("size").oninput = () => size($("size").value);

about = await askJson("/about");
if (about.scale) $("scale").value = about.scale;
$("network").textContent = about.network;
await poll();
if (photographs.length && !open) show(photographs[0].key);
