// Tables: sorted, filtered, columns chosen, saved as CSV, and never wider than their place.
function make(tag, attributes, ...inside) {
  const element = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => {
    if (name in element) element[name] = value; else element.setAttribute(name, value);
  });
  element.append(...inside);
  return element;
}

const sortKey = (cell) => "sort" in cell.dataset ? Number(cell.dataset.sort) : cell.textContent;

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

function sortBy(table, index) {
  const heads = [...table.tHead.rows[0].cells];
  const down = heads[index].getAttribute("aria-sort") === "ascending";
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[index].setAttribute("aria-sort", down ? "descending" : "ascending");
  const missing = (value) => Number.isNaN(value);
  const rows = [...table.tBodies[0].rows].map((row) => [sortKey(row.cells[index]), row]);
  rows.sort(([a], [b]) => missing(a) || missing(b) ? missing(a) - missing(b) : compare(a, b) * (down ? -1 : 1));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

// A row shows where it has the words in any column and every value chosen of a column.
function filter(box) {
  const rows = [...box.querySelectorAll("tbody tr")];
  const words = (box.querySelector("input[type=search]")?.value ?? "").toLowerCase();
  const facets = [...box.querySelectorAll("select.facet")].filter((select) => select.value !== "");
  rows.forEach((row) => {
    const fits = facets.every((select) => row.cells[select.dataset.column].textContent === select.value);
    row.hidden = !fits || !row.textContent.toLowerCase().includes(words);
  });
  const shown = rows.filter((row) => !row.hidden).length;
  const said = words || facets.length ? `${shown} of ${rows.length} rows` : "";
  box.querySelectorAll(".shown").forEach((place) => { place.textContent = said; });
}

// What stands in a cell for programs: the whole number, and no text that a spreadsheet would run.
function csvField(cell) {
  const text = "sort" in cell.dataset ? cell.dataset.sort : cell.textContent.trim();
  const safe = !("sort" in cell.dataset) && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  const value = safe === "nan" ? "" : safe;
  return /[",\n\r]/.test(value) ? `"${value.replace(/"/g, '""')}"` : value;
}

function csv(table) {
  const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
  const head = [...table.tHead.rows[0].cells].map((cell) => csvField(cell));
  return [head, ...rows.map((row) => [...row.cells].map(csvField))].map((row) => row.join(",")).join("\r\n") + "\r\n";
}

function download(box) {
  const address = URL.createObjectURL(new Blob([csv(box.querySelector("table"))], { type: "text/csv" }));
  const link = make("a", { href: address, download: `${box.dataset.table}.csv` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

function showColumn(table, index, shown) {
  [...table.rows].forEach((row) => { row.cells[index].hidden = !shown; });
}

// As a table where it fits, else a card per row: no table is wider than its place.
function fit(box) {
  const table = box.querySelector("table"), place = table.parentElement;
  if (!place.clientWidth) return;
  box.classList.remove("stacked");
  box.classList.toggle("stacked", table.scrollWidth > place.clientWidth + 1);
}

function facet(box, table, name) {
  const index = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === name);
  const values = new Set([...table.tBodies[0].rows].map((row) => row.cells[index].textContent));
  const options = [...values].sort((a, b) => compare(a, b)).map((value) => new Option(value, value));
  const select = make("select", { className: "facet" }, new Option("all", ""), ...options);
  select.dataset.column = index;
  select.addEventListener("change", () => filter(box));
  return make("label", {}, `${name} `, select);
}

function chooser(box, table, hidden) {
  const heads = [...table.tHead.rows[0].cells];
  const ticks = heads.map((head, index) => {
    const shown = !hidden.includes(head.textContent);
    if (!shown) showColumn(table, index, false);
    const tick = make("input", { type: "checkbox", checked: shown });
    tick.addEventListener("change", () => { showColumn(table, index, tick.checked); fit(box); });
    return make("label", {}, tick, ` ${head.textContent}`);
  });
  return make("details", { className: "columns" }, make("summary", {}, "Columns"), make("div", {}, ...ticks));
}

const tables = [...document.querySelectorAll(".table")];
tables.forEach((box) => {
  const table = box.querySelector("table"), heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, index) => head.querySelector("button")?.addEventListener("click", () => sortBy(table, index)));
  const tools = box.querySelector(".tools");
  if (tools && "facets" in box.dataset) {
    const facets = box.dataset.facets.split(",").filter(Boolean).map((name) => facet(box, table, name));
    const save = make("button", { type: "button", className: "save" }, "Download CSV");
    save.addEventListener("click", () => download(box));
    tools.append(...facets, chooser(box, table, box.dataset.hidden.split(",")), save);
  }
  box.querySelector("input[type=search]")?.addEventListener("input", () => filter(box));
  label(box);
});

// The name of its column before every cell, for the cards.
function label(box) {
  const table = box.querySelector("table");
  const names = [...table.tHead.rows[0].cells].map((head) => head.textContent);
  [...table.tBodies[0].rows].forEach((row) => [...row.cells].forEach((cell, i) => { cell.dataset.label = names[i]; }));
}
const fitted = new ResizeObserver((seen) => seen.forEach(({ target }) => fit(target)));
tables.forEach((box) => fitted.observe(box));
