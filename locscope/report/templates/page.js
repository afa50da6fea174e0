"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const config = {
    responsive: true, displaylogo: false, displayModeBar: "hover",
    modeBarButtons: [["toImage", "resetScale2d"]],
  };

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function themed(layout) {
    const axis = { color: colour("--ink"), gridcolor: colour("--line"), linecolor: colour("--line") };
    const hover = { bgcolor: colour("--raised"), bordercolor: colour("--line"), font: { color: colour("--ink") } };
    return {
      ...layout,
      autosize: true,
      paper_bgcolor: "rgba(0,0,0,0)",
      font: { ...layout.font, color: colour("--ink") },
      xaxis: { ...layout.xaxis, ...axis },
      yaxis: { ...layout.yaxis, ...axis },
      hoverlabel: { ...layout.hoverlabel, ...hover },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--soft"), activecolor: colour("--ink") },
    };
  }

  function draw(panel) {
    const select = panel.querySelector("select");
    const view = figures[panel.dataset.figure][select ? Number(select.value) : 0];
    const plot = panel.querySelector(".plot");
    panel.querySelector(".note").textContent = view.note;
    plot.setAttribute("aria-label", view.label);
    // A copy: plotly writes into what it is given.
    const copy = JSON.parse(JSON.stringify(view));
    Plotly.react(plot, copy.data, themed(copy.layout), config);
  }

  const panels = [...document.querySelectorAll(".panel")];
  const drawAll = () => panels.forEach(draw);
  panels.forEach((panel) => {
    const select = panel.querySelector("select");
    if (select) select.addEventListener("change", () => draw(panel));
  });
  drawAll();
  // Plotly itself only listens to the window, but a panel's width also changes with the grid.
  const resized = new ResizeObserver((seen) => seen.forEach(({ target }) => Plotly.Plots.resize(target)));
  panels.forEach((panel) => resized.observe(panel.querySelector(".plot")));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

  function key(row, index) {
    const cell = row.cells[index];
    return "sort" in cell.dataset ? Number(cell.dataset.sort) : cell.textContent;
  }

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
    const rows = [...table.tBodies[0].rows].map((row) => [key(row, index), row]);
    rows.sort(([a], [b]) => missing(a) || missing(b) ? missing(a) - missing(b) : compare(a, b) * (down ? -1 : 1));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }

  function filter(box, words) {
    const rows = [...box.querySelectorAll("tbody tr")];
    const wanted = words.toLowerCase();
    rows.forEach((row) => { row.hidden = !row.textContent.toLowerCase().includes(wanted); });
    const shown = rows.filter((row) => !row.hidden).length;
    box.querySelector(".shown").textContent = wanted ? `${shown} of ${rows.length} rows` : "";
  }

  document.querySelectorAll(".table").forEach((box) => {
    const table = box.querySelector("table");
    [...table.tHead.rows[0].cells].forEach((head, index) => {
      head.querySelector("button").addEventListener("click", () => sortBy(table, index));
    });
    const input = box.querySelector("input");
    if (input) input.addEventListener("input", () => filter(box, input.value));
  });
})();
