// Figures: drawn when they are first seen, themed, and followed by what stands beside them.
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
const chosen = (panel) => figures[panel.dataset.figure][panel.querySelector("select.view")?.value ?? 0];

// Plotly reads labels as a little HTML, and tokens may look like some.
const plain = (words) => words.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

// The map of another fact, put into the figure of the first one.
function ofFact(view, fact) {
  const copy = JSON.parse(JSON.stringify(view)), [heat] = copy.data, rows = fact.values;
  const columns = fact.tokens.map((token, i) => plain(`${i}:${token}`));
  const subject = new Set(fact.subject), all = rows.flat().filter((v) => v !== null);
  const far = Math.max(...all.map(Math.abs)), both = all.some((v) => v < 0) && all.some((v) => v > 0);
  const turned = heat.reversescale;
  Object.assign(heat, {
    x: columns, z: rows,
    customdata: rows.map((row, layer) => row.map((value, i) => plain(`L${layer}.${view.part}`) +
      `<br>token ${i} of ${columns.length}${subject.has(i) ? ", of the subject" : ""}: ` +
      `${plain(fact.tokens[i])}<br>value ${value ?? "–"}`)),
    colorscale: both ? "RdBu" : "Viridis", reversescale: turned,
    zmin: both ? -far : Math.min(...all), zmax: both ? far : Math.max(...all),
  });
  copy.data.length = 1;
  const label = (token, i) => {
    const cut = token.length > 18 ? `${token.slice(0, 17)}…` : token;
    return subject.has(i) ? `<b>${plain(cut)} *</b>` : plain(cut);
  };
  Object.assign(copy.layout.xaxis, {
    categoryarray: columns, range: [-0.5, columns.length - 0.5],
    tickvals: columns.map((_, i) => i), ticktext: fact.tokens.map(label),
  });
  const bands = fact.subject.filter((i) => !subject.has(i - 1)).map((first) => {
    let last = first;
    while (subject.has(last + 1)) last += 1;
    return [first, last];
  });
  copy.layout.shapes = bands.map(([first, last]) => ({
    type: "rect", x0: first - 0.5, x1: last + 0.5, y0: -0.5, y1: rows.length - 0.5,
    line: { color: "#D55E00", width: 2.5 },
  }));
  copy.note = `${view.key} Of edit ${fact.edit}; the answer followed is “${fact.answer}”. ` +
    "Outlined, in bold and with an asterisk: the subject.";
  copy.label = `${view.name}, for “${fact.tokens.join("")}”`;
  copy.width = Math.max(view.width, 70 + 11 * columns.length);
  return copy;
}

function facts(panel, view) {
  const label = panel.querySelector(".facts");
  if (!label) return null;
  label.hidden = !view.facts;
  if (!view.facts) return null;
  const select = label.querySelector("select");
  if (select.options.length !== view.facts.length) {
    select.replaceChildren(...view.facts.map((fact, i) => new Option(`${fact.edit}: ${fact.prompt} → ${fact.answer}`, i)));
  }
  const fact = view.facts[Number(select.value) || 0];
  return fact;
}

function draw(panel) {
  let view = chosen(panel);
  const plot = panel.querySelector(".plot"), fact = facts(panel, view);
  if (fact && fact !== view.facts[0]) view = ofFact(view, fact);
  panel.querySelector(".note").textContent = view.note;
  plot.setAttribute("aria-label", view.label);
  plot.style.minWidth = view.width ? `${view.width}px` : "";
  // A copy: plotly writes into what it is given.
  const copy = JSON.parse(JSON.stringify(view));
  Plotly.react(plot, copy.data, themed(copy.layout), config);
  if (!drawn.has(panel)) {
    plot.on("plotly_click", ({ points: [point] }) => opened(point));
    showRecommended(plot);
  }
  drawn.add(panel);
}

// Where the columns need more room than there is, those of the recommendation are shown first.
function showRecommended(plot) {
  const outline = plot.layout.shapes?.find((shape) => shape.name === "recommended"), axis = plot._fullLayout?.xaxis;
  const box = plot.parentElement;
  if (!outline || !axis?.r2p || box.scrollWidth <= box.clientWidth) return;
  const right = axis._offset + axis.r2p(outline.x1) + 8;
  if (right > box.clientWidth) box.scrollLeft = right - box.clientWidth;
}

// What a click on a cell, a bar or a point is of.
function opened(point) {
  const names = point.data.meta?.locations ?? [], number = point.pointNumber;
  const name = Array.isArray(number) ? names[number[0]]?.[number[1]] : names[number];
  if (name) showLocation(name, true);
}

// Tables and figures of a scan follow the variant that is shown beside them.
function follow(scan, variant) {
  scan.querySelectorAll("[data-variant]").forEach((part) => { part.hidden = part.dataset.variant !== variant; });
  scan.querySelectorAll(".panel").forEach((panel) => {
    const views = figures[panel.dataset.figure], select = panel.querySelector("select.view");
    if (!select || views[select.value].variant === variant) return;
    const index = views.findIndex((view) => view.variant === variant);
    if (index < 0) return;
    select.value = index;
    if (drawn.has(panel)) draw(panel);
  });
}

// Runs beside each other show the same measure.
function sameChoice(panel, select) {
  const own = panel.querySelector("select.view"), wanted = select.selectedOptions[0].textContent;
  const index = own && own !== select ? [...own.options].findIndex((option) => option.textContent === wanted) : -1;
  if (index < 0 || own.value === String(index)) return;
  own.value = index;
  draw(panel);
}

const panels = [...document.querySelectorAll(".panel")];
panels.forEach((panel) => {
  const select = panel.querySelector("select.view"), scan = panel.closest(".scan");
  if (select) select.addEventListener("change", () => {
    draw(panel);
    if (scan) follow(scan, chosen(panel).variant);
    panel.closest(".together")?.querySelectorAll(".panel").forEach((other) => sameChoice(other, select));
  });
  panel.querySelector(".facts select")?.addEventListener("change", () => draw(panel));
  if (!folded(panel)) draw(panel);
});
document.querySelectorAll("details").forEach((box) => {
  const inside = panels.filter((panel) => box.contains(panel));
  if (box.matches(".scan") && inside.length) follow(box, chosen(inside[0]).variant);
  box.addEventListener("toggle", () => inside.forEach((panel) => {
    if (box.open && !folded(panel) && !drawn.has(panel)) draw(panel);
  }));
});
// Plotly itself only listens to the window, but a panel's width also changes with the grid.
const resized = new ResizeObserver((seen) => seen.forEach(({ target }) => {
  if (target.clientWidth && drawn.has(target.closest(".panel"))) Plotly.Plots.resize(target);
}));
panels.forEach((panel) => resized.observe(panel.querySelector(".plot")));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  drawn.forEach(draw);
  redrawLocation();
});
