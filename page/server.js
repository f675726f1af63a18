// What the page asks of serve.py, and how names and figures are written.

export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("expected an answer from serve.py, received none: start it again");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => null);
  throw new Error(told?.error ?? `expected an answer, received ${answer.status}: try again`);
}

export const askJson = async (path, options) => (await ask(path, options)).json();

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

export const rounded = (text) => (text === "" ? "–" : String(Number(Number(text).toPrecision(4))));

const MAIN = ["vessel_density", "total_length", "mean_width", "arc_over_chord",
  "tortuosity_density", "fractal_dimension", "branch_points", "mean_branching_angle"];
export const isMain = (name) => MAIN.includes(name);

// The table of a row of measurements.csv, and of a second one once it was measured again;
// `wanted` tells which measures are in it.
export function measuresTable({ before, after }, definitions, wanted, explain) {
  const columns = Object.keys(before);
  const names = columns.slice(columns.indexOf("micrometres_per_pixel") + 1)
    .filter((column) => wanted(splitUnit(column)[0]));
  const reasons = Object.fromEntries([before, after].filter(Boolean).flatMap(
    (row) => row.reasons.split("; ").map((text) => text.split(": "))));
  const rows = names.filter((column) => column !== "reasons").map((column) => {
    const [name, unit] = splitUnit(column);
    const why = reasons[column] ? ` (none: ${reasons[column]})` : "";
    const told = `${name.replaceAll("_", " ")}: ${definitions[name] ?? "see docs/measures.md"}${why}`;
    const title = make("th", { scope: "row", tabIndex: 0, title: told },
      name.replaceAll("_", " "), unit && make("small", {}, ` ${unit}`));
    title.onfocus = title.onmouseenter = () => explain?.(told);
    return make("tr", {}, title, ...[before, after].filter(Boolean).map(
      (row) => make("td", {}, rounded(row[column]))));
  });
  const heads = after ? ["measure", "before", "after"] : ["measure", "value"];
  return make("table", {}, make("thead", {}, make("tr", {},
    ...heads.map((text) => make("th", { scope: "col" }, text)))), make("tbody", {}, ...rows));
}
