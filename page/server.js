// What the page asks of serve.py, and how it shows what it is told.

export const $ = (id) => document.getElementById(id);

export async function ask(path, options) {
  const answer = await fetch(path, options).catch(() => {
    throw new Error("expected an answer from serve.py, received none: start it again");
  });
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

export const complain = ({ message }) => $("messages").append(make("p", {}, message));

export const about = await askJson("/about");

// ---- measures

const MAIN = ["vessel_density", "total_length", "mean_width", "arc_over_chord",
  "tortuosity_density", "fractal_dimension", "branch_points", "mean_branching_angle"];

// "vessel_density_per_px" -> ["vessel_density", "/px"]
export function splitUnit(column) {
  const [, name, unit = ""] = column.match(/^(.*?)(?:_((?:per_)?(?:px|um)2?|degrees))?$/);
  const words = { per_: "/", um: "µm", 2: "²", degrees: "°" };
  return [name, unit.replace(/per_|um|2|degrees/g, (part) => words[part])];
}

export const spaced = (name) => name.replaceAll("_", " ");

// A cell's number in four digits.
export function rounded(text) {
  if (text === "") return "–";
  const number = Number(Number(text).toPrecision(4));
  return number && Math.abs(number) < 0.001 ? number.toExponential() : String(number);
}

// The table of rows of measurements.csv: one, or those before and after a correction.
export function measuresTable(rows) {
  const columns = Object.keys(rows[0]);
  const reasons = Object.fromEntries(rows.flatMap(
    (row) => row.reasons.split("; ").map((text) => text.split(": "))));
  const lines = columns.slice(columns.indexOf("micrometres_per_pixel") + 1, -1).map((column) => {
    const [name, unit] = splitUnit(column);
    const why = reasons[column] ? ` (none: ${reasons[column]})` : "";
    const title = `${spaced(name)}: ${about.definitions[name]}${why}`;
    return make("tr", { className: MAIN.includes(name) ? "main" : "" },
      make("th", { scope: "row", tabIndex: 0, title }, spaced(name), make("small", {}, ` ${unit}`)),
      ...rows.map((row) => make("td", {}, rounded(row[column]))));
  });
  const heads = ["measure", ...(rows.length > 1 ? ["before", "after"] : ["value"])];
  return make("table", {}, make("thead", {}, make("tr", {},
    ...heads.map((text) => make("th", { scope: "col" }, text)))), make("tbody", {}, ...lines));
}
