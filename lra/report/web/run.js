// The page of one run: its numbers, its curve, its configuration and the command that makes it again.

const MOST_SIBLINGS = 40;

/** An HTML element with properties and children; what is undefined is left out. */
function h(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== undefined && child !== null));
  return node;
}

const figures = (pairs) =>
  h("dl", { className: "figures" }, ...pairs.map(([name, value, unit]) => h("div", {}, h("dt", {}, name), h("dd", {}, value, unit ? h("small", {}, ` ${unit}`) : null))));

/** Name and value pairs; what is itself an object becomes a list of its own. */
function sheet(values, changed = []) {
  const list = h("dl", { className: "sheet" });
  for (const [name, value] of Object.entries(values)) {
    const flag = name.replaceAll("_", "-");
    const differs = changed.some((word) => word.endsWith(`.${flag}`) || word.endsWith(`.no-${flag}`));
    const text = value !== null && typeof value === "object" ? JSON.stringify(value) : value === null ? "–" : String(value);
    list.append(h("dt", {}, name.replaceAll("_", " ")), h("dd", { className: differs ? "changed" : "" }, text));
  }
  return list;
}

function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${number(seconds)} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** Lines that say what is what in a chart. */
function key(entries) {
  const items = entries.map(([look, dash, text]) => {
    const sample = svg("svg", { viewBox: "0 0 26 8", class: "sample" });
    sample.append(svg("line", { class: look, x1: 0, x2: 26, y1: 4, y2: 4, "stroke-dasharray": dash || null }));
    return h("span", {}, sample, text);
  });
  return h("p", { className: "key" }, ...items);
}

/** Accuracy and loss over the steps, in training since the evaluation before and on validation. */
function curves(run) {
  const line = (name, mean, dash) => ({ name, dash, backend: run.backend, seeds: 1, steps: run.curve.step, mean });
  const pair = (part) => [
    line("validation", run.curve[`validation_${part}`], ""),
    line("training", run.curve[`train_${part}`], DASHES[2]),
  ];
  const [rule, best] = Object.entries(run.references).reduce((one, other) => (other[1] > one[1] ? other : one));
  const references = { chance: run.references.chance, ...(rule === "chance" ? {} : { [rule]: best }) };
  const size = NARROW ? {} : { width: 520, height: 300 };
  return h(
    "figure", { className: "pair" },
    lineChart({ ...size, title: "accuracy", unit: "accuracy, %", lines: pair("accuracy"), references, digits: 2 }),
    lineChart({ ...size, title: "loss", unit: "loss, nats an example", lines: pair("loss"), digits: 4 }),
    h("figcaption", {}, key([
      [`line ${run.backend}`, "", "validation"],
      [`line ${run.backend}`, DASHES[2], "training, mean since the last evaluation"],
      ...Object.entries(references).map(([name, value], index) => ["reference", index ? "5 2" : "1.5 2", `${name} ${number(value)} % (test)`]),
    ])),
  );
}

/** The curve as numbers, for those who do not hover. */
function numbers(run) {
  const names = Object.keys(run.curve);
  const rows = run.curve.step.map((_, i) => h("tr", {}, ...names.map((name) => h("td", {}, name === "step" ? number(run.curve.step[i], 0) : number(run.curve[name][i], name.endsWith("accuracy") ? 2 : 4)))));
  const head = h("thead", {}, h("tr", { className: "heads" }, ...names.map((name) => h("th", { scope: "col" }, name.replaceAll("_", " ") + (name.endsWith("accuracy") ? " %" : "")))));
  return h("details", {}, h("summary", {}, "The curve as numbers"), h("div", { className: "wide scroll" }, h("table", { className: "printed" }, head, h("tbody", {}, ...rows))));
}

/** Words of a command line, which break between them and not at their hyphens. */
const code = (text) => h("code", { className: "words" }, ...text.split(" ").flatMap((word) => [h("span", {}, word), " "]));

function commandBox(command) {
  const button = h("button", { type: "button", className: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(command);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(button.previousElementSibling);
      button.textContent = "Selected";
    }
  });
  return h("div", { className: "command" }, code(command), button);
}

/** The other runs of the same mechanism, options, backend and preset on the same data. */
function siblings(id) {
  const { columns } = RUNS;
  const found = columns.kind.flatMap((kind, other) => (kind === columns.kind[id] && other !== id ? [other] : []));
  found.sort((one, other) => columns.seed[one] - columns.seed[other]);
  if (!found.length) return null;
  const links = found.slice(0, MOST_SIBLINGS).flatMap((other, i) => [
    i ? ", " : "", h("a", { href: `#run/${columns.id[other]}` }, `seed ${columns.seed[other]}: ${number(columns.accuracy[other])} %`),
  ]);
  const more = found.length > MOST_SIBLINGS ? `, and ${number(found.length - MOST_SIBLINGS, 0)} more` : null;
  return h("p", { className: "siblings" }, "The same with other seeds: ", ...links, more);
}

/** The page of the run of this number, with all that is known of it. */
function runPage(id, run) {
  const attention = run.known ? h("a", { href: `#mechanism/${run.attn}` }, run.attn) : run.attn;
  const unlearned = Object.entries(run.references).map(([name, value]) => [name, number(value), "% without learning"]);
  return [
    h("p", { className: "crumb" }, h("a", { href: "#runs" }, "Runs")),
    h("h1", {}, attention, ` on ${run.title}`),
    h("p", { className: "lead" },
      h("span", { className: `backend ${run.backend}` }, BACKENDS[run.backend]), ` preset ${run.preset}, seed ${run.seed}, ${run.data}`,
      run.words ? code(run.words) : null),
    run.undertrained ? h("p", { className: "caution" }, "Preset quick shows whether it learns: undertrained, not a ranking.") : null,
    figures([
      ["test accuracy", `${number(run.accuracy)} ± ${number(run.error)}`, "%, ± s.e."],
      ["at the last step", number(run.last), "%"],
      ["best validation", number(run.validation), `% at step ${number(run.best_step, 0)}`],
      ...unlearned,
    ]),
    h("p", {}, `One seed, ${number(run.examples, 0)} test examples: ${run.verdict}.`),
    siblings(id),
    curves(run),
    numbers(run),
    figures([
      ["training", duration(run.seconds)], ["evaluation", duration(run.evaluation_seconds)],
      ["speed", number(run.speed, 0), "samples/s"], ["peak memory", number(run.memory, 0), "MB"],
      ["parameters", number(run.parameters, 0)],
    ]),
    run.untimed ? h("p", { className: "caution" }, `These times are no timing: ${run.untimed}.`) : null,
    h("h2", {}, "Make it again"),
    commandBox(run.command),
    h("h2", {}, "Configuration"),
    run.changed.length ? h("p", {}, "Marked: what differs from the preset.") : null,
    h("div", { className: "sheets" }, ...Object.entries(run.config).map(([part, values]) =>
      h("section", {}, h("h3", {}, part), sheet(values, part === "options" ? run.words.split(" ") : run.changed.filter((word) => word.startsWith(`--${part}.`)))))),
    h("h2", {}, "Origin"),
    h("div", { className: "sheets" },
      h("section", {}, h("h3", {}, "record"), sheet({ "run id": run.id, "data hash": run.data_hash, validation: run.validated, ...run.git })),
      h("section", {}, h("h3", {}, "environment"), sheet(run.environment))),
  ].filter(Boolean);
}
