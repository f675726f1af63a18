// One photograph on paper: pictures, measures, and where they come from.

import { $, askJson, make, measuresTable } from "./server.js";

const of = `/photographs/${location.hash.slice(1)}`;
try {
  const [about, { row, rows }] = await Promise.all([askJson("/about"), askJson(`${of}/measures`)]);
  $("name").textContent = document.title = `Retinal vessels: ${row.name}`;
  const last = rows.at(-1);
  const pictures = { view: "Photograph", overlay: `Vessels: ${last.vessels}` };
  $("pictures").append(...Object.entries(pictures).map(([kind, text]) => make("figure", {},
    make("img", { src: `${of}/${kind}`, alt: text }), make("figcaption", {}, text))));
  $("measures").append(measuresTable(rows, about.definitions, () => true, () => {}));
  const origin = {
    photograph: `${row.width} x ${row.height} pixels, SHA-256 ${row.photograph_sha256}`,
    network: `${row.network}, SHA-256 ${row.network_sha256}`,
    threshold: `${row.threshold} (${row.threshold_source})`,
    "field of view": `${row.field_from}; scale ${row.scale.toFixed(3)} (${row.scale_from})`,
    "micrometres per pixel": last.micrometres_per_pixel || "not given: pixels",
    note: row.note || "none",
    program: `version ${row.version}`,
    printed: `${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC`,
  };
  $("origin").append(...Object.entries(origin).flatMap(
    ([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
} catch (error) {
  $("name").textContent = error.message;
}
$("print").onclick = () => print();
