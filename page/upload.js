// What is dropped on the page, or chosen, is sent to serve.py, one file after the other.

import { $, askJson } from "./server.js";

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((done, fail) => entry.file(done, fail))];
  const [reader, files] = [entry.createReader(), []];
  for (;;) { // a reader gives a hundred at a time
    const entries = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!entries.length) return files;
    for (const each of entries) files.push(...await filesOf(each));
  }
}

// `sending` is told how many files were sent, and of how many; `arrived` of each
// photograph that was; `complain` of each that was not, and why.
export function takeFiles({ endings, most_bytes }, { sending, arrived, complain }) {
  let [done, total] = [0, 0];

  // Of a folder's files, those that are pictures by their names.
  const picturesOf = (files) => {
    const shown = files.filter(({ name }) => !name.startsWith("."));
    const kept = shown.filter(({ name }) => endings.some((end) => name.toLowerCase().endsWith(end)));
    const skipped = shown.length - kept.length;
    if (skipped) complain(`${skipped} ${skipped > 1 ? "files" : "file"} skipped: no pictures by name`);
    return kept;
  };

  const post = async (file) => {
    if (file.size > most_bytes) {
      throw new Error(`expected a photograph of at most ${most_bytes >> 20} MB, but `
        + `${file.name} is larger: make it smaller`);
    }
    const path = `/photographs?name=${encodeURIComponent(file.name)}`;
    await arrived(await askJson(path, { method: "POST", body: file }));
  };

  let queue = Promise.resolve();
  const send = (files) => {
    total += files.length;
    sending(done, total);
    for (const file of files) {
      queue = queue.then(() => post(file)).catch(complain).then(() => {
        done++;
        if (done === total) [done, total] = [0, 0];
        sending(done, total);
      });
    }
  };

  const over = (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", event.type === "dragover");
  };
  for (const name of ["dragover", "dragleave", "drop"]) addEventListener(name, over);
  addEventListener("drop", async ({ dataTransfer }) => {
    const entries = [...dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    send((await Promise.all(entries.map(async (entry) => (
      entry.isFile ? filesOf(entry) : picturesOf(await filesOf(entry)))))).flat());
  });
  for (const [id, choose] of [["files", (all) => all], ["folder", picturesOf]]) {
    $(id).onchange = ({ target }) => {
      send(choose([...target.files]));
      target.value = ""; // the same can be chosen again
    };
  }
}
