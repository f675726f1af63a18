// What the page asks of serve.py, and how names and figures are written.

export async function ask(path, options = {}) {
  const answer = await fetch(path, options).catch(() => {
    throw new Error("expected an answer from serve.py, received none: start it again");
  });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => null);
  throw new Error(told?.error ?? `expected an answer, received ${answer.status}: try again`);
}

export const askJson = async (path, options) => (await ask(path, options)).json();
export const $ = (id) => document.getElementById(id);

// An element with properties and children; text never becomes HTML.
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const UNITS = { px: "px", px2: "px²", per_px: "/px", per_px2: "/px²", um: "µm",
  um2: "µm²", per_um: "/µm", per_um2: "/µm²", degrees: "°" };

// "mean_width_px" -> ["mean_width", "px"]
export function splitUnit(column) {
  const [, name, unit] = column.match(/^(.*?)(?:_((?:per_)?(?:px|um)2?|degrees))?$/);
  return [name, UNITS[unit] ?? ""];
}

export const spaced = (name) => name.replaceAll("_", " ");

// Four digits of a cell's number: "0.00007427124" -> "7.427e-5".
export function rounded(text) {
  if (text === "") return "–";
  const number = Number(Number(text).toPrecision(4));
  return number && Math.abs(number) < 0.001 ? number.toExponential() : String(number);
}

const MAIN = ["vessel_density", "total_length", "mean_width", "arc_over_chord",
  "tortuosity_density", "fractal_dimension", "branch_points", "mean_branching_angle"];
export const isMain = (name) => MAIN.includes(name);

// The table of rows of measurements.csv, one or, once it was measured again, two;
// `wanted` tells which measures are in it, `explain` is told what one means.
export function measuresTable(rows, definitions, wanted, explain) {
  const columns = Object.keys(rows[0]);
  const first = columns.indexOf("micrometres_per_pixel") + 1;
  const reasons = Object.fromEntries(rows.flatMap(
    (row) => row.reasons.split("; ").map((text) => text.split(": "))));
  const lines = columns.slice(first, -1).map((column) => [column, ...splitUnit(column)])
    .filter(([, name]) => wanted(name)).map(([column, name, unit]) => {
      const why = reasons[column] ? ` (none: ${reasons[column]})` : "";
      const title = `${spaced(name)}: ${definitions[name]}${why}`;
      const tell = () => explain(title);
      return make("tr", {},
        make("th", { scope: "row", tabIndex: 0, title, onfocus: tell, onmouseenter: tell },
          spaced(name), make("small", {}, ` ${unit}`)),
        ...rows.map((row) => make("td", {}, rounded(row[column]))));
    });
  const heads = ["measure", ...(rows.length > 1 ? ["before", "after"] : ["value"])];
  return make("table", {}, make("thead", {}, make("tr", {},
    ...heads.map((text) => make("th", { scope: "col" }, text)))), make("tbody", {}, ...lines));
}
