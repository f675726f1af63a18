// One photograph on paper: pictures, measures, and where they come from.

import { askJson, make, measuresTable } from "./server.js";

const $ = (id) => document.getElementById(id);
const key = location.hash.slice(1);
try {
  const [about, told] = await Promise.all([askJson("/about"), askJson(`/photographs/${key}`)]);
  const { row, measures } = told;
  $("name").textContent = document.title = `Retinal vessels: ${row.name}`;
  const figure = (kind, text) => make("figure", {},
    make("img", { src: `/photographs/${key}/picture/${kind}`, alt: text }),
    make("figcaption", {}, text));
  const last = measures.after ?? measures.before;
  $("pictures").append(figure("photograph", "Photograph"), figure("overlay", `Vessels: ${last.vessels}`));
  $("measures").append(measuresTable(measures, about.definitions, () => true));
  const origin = {
    photograph: `${row.width} x ${row.height} pixels, SHA-256 ${row.photograph_sha256}`,
    network: `${row.network}, SHA-256 ${row.network_sha256}`,
    threshold: `${row.threshold} (${row.threshold_source})`,
    "field of view": `${row.field_from}; scale ${row.scale.toFixed(3)} (${row.scale_from})`,
    "micrometres per pixel": last.micrometres_per_pixel || "not given: pixels",
    note: row.note || "none",
    program: `version ${row.version}`,
    printed: new Date().toISOString().slice(0, 16).replace("T", " ") + " UTC",
  };
  for (const [name, text] of Object.entries(origin)) {
    $("origin").append(make("dt", {}, name), make("dd", {}, text));
  }
} catch (error) {
  $("name").textContent = error.message;
}
$("print").onclick = () => print();
