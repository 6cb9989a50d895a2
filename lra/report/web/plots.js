// Charts as SVG, drawn from plain numbers. A chart is as wide as its viewBox says and scales with its box.
const SVG = "http://www.w3.org/2000/svg";
const BACKENDS = { torch: "PyTorch", jax: "JAX" };
const NARROW = matchMedia("(max-width: 720px)").matches; // charts are drawn smaller there, their letters are not
const DASHES = ["", "7 3", "2 2.5", "9 3 2 3"];

/** An SVG element with attributes and children; a string child is text. */
function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const linear = (from, to, low, high) => (value) => low + ((value - from) / (to - from || 1)) * (high - low);
const logarithmic = (from, to, low, high) => {
  const inner = linear(Math.log(from), Math.log(to), low, high);
  return (value) => inner(Math.log(value));
};
const short = (name) => name.replaceAll("--attn.", "");
const number = (value, digits = 1) =>
  value === null ? "–" : Number(value).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** About `count` round numbers from low to high. */
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((each) => each * power >= rough);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step) found.push(+at.toPrecision(12));
  return found;
}

/** 1, 2 and 5 times powers of ten inside a range. */
function logTicks(low, high) {
  const found = [];
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10)
    for (const each of [1, 2, 5]) if (each * power >= low && each * power <= high) found.push(each * power);
  return found;
}

/** A range with a margin of a share of it on both sides, of `least` or more in all. */
function padded(values, share, least = 0) {
  const low = Math.min(...values), high = Math.max(...values);
  const margin = Math.max((high - low || 1) * share, (least - (high - low)) / 2);
  return [low - margin, high + margin];
}

/** Grid lines with numbers along the bottom and, where `y` is given, along the left; axis titles with units. */
function frame(chart, box, x, y) {
  const { left, right, top, bottom } = box;
  for (const at of x.ticks) {
    chart.append(svg("line", { class: "grid", x1: x.at(at), x2: x.at(at), y1: top, y2: bottom }));
    chart.append(svg("text", { class: "tick", x: x.at(at), y: bottom + 15, "text-anchor": "middle" }, x.text(at)));
  }
  chart.append(svg("text", { class: "axis", x: right, y: bottom + 30, "text-anchor": "end" }, x.title));
  for (const at of y ? y.ticks : []) {
    chart.append(svg("line", { class: "grid", x1: left, x2: right, y1: y.at(at), y2: y.at(at) }));
    chart.append(svg("text", { class: "tick", x: left - 6, y: y.at(at) + 4, "text-anchor": "end" }, y.text(at)));
  }
  if (y) chart.append(svg("text", { class: "axis", x: 0, y: top - 9 }, y.title));
}

/** A circle for PyTorch, a diamond for JAX; hollow where it says so. */
function marker(backend, x, y, size, attributes) {
  const look = { class: `mark ${backend}${attributes.hollow ? " hollow" : ""}`, "data-tip": attributes.tip, tabindex: 0 };
  if (backend !== "jax") return svg("circle", { ...look, cx: x, cy: y, r: size });
  const reach = size * 1.25;
  return svg("path", { ...look, d: `M${x - reach} ${y}L${x} ${y - reach}L${x + reach} ${y}L${x} ${y + reach}Z` });
}

