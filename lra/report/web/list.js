// Lists of runs. There may be thousands: a row is made when it comes into sight, a run is unpacked when it is opened.
const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs;
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const AT_ONCE = 100;
const MARGIN = 1500; // pixels below the window in which rows are made beforehand

const kindOf = (number) => RUNS.kinds[RUNS.columns.kind[number]];

/** A run with all that is known of it: its block is unpacked, which takes some milliseconds. */
async function unpacked(run) {
  const text = document.getElementById(`runs-${Math.floor(run / RUNS.block)}`).textContent;
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const block = JSON.parse(await new Response(stream).text());
  const row = Object.fromEntries(Object.entries(RUNS.columns).map(([name, values]) => [name, values[run]]));
  return { ...row, ...kindOf(run), ...block[run % RUNS.block] };
}

/** The page of a run, or why it cannot be shown. */
async function opened(run) {
  if (typeof DecompressionStream !== "undefined") return runPage(run, await unpacked(run));
  return [h("h1", {}, RUNS.columns.id[run]), h("p", { className: "lead" }, "This browser cannot unpack a run; one of 2023 or later can.")];
}

/** Fills `body` with what `make` makes of the numbers it is given, AT_ONCE at a time as the last one comes near. */
function gradually(body, make) {
  let numbers = [], drawn = 0;
  const end = h("div", { className: "end" });
  (body.closest(".wide") ?? body).after(end);
  const more = (count = AT_ONCE) => {
    body.append(...numbers.slice(drawn, drawn + count).map(make));
    drawn = Math.min(drawn + count, numbers.length);
  };
  const watch = new IntersectionObserver(([seen]) => {
    if (!seen.isIntersecting || drawn === numbers.length) return;
    more();
    watch.unobserve(end); // asked anew, it tells whether the end is still near
    watch.observe(end);
  }, { rootMargin: `${MARGIN}px` });
  watch.observe(end);
  addEventListener("beforeprint", () => body.checkVisibility() && more(numbers.length));
  return (given) => {
    [numbers, drawn] = [given, 0];
    body.replaceChildren();
    more();
    watch.unobserve(end);
    watch.observe(end);
  };
}

/** One row of the list of runs. */
function runRow(run) {
  const { columns } = RUNS, kind = kindOf(run);
  const cell = (label, className, ...children) => {
    const made = h("td", { className }, ...children);
    made.dataset.label = label;
    return made;
  };
  const figure = (label, name, digits) => cell(label, "more", number(columns[name][run], digits));
  const name = h("a", { className: "name", href: `#run/${columns.id[run]}` }, kind.attn);
  return h("tr", {},
    h("th", { scope: "row" }, name, " ", kind.words ? code(kind.words) : null),
    cell("task", "text", kind.title, " ", h("small", {}, kind.data)),
    cell("backend", "text", backend(kind.backend)),
    cell("preset", "text", kind.preset),
    cell("seed", "", String(columns.seed[run])),
    cell("test accuracy %", "", number(columns.accuracy[run]), " ", h("small", {}, `± ${number(columns.error[run])}`)),
    figure("without learning %", "rule", 1), figure("training s", "seconds", 1),
    figure("samples/s", "speed", 0), figure("peak memory MB", "memory", 0));
}

const backend = (name) => h("span", { className: `backend ${name}` }, BACKENDS[name]);

/** The table of all runs, which sorts and filters numbers and not rows. */
function runList(table) {
  const { columns } = RUNS, collator = new Intl.Collator("en");
  let order = columns.id.map((_, run) => run), words = [];
  const show = gradually(table.querySelector("tbody.rows"), runRow);
  const texts = RUNS.kinds.map((kind) => [kind.attn, kind.words, kind.task, kind.title, kind.backend, kind.preset].join(" ").toLowerCase());
  const fits = (run) => {
    const text = `${texts[columns.kind[run]]} ${columns.id[run]} seed ${columns.seed[run]}`;
    return words.every((word) => text.includes(word));
  };
  const refresh = () => {
    const left = words.length ? order.filter(fits) : order;
    show(left);
    return left.length;
  };
  /** The column's value of each run; of words their place in the alphabet. */
  const values = (index) => {
    const word = [(kind) => `${kind.attn} ${kind.words}`, (kind) => kind.task, (kind) => kind.backend, (kind) => kind.preset][index];
    if (!word) return columns[["seed", "accuracy", "rule", "seconds", "speed", "memory"][index - 4]];
    const each = RUNS.kinds.map(word), sorted = [...new Set(each)].sort(collator.compare);
    const places = new Map(sorted.map((text, place) => [text, place]));
    return columns.kind.map((kind) => places.get(each[kind]));
  };
  sortable(table, (index, down) => {
    const value = values(index);
    order = [...order].sort((one, other) => (down ? value[other] - value[one] : value[one] - value[other]));
    refresh();
  });
  return { filter: (given) => ((words = given), refresh()) };
}

/** The runs of one mechanism, on its card. */
function mechanismList(list) {
  const show = gradually(list, (run) => {
    const { columns } = RUNS, kind = kindOf(run);
    return h("li", {},
      h("a", { href: `#run/${columns.id[run]}` }, `${kind.title}, ${kind.data}`), " ", backend(kind.backend), " ",
      h("span", {}, `${kind.preset}, seed ${columns.seed[run]}`), " ", kind.words ? code(kind.words) : null, " ",
      h("b", {}, `${number(columns.accuracy[run])} `, h("small", {}, `± ${number(columns.error[run])} %`)));
  });
  const own = RUNS.kinds.map((kind) => kind.known && kind.attn === list.dataset.attn);
  show(RUNS.columns.kind.flatMap((kind, run) => (own[kind] ? [run] : [])));
}
