// One location in detail: its trials, learning curves, failed edits and broken neighbours.
const details = JSON.parse(document.getElementById("details").textContent);
const place = document.getElementById("one-location");
let shownLocation = null;

const number = (value) => value === null ? "–" : Math.abs(value) < 1e-3 && value !== 0 ? value.toExponential(2) : value.toFixed(3);
const trialName = (trial) => `${trial.rung}${trial.quick ? " (quick)" : ""}, ${trial.edits} edits, lr ${trial.lr}, ${trial.recipe}`;

function rowsTable(name, caption, columns, rows) {
  const isNumber = (cell) => typeof cell === "number" || cell === null;
  const side = (cells) => ({ className: cells.every((cell) => isNumber(cell) || /^[-+.e\d]+$/.test(cell)) ? "number" : "" });
  const heading = (column, i) => make("th", { scope: "col", ...side(rows.map((row) => row[i])) }, column);
  const head = make("tr", {}, ...columns.map(heading));
  const body = rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", side([cell]), isNumber(cell) ? number(cell) : cell))));
  const table = make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body));
  const box = make("div", { className: "table" }, make("div", { className: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table));
  box.dataset.table = name;
  label(box);
  fitted.observe(box);
  return box;
}

function curves(trials, narrow) {
  const dashes = ["solid", "dash", "dot", "dashdot"], shades = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933"];
  return trials.filter((trial) => trial.losses.length > 1).slice(0, 8).map((trial, i) => ({
    type: "scatter", mode: "lines+markers",
    name: narrow ? plain(trialName(trial)).replace(", lr ", ",<br>lr ") : plain(trialName(trial)),
    x: trial.losses.map((_, epoch) => epoch + 1), y: trial.losses,
    line: { color: shades[i], dash: trial.quick ? "dot" : dashes[i % 4], width: 2 }, marker: { size: 5 },
    hovertemplate: `${plain(trialName(trial))}<br>epoch %{x}: loss %{y:.3f}<extra></extra>`,
  }));
}

function redrawLocation() {
  const plot = place?.querySelector(".plot");
  if (!plot) return;
  // Its parent's width: it has none itself while it is hidden.
  const room = plot.parentElement.clientWidth, narrow = room < 600;
  const traces = shownLocation ? curves(details.trials[shownLocation], narrow) : [];
  plot.hidden = !traces.length;
  if (!traces.length) return;
  const below = 56 + Math.ceil(traces.length / Math.max(1, Math.floor(room / 340))) * (narrow ? 36 : 21);
  const title = (text) => ({ text, font: { size: 12 }, standoff: 8 });
  const layout = {
    font: { family: getComputedStyle(document.body).fontFamily, size: 12 },
    height: 260 + below, margin: { l: 56, r: 16, t: 16, b: below }, showlegend: true,
    plot_bgcolor: "rgba(0,0,0,0)", legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0 },
    xaxis: { title: title("epoch"), zeroline: false }, yaxis: { title: title("mean loss (nats)"), zeroline: false },
  };
  plot.setAttribute("aria-label", `Mean loss by epoch of ${shownLocation}, for ${traces.length} trials`);
  Plotly.react(plot, traces, themed(layout), config);
}

function failures(trial) {
  const box = place.querySelector(".failures"), text = (index) => details.texts[index];
  if (!trial) {
    box.replaceChildren(make("p", { className: "note" }, "Only looked at quickly, by probabilities: no answer of single edits was judged."));
    return;
  }
  const rest = trial.failed || trial.broke ? "" : " None failed and no neighbour broke.";
  const left = trial.listed.length && trial.listed.length < Math.max(trial.failed, trial.broke) ? ` The ${trial.listed.length} worst are listed.` : "";
  const line = `${trial.judged} edits judged: ${trial.failed} failed, neighbours of ${trial.broke} broke.${rest}${left}`;
  const rows = trial.listed.map(([edit, reliability, probability, output, broken]) =>
    [text(edit), reliability, probability, text(output) || "–", broken.map(text).join(" | ") || "–"]);
  const columns = ["edit", "reliability", "probability", "answer", "neighbours that broke"];
  box.replaceChildren(make("p", { className: "note" }, line), ...(rows.length ? [rowsTable("failed", "Failed edits and broken neighbours", columns, rows)] : []));
}

function showLocation(name, go) {
  if (!place || !details.trials?.[name]) return;
  shownLocation = name;
  const trials = details.trials[name], judged = trials.filter((trial) => trial.judged);
  const said = [name === details.recommended ? "recommended" : "", ...(details.roles[name] ?? []).filter((role) => role !== "recommended")].filter(Boolean);
  place.querySelector(".chosen").textContent = `${name}${said.length ? ` (${said.join(", ")})` : ""}: ${trials.length} trials`;
  place.querySelector(".which").value = name;
  const columns = ["rung", "split", "edits", "lr", "recipe", "score", ...details.measures, "note"];
  const rows = trials.map((trial) => [
    trial.quick ? `${trial.rung} (quick)` : trial.rung, trial.split, String(trial.edits), trial.lr, trial.recipe,
    trial.score, ...trial.values, trial.note,
  ]);
  const caption = `Trials of ${name}. Scores of quick trials are of probabilities, on another scale.`;
  place.querySelector(".trials").replaceChildren(rowsTable("location-trials", caption, columns, rows));
  const which = place.querySelector(".trial");
  which.replaceChildren(...judged.map((trial, i) => new Option(trialName(trial), i)));
  which.parentElement.hidden = judged.length < 2;
  which.onchange = () => failures(judged[which.value]);
  redrawLocation();
  failures(judged[0]);
  if (go) {
    place.scrollIntoView({ block: "start" });
    place.querySelector("h3").focus({ preventScroll: true });
  }
}

if (place && details.trials) {
  const which = place.querySelector(".which");
  which.replaceChildren(...Object.keys(details.trials).map((name) => new Option(name, name)));
  which.addEventListener("change", () => showLocation(which.value, false));
  document.querySelectorAll("button.open").forEach((button) => {
    button.addEventListener("click", () => showLocation(button.textContent, true));
  });
  showLocation(details.recommended in details.trials ? details.recommended : which.value, false);
}
