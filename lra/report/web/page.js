// Which page is shown, and what a reader does with its tables.
const DATA = JSON.parse(document.getElementById("data").textContent);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/** Shows the view that the address names: #leaderboard, #mechanism/elfatt, #run/0123456789ab. */
function route() {
  const name = decodeURIComponent(location.hash.slice(1)) || "leaderboard";
  const [kind, id] = name.split("/");
  let view = document.getElementById(name);
  if (id !== undefined && kind === "run") {
    view = Object.hasOwn(DATA.runs, id) ? document.getElementById("run") : null;
    view?.replaceChildren(...runPage(id, DATA.runs));
  }
  if (!view?.classList.contains("view") || name === "run") view = document.getElementById("nothing");
  for (const each of all(".view")) each.classList.toggle("on", each === view);
  const section = { mechanism: "mechanisms", run: "runs" }[kind] || kind;
  for (const link of all("nav a")) link.toggleAttribute("aria-current", link.hash === `#${section}`);
  const title = view.querySelector("h1").textContent;
  document.title = `${title} · Long Range Arena`;
  hideTip();
  scrollTo(0, 0);
}

/** Sorts a table's rows by one column, those without a number there last; `down` is largest first. */
function sort(table, index, down) {
  const body = table.querySelector("tbody.rows");
  const words = table.querySelectorAll(".heads th")[index].classList.contains("text");
  const value = (row) => {
    const text = row.cells[index]?.dataset.value ?? row.cells[index]?.textContent.trim() ?? "";
    return words ? text : parseFloat(text);
  };
  const compare = (one, other) => {
    const [a, b] = [value(one), value(other)];
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
    return (down ? -1 : 1) * (words ? a.localeCompare(b, "en") : a - b);
  };
  body.append(...[...body.rows].sort(compare));
  for (const [i, head] of all(".heads th", table).entries()) {
    if (i === index) head.setAttribute("aria-sort", down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
}

/** A first click sorts numbers from the largest and words from A; a second turns that round. */
function sortable(table) {
  all(".heads th", table).forEach((head, index) => {
    head.querySelector("button").addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      sort(table, index, before ? before === "ascending" : !head.classList.contains("text"));
    });
  });
}

/** Rows, columns and plots that fit the form's choices; the form says how many rows are left. */
function filter(form) {
  const view = form.closest(".view"), given = new FormData(form);
  const words = String(given.get("text")).toLowerCase().split(/\s+/).filter(Boolean);
  const task = given.get("task") || "", backend = given.get("backend") || "", preset = given.get("preset") || "";
  for (const each of all("[data-preset]", view)) each.hidden = preset !== "" && each.dataset.preset !== preset;
  for (const each of all("[data-task]", view)) each.hidden = task !== "" && each.dataset.task !== task;
  for (const each of all("[data-average]", view)) each.hidden = task !== "";
  for (const row of all("tbody.rows tr", view)) {
    const text = row.dataset.text.toLowerCase();
    const ran = !task || all("td[data-task][data-value]", row).some((cell) => cell.dataset.task === task);
    row.hidden = !(ran && words.every((word) => text.includes(word)) && (!backend || row.dataset.backend === backend));
  }
  for (const table of all("table.board", view)) spanGroups(table);
  const rows = all("table:not([data-kind=controls]) tbody.rows tr", view).filter((row) => !row.closest("[hidden]"));
  const total = all("table:not([data-kind=controls]) tbody.rows tr", view).length;
  form.querySelector("output").textContent = rows.length === total ? `${total} rows` : `${rows.length} of ${total} rows`;
}

/** Fits the headings above the columns to those that are shown. */
function spanGroups(table) {
  const shown = all(".heads th", table).slice(2).map((head) => !head.hidden);
  for (const group of all(".groups th", table)) {
    group.dataset.span ??= group.colSpan;
    const count = shown.splice(0, Number(group.dataset.span)).filter(Boolean).length;
    group.hidden = count === 0;
    group.colSpan = count || 1;
  }
}

/** On a phone the headings are away, and a list of them sorts. */
function sortMenu(form) {
  const menu = form.elements.sort, buttons = all(".heads button", form.closest(".view"));
  const names = [...new Set(buttons.map((button) => button.textContent))];
  menu.append(h("option", { value: "", disabled: true, selected: true }, "as listed"), ...names.map((name) => h("option", {}, name)));
  menu.addEventListener("change", () => buttons.filter((button) => button.textContent === menu.value).forEach((button) => button.click()));
}

