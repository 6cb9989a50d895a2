// Which page is shown, and its plots.

/** What an address says, also one that no address of this page is. */
function named(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Shows the view that the address names: #leaderboard, #mechanism/elfatt, #run/0123456789ab. */
async function route() {
  const hash = location.hash, name = named(hash.slice(1)) || "leaderboard";
  const [kind, id] = name.split("/");
  let view = document.getElementById(name);
  if (id !== undefined && kind === "run") {
    const run = RUNS.columns.id.indexOf(id);
    const parts = run < 0 ? [] : await opened(run);
    if (location.hash !== hash) return; // the reader went on while it was unpacked
    view = run < 0 ? null : document.getElementById("run");
    view?.replaceChildren(...parts);
  }
  if (!view?.classList.contains("view") || name === "run") view = document.getElementById("nothing");
  for (const each of all(".view")) each.classList.toggle("on", each === view);
  const section = { mechanism: "mechanisms", run: "runs" }[kind] || kind;
  for (const link of all("nav a")) link.toggleAttribute("aria-current", link.hash === `#${section}`);
  const title = view.querySelector("h1").textContent;
  document.title = `${title} · Long Range Arena`;
  document.documentElement.dataset.shown = hash;
  hideTip();
  scrollTo(0, 0);
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
  const rings = picture.panels.some((panel) => panel.growths?.some((line) => line.crossing));
  const told = {
    accuracy: "Thick bar: ± standard deviation over seeds. Thin: one seed, ± standard error of the test set. Hollow: at chance.",
    curves: "Mean over seeds; a band is ± one standard deviation. Grey: the other mechanisms.",
    front: "Dashed: the Pareto front. A point without a name tells it under the pointer.",
    bubbles: "Area: peak memory in training. Dashed: the Pareto front. A point without a name tells it under the pointer.",
    growth: `Dotted: softmax. Grey: the other mechanisms.${rings ? " Ring: faster than softmax from here." : ""}`,
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

all("table.sortable").forEach(hold);
const LIST = runList(document.querySelector("table.list"));
all("ul.runs").forEach(mechanismList);
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