/** A row a mechanism: its accuracy, its error, and lines at what needs no learning. */
function dotChart(panel) {
  const rows = panel.points.length, width = NARROW ? 350 : 460;
  const box = { left: NARROW ? 142 : 172, right: width - 58, top: 34, bottom: 40 + rows * 20 };
  const references = Object.entries(panel.references);
  const values = panel.points.flatMap((point) => [point.accuracy - point.error, point.accuracy + point.error]);
  const [low, high] = padded([...values, ...references.map(([, value]) => value)], 0.05);
  const at = linear(low, high, box.left, box.right);
  const chart = svg("svg", { viewBox: `0 0 ${width} ${box.bottom + 36}`, role: "img", "aria-label": panel.title });
  const x = { at, ticks: ticks(low, high, 5), text: String, title: "test accuracy, %" };
  frame(chart, box, x, null);
  references.forEach(([name, value], index) => {
    const look = { class: "reference", x1: at(value), x2: at(value), y1: box.top - 6, y2: box.bottom };
    chart.append(svg("line", { ...look, "stroke-dasharray": index ? "5 2" : "1.5 2" }));
    const text = { class: "without", x: at(value), y: index ? 22 : 10, "text-anchor": at(value) > width * 0.7 ? "end" : "middle" };
    chart.append(svg("text", text, `${name} ${number(value)}`));
  });
  panel.points.forEach((point, index) => {
    const y = box.top + 14 + index * 20;
    const tip = `${point.name}, ${BACKENDS[point.backend]}\n${number(point.accuracy)} ± ${number(point.error)} %` +
      (point.seeds > 1 ? `, ${point.seeds} seeds` : ", standard error of the test set") +
      (point.at_chance ? "\nat chance" : "");
    const bar = { class: `bar ${point.backend}`, x1: at(point.accuracy - point.error), x2: at(point.accuracy + point.error) };
    chart.append(
      svg("text", { class: "label", x: box.left - 8, y: y + 4, "text-anchor": "end" }, short(point.name)),
      svg("line", { ...bar, y1: y, y2: y, "stroke-width": point.seeds > 1 ? 3 : 1.2 }),
      marker(point.backend, at(point.accuracy), y, 4.5, { hollow: point.at_chance, tip }),
      svg("text", { class: "value", x: width - 4, y: y + 4, "text-anchor": "end" }, number(point.accuracy)),
    );
  });
  return chart;
}

/** Lines over training steps; `behind` are drawn faintly. Hovering tells every line's value at the nearest step. */
function lineChart({ title, unit, lines, behind = [], references = {}, digits = 1, width = 340, height = 230 }) {
  const box = { left: 40, right: width - 10, top: 28, bottom: height - 36 };
  [lines, behind] = [lines, behind].map((each) => each.filter((line) => line.steps.length));
  const drawn = [...lines, ...behind];
  if (!drawn.length) return svg("svg", { viewBox: `0 0 ${width} 20` }, svg("text", { class: "axis", x: 0, y: 14 }, `no ${title}`));
  const [low, high] = padded([...drawn.flatMap((line) => line.mean), ...Object.values(references)], 0.06);
  const last = Math.max(...drawn.flatMap((line) => line.steps));
  const x = { at: linear(0, last, box.left, box.right), ticks: ticks(0, last, 4), text: (at) => number(at, 0), title: "training step" };
  const y = { at: linear(low, high, box.bottom, box.top), ticks: ticks(low, high, 4), text: String, title: unit };
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  frame(chart, box, x, y);
  const path = (steps, values) => steps.map((step, i) => `${i ? "L" : "M"}${x.at(step).toFixed(1)} ${y.at(values[i]).toFixed(1)}`).join("");
  for (const line of behind) chart.append(svg("path", { class: "behind", d: path(line.steps, line.mean) }));
  Object.entries(references).forEach(([, value], index) => {
    const look = { class: "reference", x1: box.left, x2: box.right, y1: y.at(value), y2: y.at(value) };
    chart.append(svg("line", { ...look, "stroke-dasharray": index ? "5 2" : "1.5 2" }));
  });
  for (const line of lines) {
    if (line.seeds > 1) {
      const upper = line.mean.map((mean, i) => mean + line.spread[i]), lower = line.mean.map((mean, i) => mean - line.spread[i]);
      const back = path([...line.steps].reverse(), lower.reverse()).replace("M", "L");
      chart.append(svg("path", { class: `band ${line.backend}`, d: `${path(line.steps, upper)}${back}Z` }));
    }
    chart.append(svg("path", { class: `line ${line.backend}`, "stroke-dasharray": line.dash || null, d: path(line.steps, line.mean) }));
  }
  const told = (line, i) => `${number(line.mean[i], digits)}${line.seeds > 1 ? ` ± ${number(line.spread[i], digits)}` : ""}`;
  hoverSteps(chart, box, x, lines, (step) => `step ${number(step, 0)}`, told);
  return chart;
}