/** The plots of one preset, or those that show no accuracy and belong to all. */
function draw(place) {
  const preset = place.closest("[data-preset]")?.dataset.preset ?? "";
  for (const picture of DATA.pictures.filter((each) => each.preset === preset)) {
    const grid = h("div", { className: `panels ${picture.kind}` });
    const lines = picture.panels.flatMap((panel) => panel.lines ?? panel.growths);
    for (const panel of picture.panels) {
      const charts = {
        accuracy: () => dotChart(panel),
        curves: () => curveChart(panel, lines),
        growth: () => growthChart({ ...panel, growths: dashed(panel.growths) }, lines, picture.speed_label.split(", ")[0]),
      };
      const drawn = charts[picture.kind]?.() ?? speedChart(panel, picture.speed_label, picture.kind === "bubbles");
      const [name, about] = panel.title.split("): ");
      const caption = h("figcaption", {}, about ? `${name})` : name, about ? h("small", {}, about) : null);
      const figure = h("figure", {}, caption, drawn, { curves: variants, growth: powers }[picture.kind]?.(panel));
      if (panel.task) figure.dataset.task = panel.task;
      grid.append(figure);
    }
    const part = h("section", { className: "picture" }, h("h3", {}, picture.title, picture.about ? h("small", {}, picture.about) : null), legend(picture), grid);
    if (picture.kind === "curves") part.dataset.task = picture.panels[0].task;
    place.append(part);
  }
}

const dashed = (lines) => {
  const names = [...new Set(lines.map((line) => line.name))];
  return lines.map((line) => ({ ...line, dash: DASHES[names.indexOf(line.name) % DASHES.length] }));
};

function curveChart(panel, behind) {
  const lines = dashed(panel.lines).map((line) => ({ ...line, name: `${short(line.name)}, ${BACKENDS[line.backend]}` }));
  return lineChart({ title: panel.title, unit: "validation accuracy, %", lines, behind, references: panel.references });
}

/** Which dash is which set of options, where a mechanism has several. */
function variants(panel) {
  const lines = dashed(panel.lines), names = [...new Map(lines.map((line) => [line.name, line.dash]))];
  return names.length > 1 ? key(names.map(([name, dash]) => ["line plain", dash, short(name)])) : null;
}

/** The power of the length that each line of a panel grows by. */
function powers(panel) {
  const several = new Set(panel.growths.map((line) => line.name)).size > 1;
  return key(dashed(panel.growths).map((line) => [`line ${line.backend}`, line.dash,
    `${line.exponent === null ? "one length" : `∝ N^${number(line.exponent, 2)}`}${several ? ` ${short(line.name)}` : ""}`]));
}

function legend(picture) {
  const used = new Set(picture.panels.flatMap((panel) => panel.growths ?? [...panel.points, ...panel.lines]).map((each) => each.backend));
  const backends = Object.keys(BACKENDS).filter((name) => used.has(name)).map((name) => h("span", { className: `backend ${name}` }, BACKENDS[name]));
  const told = {
    accuracy: "Thick bar: ± standard deviation over seeds. Thin: one seed, ± standard error of the test set. Hollow: at chance.",
    curves: "Mean over seeds; a band is ± one standard deviation. Grey: the other mechanisms.",
    front: "Dashed: the Pareto front. A point without a name tells it under the pointer.",
    bubbles: "Area: peak memory in training. Dashed: the Pareto front. A point without a name tells it under the pointer.",
    growth: "Dotted: softmax. Grey: the other mechanisms.",
  }[picture.kind];
  const device = picture.speed_label.split(", ").slice(1).join(", ");
  const references = Object.entries(picture.kind === "curves" ? picture.panels[0].references : {});
  const lines = references.map(([name, value], index) => ["reference", index ? "5 2" : "1.5 2", `${name} ${number(value)} % (test)`]);
  return h("div", { className: "legendline" }, ...backends, lines.length ? key(lines) : null, h("p", {}, told, device ? ` Timed on ${device}.` : ""));
}

const tip = document.getElementById("tip");

function showTip(event) {
  const text = event.target.dataset?.tip;
  if (!text) return hideTip();
  tip.textContent = text;
  tip.hidden = false;
  const box = event.target.getBoundingClientRect();
  const x = event.clientX || box.x + box.width / 2, y = event.clientY || box.y;
  tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(8, y - tip.offsetHeight - 12)}px`;
}

function hideTip() {
  tip.hidden = true;
}

all("table.sortable").forEach(sortable);
all(".pictures").forEach(draw);
for (const form of all(".filters")) {
  sortMenu(form);
  for (const kind of ["input", "change"]) form.addEventListener(kind, () => filter(form));
  form.addEventListener("submit", (event) => event.preventDefault());
  filter(form);
}
for (const kind of ["pointermove", "pointerdown", "focusin"]) document.addEventListener(kind, showTip);
document.addEventListener("focusout", hideTip);
addEventListener("hashchange", route);
route();
