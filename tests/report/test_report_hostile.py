"""Whatever a record's texts say, the page that shows them runs nothing of it and has no element of
theirs: tried in a browser with hundreds of strings, in every place where a text can stand."""

import base64
import html
import json
import shutil
import subprocess
from dataclasses import fields, is_dataclass, replace
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest
import report_factory as factory
import report_scans as scans

from locscope.report.data.inputs import ReportInputs
from locscope.report.output.comparison import render_comparison
from locscope.report.output.page import render_report

RUN = "top.hostile=1"
"""What each string would run: the page that frames the report looks for it."""
VECTORS = (
    f"<script>{RUN}</script>",
    f"<script src=data:text/javascript,{RUN}></script>",
    f"<script type=module>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f"<img/src='x'/onerror='{RUN}'//",
    f"<svg onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>",
    f"<svg><foreignObject><img src=x onerror={RUN}></foreignObject></svg>",
    f'<svg><a xlink:href="javascript:{RUN}"><text>go</text></a></svg>',
    f"<iframe srcdoc='&lt;script&gt;{RUN}&lt;/script&gt;'></iframe>",
    f'<iframe src="javascript:{RUN}"></iframe>',
    f"<body onload={RUN}>",
    f"<details open ontoggle={RUN}>",
    f"<input autofocus onfocus={RUN}>",
    f"<video><source onerror={RUN}></video>",
    f"<audio src=x onerror={RUN}>",
    f"<object data='javascript:{RUN}'></object>",
    f"<embed src='javascript:{RUN}'>",
    f"<marquee onstart={RUN}>",
    f"<a href='javascript:{RUN}'>go</a>",
    f"<a href='https://example.invalid' onmouseover={RUN}>go</a>",
    f"<form action='javascript:{RUN}'><button>go</button></form>",
    f"<math><mtext><img src=x onerror={RUN}></mtext></math>",
    f"<template><script>{RUN}</script></template>",
    f"<noscript><img src=x onerror={RUN}></noscript>",
    f"<select><option onfocus={RUN}></select>",
    f"<meta http-equiv=refresh content='0;url=javascript:{RUN}'>",
    "<base href='https://example.invalid/'>",
    "<link rel=stylesheet href='https://example.invalid/x.css'>",
    "<style>*{display:none}@import 'https://example.invalid/x.css';</style>",
    "<plaintext>",
    "<x-bad style=position:fixed>",
    f" onerror={RUN} onload={RUN} autofocus onfocus={RUN} x=",
    f";{RUN};",
    f"${{{RUN}}}",
    f"{{{{{RUN}}}}}",
    f"&lt;img src=x onerror={RUN}&gt;",
    f"\\u003cimg src=x onerror={RUN}\\u003e",
    f"javascript:{RUN}",
)
FETCHES = "<img src='https://example.invalid/x'>"
BREAKERS = (
    *("", '"', "'", '">', "'>", "-->", "]]>", "</td>", "</script>", "</style>", "</title>"),
    *("</textarea>", "<!--", "\\"),
)
"""What would end the place that a string stands in."""
HOSTILE = tuple(f"{n}:{end}{what}" for n, (end, what) in enumerate(product(BREAKERS, VECTORS)))
KEPT = ("location", "part", "split", "rung", "kind", "order", "verb", "started", "function")
KEPT += ("objective", "weights", "bounds")
"""Fields that are read on, or come from tables of ours: no input gets there."""
OWN = {"name": ("Measure", "Descriptor"), "status": ("RunInfo",), "variant": ("ScanVerdict",)}
"""The same for fields that are an input's in other records."""


class Spoiler:
    """Puts hostile strings behind the texts of records; equal texts stay equal, as reports join
    by them."""

    def __init__(self, first: int) -> None:
        self.next = cycle(HOSTILE[first:] + HOSTILE[:first])
        self.made: dict[str, str] = {}

    def of(self, value: Any) -> Any:
        """The value with every text in it spoilt."""
        if isinstance(value, str):
            return self.made.setdefault(value, value + next(self.next)) if value else value
        if isinstance(value, tuple):
            return tuple(map(self.of, value))
        if isinstance(value, dict):
            return {self.of(key): self.of(inner) for key, inner in value.items()}
        if not is_dataclass(value) or isinstance(value, type):
            return value
        kind = type(value).__name__
        names = (one.name for one in fields(value) if one.init and one.name not in KEPT)
        names = [name for name in names if kind not in OWN.get(name, ())]
        return replace(value, **{name: self.of(getattr(value, name)) for name in names})


def spoilt(inputs: ReportInputs, first: int) -> ReportInputs:
    made = Spoiler(first).of(inputs)
    return replace(made, run=replace(made.run, notes=HOSTILE))


