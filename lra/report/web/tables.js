// What a reader does with the tables: sorting, and filtering by a form.
const HELD = new Map(); // table -> all its rows in their order, which of them fit the form, and what shows those

/** Takes the rows of a table into its hands: of thousands only those in sight are part of the page. */
function hold(table) {
  const body = table.querySelector("tbody.rows"), rows = [...body.rows];
  const show = rows.length > AT_ONCE ? gradually(body, (row) => row) : (fitting) => body.replaceChildren(...fitting);
  HELD.set(table, { rows, fits: () => true, show });
  if (rows.length > AT_ONCE) show(rows);
  sortable(table, (index, down) => sort(table, index, down));
}

/** Sorts a table's rows by one column, those without a number there last; `down` is largest first. */
function sort(table, index, down) {
  const { rows, fits, show } = HELD.get(table);
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
  rows.sort(compare);
  show(rows.filter(fits));
}

/** A first click sorts numbers from the largest and words from A; a second turns that round. */
function sortable(table, sorts) {
  const heads = all(".heads th", table);
  heads.forEach((head, index) => {
    head.querySelector("button").addEventListener("click", () => {
      const before = head.getAttribute("aria-sort"), down = before ? before === "ascending" : !head.classList.contains("text");
      sorts(index, down);
      for (const each of heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
    });
  });
}

/** Rows, columns and plots that fit the form's choices; the form says how many rows are left. */
function filter(form) {
  const view = form.closest(".view"), given = new FormData(form);
  const words = String(given.get("text")).toLowerCase().split(/\s+/).filter(Boolean), said = form.querySelector("output");
  if (view.id === "runs") return (said.textContent = counted(LIST.filter(words), RUNS.columns.id.length));
  const task = given.get("task") || "", backend = given.get("backend") || "", preset = given.get("preset") || "";
  const pick = (root) => {
    for (const each of all("[data-task]", root)) each.hidden = task !== "" && each.dataset.task !== task;
    for (const each of all("[data-average]", root)) each.hidden = task !== "";
  };
  for (const each of all("[data-preset]", view)) each.hidden = preset !== "" && each.dataset.preset !== preset;
  const fits = (row) => {
    const text = row.dataset.text.toLowerCase();
    const ran = !task || all("td[data-task][data-value]", row).some((cell) => cell.dataset.task === task);
    return ran && words.every((word) => text.includes(word)) && (!backend || row.dataset.backend === backend);
  };
  let left = 0, total = 0;
  for (const table of all("table.board", view)) {
    const held = Object.assign(HELD.get(table), { fits }), fitting = held.rows.filter(fits);
    held.rows.forEach(pick);
    held.show(fitting);
    if (table.dataset.kind === "controls") continue;
    total += held.rows.length;
    left += table.closest("[hidden]") ? 0 : fitting.length;
  }
  pick(view);
  all("table.board", view).forEach(spanGroups);
  said.textContent = counted(left, total);
}

const counted = (left, total) => (left === total ? `${number(total, 0)} rows` : `${number(left, 0)} of ${number(total, 0)} rows`);

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
