// One photograph on paper: pictures, measures, and where they come from.

import { $, askJson, make, measuresTable } from "./server.js";

const path = `/photographs/${location.hash.slice(1)}`;
$("print").onclick = () => print();
try {
  const { row, rows } = await askJson(`${path}/measures`);
  const last = rows.at(-1);
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
  $("name").textContent = document.title = `Retinal vessels: ${row.name}`;
  $("photograph").src = `${path}/view`;
  $("overlay").src = `${path}/overlay`;
  $("vessels").textContent = $("overlay").alt = `Vessels: ${last.vessels}`;
  $("measures").append(measuresTable(rows));
  for (const [name, text] of Object.entries(origin)) {
    $("origin").append(make("dt", {}, name), make("dd", {}, text));
  }
} catch (error) {
  $("name").textContent = error.message;
}