PROBE = """<body><iframe style="border:0;width:1200px;height:2000px" srcdoc="{page}"></iframe>
<script>
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const errors = [];
onload = async () => {{
  const frame = document.querySelector("iframe"), inner = frame.contentDocument;
  frame.contentWindow.addEventListener("error", (event) => errors.push(event.message));
  const Plotly = frame.contentWindow.Plotly;
  inner.querySelectorAll("details").forEach((one) => {{ one.open = true; }});
  await wait(500);
  for (const select of inner.querySelectorAll("select"))
    for (let i = 0; i < select.options.length; i++) {{
      select.value = i;
      select.dispatchEvent(new Event("change"));
      const plot = select.closest(".panel")?.querySelector(".plot");
      try {{ Plotly.Fx.hover(plot, [{{curveNumber: 0, pointNumber: 0}}]); }} catch {{}}
      await wait(5);
    }}
  await wait(1500);
  const all = [...inner.querySelectorAll("*")];
  const names = [...new Set(all.map((one) => one.localName))].sort();
  const attributes = [...new Set(all.flatMap((one) => [...one.attributes].map((a) => a.name)))];
  const links = all.flatMap((one) => [...one.attributes]).filter(
    (a) => /^(xlink:)?href$|^src|^action$|^data$/.test(a.name)).map((a) => a.value);
  const text = inner.body.textContent;
  const found = {{
    ran: top.hostile ?? 0, names, on: attributes.filter((name) => name.startsWith("on")),
    scripts: inner.scripts.length, plots: inner.querySelectorAll(".main-svg").length, errors,
    links: [...new Set(links)].filter(
      (one) => !one.startsWith("#") && !one.startsWith("data:image/png;")),
    fetched: frame.contentWindow.performance.getEntriesByType("resource").length,
    missing: {hostile}.filter((one) => !text.includes(one)).length,
  }};
  document.body.textContent = "";
  const out = document.createElement("pre");
  out.textContent = "found" + btoa(unescape(encodeURIComponent(JSON.stringify(found)))) + "found";
  document.body.append(out);
}};
</script>"""


def looked_at(page: str, folder: Path) -> dict[str, Any]:
    """What a browser says of a page of which every figure was drawn and hovered over."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium here")
    wanted = json.dumps(HOSTILE).replace("<", "\\u003c")
    probe = PROBE.format(page=html.escape(page), hostile=wanted)
    folder.mkdir()
    (folder / "probe.html").write_text(probe, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    options += ["--disable-background-networking", "--disable-component-update"]
    options += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=60000"]
    command = [browser, *options, "--dump-dom", (folder / "probe.html").as_uri()]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    return json.loads(base64.b64decode(seen.split("found")[-2]))


CLEAN = {
    "search": lambda: render_report(factory.inputs()),
    "scan": lambda: render_report(scans.scan_run()),
    "comparison": lambda: render_comparison((factory.inputs(), scans.scan_run(), factory.inputs())),
}


def pages_of(name: str) -> str:
    """A page whose every text is hostile."""
    search, scan = spoilt(factory.inputs(), 0), spoilt(scans.scan_run(), 300)
    if name == "comparison":
        return render_comparison((search, scan, spoilt(factory.inputs(), 150)))
    return render_report(search if name == "search" else scan)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", CLEAN)
def test_nothing_of_a_record_runs_or_becomes_an_element(name: str, tmp_path: Path) -> None:
    before = looked_at(CLEAN[name](), tmp_path / "clean")
    page = pages_of(name)
    found = looked_at(page, tmp_path / "hostile")
    assert len(set(HOSTILE)) >= 533
    assert (found["ran"], found["on"], found["errors"], found["fetched"]) == (0, [], [], 0)
    assert set(found["names"]) <= set(before["names"])
    assert (found["scripts"], found["links"]) == (before["scripts"], before["links"])
    assert found["plots"] >= before["plots"] > 0
    # Of the notes of a run none is lost, which are all of them; a comparison shows no notes.
    assert found["missing"] == 0 or (name == "comparison" and found["missing"] < len(HOSTILE))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_probe_sees_what_would_run(tmp_path: Path) -> None:
    """Else nothing that the test above looks at could be wrong."""
    raw = CLEAN["search"]().replace("</main>", f"{VECTORS[3]}{FETCHES}<x-bad></x-bad></main>")
    found = looked_at(raw, tmp_path / "raw")
    assert found["ran"] == 1
    assert "onerror" in found["on"]
    assert {"img", "x-bad"} <= set(found["names"])
    assert found["fetched"] > 0
