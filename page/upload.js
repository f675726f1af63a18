// What is dropped on the page, or chosen, is sent to serve.py, one file after the other.

import { $, about, ask, complain } from "./server.js";

let [done, total] = [0, 0];
let last = Promise.resolve(); // that was sent

async function send(file) {
  $("sending").textContent = `Sending ${done + 1} of ${total}.`;
  const most = about.most_bytes;
  if (file.size > most) {
    complain({ message: `expected a photograph of at most ${most >> 20} MB, but ${file.name} `
      + "is larger: make it smaller" });
  } else {
    const path = `/photographs?name=${encodeURIComponent(file.name)}`;
    await ask(path, { method: "POST", body: file }).catch(complain);
  }
  if (++done < total) return;
  [done, total] = [0, 0];
  $("sending").textContent = "";
}

function take(files) {
  total += files.length;
  for (const file of files) last = last.then(() => send(file));
}

// Of a folder's files, those that are pictures by their names.
function picturesOf(files) {
  const shown = files.filter(({ name }) => !name.startsWith("."));
  const isPicture = ({ name }) => about.endings.some((end) => name.toLowerCase().endsWith(end));
  const kept = shown.filter(isPicture);
  const skipped = shown.length - kept.length;
  const counted = skipped > 1 ? "files" : "file";
  if (skipped) complain({ message: `${skipped} ${counted} skipped: no pictures by name` });
  return kept;
}

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((found, fail) => entry.file(found, fail))];
  const [reader, files] = [entry.createReader(), []];
  for (;;) { // a reader gives a hundred at a time
    const entries = await new Promise((found, fail) => reader.readEntries(found, fail));
    if (!entries.length) return files;
    for (const each of entries) files.push(...await filesOf(each));
  }
}

for (const name of ["dragover", "dragleave", "drop"]) {
  addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", name === "dragover");
  });
}
addEventListener("drop", ({ dataTransfer }) => {
  for (const item of dataTransfer.items) {
    const entry = item.webkitGetAsEntry();
    const choose = entry?.isFile ? (files) => files : picturesOf;
    if (entry) filesOf(entry).then((files) => take(choose(files))).catch(complain);
  }
});
for (const [id, choose] of [["files", (files) => files], ["folder", picturesOf]]) {
  $(id).onchange = ({ target }) => {
    take(choose([...target.files]));
    target.value = ""; // the same can be chosen again
  };
}
addEventListener("beforeunload", (event) => total && event.preventDefault());