/** One example's time or memory by length, axes logarithmic; the baseline dotted, all others faint behind. */
function growthChart(panel, every, title) {
  const width = 340, height = 240, box = { left: 46, right: width - 12, top: 28, bottom: height - 36 };
  const lengths = [...new Set(every.flatMap((line) => line.lengths))].sort((a, b) => a - b);
  const values = every.flatMap((line) => line.values);
  const [low, high] = [Math.min(...values) / 1.2, Math.max(...values) * 1.2];
  const powers = logTicks(low, high), tens = powers.filter((at) => Number.isInteger(+Math.log10(at).toFixed(9)));
  const x = { at: logarithmic(lengths[0], lengths.at(-1), box.left + 8, box.right - 8), ticks: lengths, text: (at) => number(at, 0), title: "tokens, log scale" };
  const y = { at: logarithmic(low, high, box.bottom, box.top), ticks: tens.length > 2 ? tens : powers, text: compact, title: `${title}, log scale` };
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${panel.title}: ${title}` });
  frame(chart, box, x, y);
  const path = (line) => line.lengths.map((length, i) => `${i ? "L" : "M"}${x.at(length).toFixed(1)} ${y.at(line.values[i]).toFixed(1)}`).join("");
  for (const line of every) chart.append(svg("path", { class: "behind", d: path(line) }));
  for (const line of every.filter((each) => each.name === "softmax")) chart.append(svg("path", { class: `line baseline ${line.backend}`, "stroke-dasharray": DASHES[2], d: path(line) }));
  for (const line of panel.growths) {
    chart.append(svg("path", { class: `line ${line.backend}`, "stroke-dasharray": line.dash || null, d: path(line) }));
    chart.append(...line.lengths.map((length, i) => marker(line.backend, x.at(length), y.at(line.values[i]), 2.6, {})));
    if (line.crossing) chart.append(...ring(line, x.at(line.crossing[0]), y.at(line.crossing[1])));
  }
  const quartiles = (line, i) => (line.low.length ? ` (${compact(line.low[i])}–${compact(line.high[i])})` : "");
  const lines = panel.growths.map((line) => ({ ...line, steps: line.lengths, name: `${short(line.name)}, ${BACKENDS[line.backend]}` }));
  hoverSteps(chart, box, x, lines, (length) => `${number(length, 0)} tokens`, (line, i) => compact(line.values[i]) + quartiles(line, i));
  return chart;
}

/** Where a line meets the baseline's, with the length from which on it is the faster one. */
function ring(line, x, y) {
  return [svg("circle", { class: `line ${line.backend}`, cx: x, cy: y, r: 6 }), svg("text", { class: "tick", x: x + 5, y: y + 16 }, number(line.crossing[0], 0))];
}

/** Three digits of any size: 0.0123, 1.23, 1,230. */
const compact = (value) => Number(value.toPrecision(3)).toLocaleString("en-US", { maximumSignificantDigits: 3 });

/** A rule that follows the pointer to the nearest step or length, with the values there. */
function hoverSteps(chart, box, x, lines, head, told) {
  const steps = [...new Set(lines.flatMap((line) => line.steps))].sort((a, b) => a - b);
  const rule = svg("line", { class: "rule", y1: box.top, y2: box.bottom, visibility: "hidden" });
  const area = { class: "area", x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top };
  const sensor = svg("rect", area);
  sensor.addEventListener("pointermove", (event) => {
    const shown = chart.getBoundingClientRect(), scale = chart.viewBox.baseVal.width / shown.width;
    const place = (event.clientX - shown.left) * scale;
    const step = steps.reduce((best, each) => (Math.abs(x.at(each) - place) < Math.abs(x.at(best) - place) ? each : best));
    const here = lines.filter((line) => line.steps.includes(step)).map((line) => `${line.name}: ${told(line, line.steps.indexOf(step))}`);
    for (const end of ["x1", "x2"]) rule.setAttribute(end, x.at(step));
    rule.setAttribute("visibility", "visible");
    sensor.dataset.tip = [head(step), ...here].join("\n");
  });
  sensor.addEventListener("pointerleave", () => rule.setAttribute("visibility", "hidden"));
  chart.append(rule, sensor);
}

const LEAST = 5; // points of accuracy, as in lra/plotting/speed.py

/** Accuracy against speed; the dashed line joins the Pareto front, and areas are memory where `bubbles`. */
function speedChart(panel, speedLabel, bubbles) {
  const width = NARROW ? 350 : 600, height = (NARROW ? 320 : 400) + 5 * Math.max(0, panel.points.length - 20), box = { left: 40, right: width - 14, top: 28, bottom: height - 36 };
  const speeds = panel.points.map((point) => point.speed);
  const [from, to] = [Math.min(...speeds) / 1.4, Math.max(...speeds) * 2];
  const [low, high] = padded(panel.points.map((point) => point.accuracy), 0.15, LEAST);
  const x = { at: logarithmic(from, to, box.left, box.right), ticks: logTicks(from, to), text: (at) => number(at, at < 1 ? 2 : 0), title: `${speedLabel.split(", ")[0]}, log scale` };
  const y = { at: linear(low, high, box.bottom, box.top), ticks: ticks(low, high, 5), text: String, title: bubbles ? "average test accuracy, %" : "test accuracy, %" };
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": panel.title });
  frame(chart, box, x, y);
  const front = panel.front.map((index) => panel.points[index]);
  const d = front.map((point, i) => `${i ? "L" : "M"}${x.at(point.speed)} ${y.at(point.accuracy)}`).join("");
  chart.append(svg("path", { class: "pareto", d }));
  const largest = Math.max(...panel.points.map((point) => point.memory || 0));
  const points = [...panel.points].sort((a, b) => b.accuracy - a.accuracy).map((point) => ({
    ...point, x: x.at(point.speed), y: y.at(point.accuracy),
    first: front.includes(point) || point.name === "elfatt",
    size: bubbles && point.memory ? Math.max(3, 16 * Math.sqrt(point.memory / largest)) : 5,
  }));
  for (const point of points) {
    const tip = `${point.name}, ${BACKENDS[point.backend]}\n${number(point.accuracy)} ± ${number(point.error)} %\n` +
      `${number(point.speed)} samples/s${point.memory ? `\n${number(point.memory, 0)} MB peak` : ""}`;
    chart.append(marker(point.backend, point.x, point.y, point.size, { tip }));
  }
  chart.append(...names(points, box));
  return chart;
}

/** Each point's name where it covers nothing, joined to the point where it is not next to it. The front and elfatt come
 *  first; who finds no room keeps its name for the pointer. */
function names(points, box) {
  const taken = points.map(({ x, y, size }) => [x - size, y - size, x + size, y + size]);
  const free = (one) => one[0] >= box.left && one[2] <= box.right + 14 && one[1] >= box.top && one[3] <= box.bottom &&
    taken.every((other) => one[0] >= other[2] || one[2] <= other[0] || one[1] >= other[3] || one[3] <= other[1]);
  return [...points].sort((a, b) => b.first - a.first).flatMap((point) => {
    const text = short(point.name), place = places(point, 6.6 * text.length).find((each) => free(each.box));
    if (!place) return [];
    taken.push(place.box);
    const [left, top, right, bottom] = place.box, middle = (left + right) / 2;
    const ends = { x1: point.x, y1: point.y, x2: Math.max(left, Math.min(point.x, right)), y2: Math.max(top, Math.min(point.y, bottom)) };
    const label = svg("text", { class: "label", x: middle, y: bottom - 1, "text-anchor": "middle" }, text);
    return place.near ? [label] : [svg("line", { class: "leader", ...ends }), label];
  });
}

/** Boxes for a name of some width on rings around its point, the nicest first. */
function places(point, width) {
  return [3, 9, 17, 27].flatMap((ring) => [0, 180, 35, -35, 145, -145, 90, -90].map((turn) => {
    const across = Math.cos((turn * Math.PI) / 180), up = Math.sin((turn * Math.PI) / 180), reach = point.size + ring;
    const x = point.x + reach * across + (Math.abs(across) < 0.1 ? 0 : (Math.sign(across) * width) / 2), y = point.y - (reach + 5) * up;
    return { near: ring === 3, box: [x - width / 2, y - 5, x + width / 2, y + 5] };
  }));
}
