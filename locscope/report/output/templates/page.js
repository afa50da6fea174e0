// The page: what is copied, where one is, and how it is printed.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages of some browsers may not write to the clipboard when they are opened as a file.
    const area = make("textarea", { value: text });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
document.querySelectorAll("button.copy").forEach((button) => button.addEventListener("click", async () => {
  const done = await copy(button.closest(".snippet").querySelector("pre").textContent);
  button.textContent = done ? "Copied" : "Select and copy by hand";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}));

const links = [...document.querySelectorAll("nav a")];
const headings = links.map((link) => document.getElementById(link.dataset.to));
function mark() {
  const passed = headings.filter((heading) => heading.getBoundingClientRect().top < innerHeight / 3);
  const here = Math.max(0, passed.length - 1);
  links.forEach((link, i) => i === here ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current"));
}
links.forEach((link, i) => link.addEventListener("click", (event) => {
  event.preventDefault();
  headings[i].scrollIntoView({ block: "start" });
  headings[i].focus({ preventScroll: true });
}));
addEventListener("scroll", mark, { passive: true });
mark();

// On paper nothing unfolds and nothing scrolls: all is opened, and fitted to the width of a page.
const closed = new Set();
addEventListener("beforeprint", () => {
  document.querySelectorAll("details:not([open]):not(.columns)").forEach((box) => { closed.add(box); box.open = true; });
  document.body.classList.add("printed");
  panels.forEach((panel) => {
    if (!drawn.has(panel)) draw(panel);
    panel.querySelector(".plot").style.minWidth = "";
    panel.querySelector(".sideways").scrollLeft = 0;
  });
  // Plotly's own resizing waits a tenth of a second, and the page is printed before.
  document.querySelectorAll(".plot.js-plotly-plot").forEach((plot) => Plotly.relayout(plot, { width: plot.parentElement.clientWidth }));
  redrawLocation();
  document.querySelectorAll(".table").forEach(fit);
});
addEventListener("afterprint", () => {
  closed.forEach((box) => { box.open = false; });
  closed.clear();
  document.body.classList.remove("printed");
  panels.forEach((panel) => { if (drawn.has(panel)) draw(panel); });
  redrawLocation();
  document.querySelectorAll(".table").forEach(fit);
});
