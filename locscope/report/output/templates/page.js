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

  const drawn = new Set();
  const folded = (panel) => panel.closest("details:not([open])") !== null;

  function draw(panel) {
    const select = panel.querySelector("select");
    const view = figures[panel.dataset.figure][select ? Number(select.value) : 0];
    const plot = panel.querySelector(".plot");
    panel.querySelector(".note").textContent = view.note;
    plot.setAttribute("aria-label", view.label);
    plot.style.minWidth = view.width ? `${view.width}px` : "";
    // A copy: plotly writes into what it is given.
    const copy = JSON.parse(JSON.stringify(view));
    Plotly.react(plot, copy.data, themed(copy.layout), config);
    drawn.add(panel);
  }

  // Tables and figures of a scan follow the variant that is shown beside them.
  function follow(scan, variant) {
    scan.querySelectorAll("[data-variant]").forEach((part) => { part.hidden = part.dataset.variant !== variant; });
    scan.querySelectorAll(".panel").forEach((panel) => {
      const views = figures[panel.dataset.figure], select = panel.querySelector("select");
      if (!select || views[select.value].variant === variant) return;
      const index = views.findIndex((view) => view.variant === variant);
      if (index < 0) return;
      select.value = index;
      if (drawn.has(panel)) draw(panel);
    });
  }

  const chosen = (panel) => figures[panel.dataset.figure][panel.querySelector("select")?.value ?? 0];
  const panels = [...document.querySelectorAll(".panel")];
  panels.forEach((panel) => {
    const select = panel.querySelector("select"), scan = panel.closest(".scan");
    if (select) select.addEventListener("change", () => {
      draw(panel);
      if (scan) follow(scan, chosen(panel).variant);
    });
    if (!folded(panel)) draw(panel);
  });
  document.querySelectorAll(".scan").forEach((scan) => {
    const inside = panels.filter((panel) => scan.contains(panel));
    if (inside.length) follow(scan, chosen(inside[0]).variant);
    scan.addEventListener("toggle", () => inside.forEach((panel) => {
      if (scan.open && !drawn.has(panel)) draw(panel);
    }));
  });
  // Plotly itself only listens to the window, but a panel's width also changes with the grid.
  const resized = new ResizeObserver((seen) => seen.forEach(({ target }) => {
    if (target.clientWidth && drawn.has(target.closest(".panel"))) Plotly.Plots.resize(target);
  }));
  panels.forEach((panel) => resized.observe(panel.querySelector(".plot")));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(draw));

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
