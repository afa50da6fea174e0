import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from math import nan

import pytest
import report_factory as factory

from locscope.records import Edit, EditOutcome
from locscope.report import gallery
from locscope.report.comparison import render_comparison, run_labels
from locscope.report.gallery import panels, write_figures
from locscope.report.page import render_report

VOID = {"meta", "link", "input", "br", "img", "hr"}
NASTY = "</script><script>alert('x')</script><img src=http://example.org/x>"


class Checker(HTMLParser):
    """Checks that elements are closed in order; gathers addresses and text."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.text, self.ids = [], [], [], []
        self.scripts, self.headings = 0, []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.scripts += tag == "script"
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
        for name, value in attrs:
            if name in ("src", "href", "action", "srcset", "data", "poster"):
                self.addresses.append(value)
            if name == "id":
                self.ids.append(value)
            assert not name.startswith("on")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


def check(page):
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert checker.addresses == ["data:,"]
    assert len(checker.ids) == len(set(checker.ids))
    assert checker.headings[0] == 1
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    return checker


def nothing_measured():
    trials = tuple(
        replace(factory.trial(f"L{n}.mlp", score=nan), measures=(), epochs=()) for n in range(3)
    )
    return factory.inputs(recommendation=None, trials=trials, scans=(), scorecard=None)


@pytest.mark.parametrize(
    "inputs",
    [
        factory.inputs(),
        factory.inputs(recommendation=None),
        factory.inputs(recommendation=None, scans=(), trials=(), scorecard=None),
        factory.inputs(run=factory.run("interrupted"), recommendation=None, scorecard=None),
        factory.inputs(
            recommendation=factory.recommendation(
                met=False, missed=("retention 0.9 (at most 0.94) is below 0.95",)
            )
        ),
        factory.inputs(edits=(), date="", trials=factory.sweep_trials()),
        nothing_measured(),
    ],
)
def test_page_is_whole_and_loads_nothing(inputs):
    checker = check(render_report(inputs))
    text = html.unescape("".join(checker.text))
    wanted = inputs.recommendation.sentence if inputs.recommendation else "No location is"
    assert wanted in text
    assert inputs.command in text


def test_nothing_in_records_becomes_markup():
    outcome = EditOutcome("e0", 0.0, 0.0, nan, 0.0, NASTY, (NASTY,))
    found = factory.recommendation(sentence=NASTY)
    trials = (
        *factory.sweep_trials(),
        factory.trial("L6.mlp.down", 6e-4, split="R", outcomes=(outcome,)),
        factory.trial("L2.mlp", status=NASTY),
    )
    descriptor = replace(factory.scan().descriptor, title=NASTY, note=NASTY)
    run = replace(factory.run(), edits=NASTY, notes=(NASTY,), settings={NASTY: NASTY})
    scans = (replace(factory.scan(), descriptor=descriptor),)
    inputs = factory.inputs(
        run=run,
        recommendation=found,
        trials=trials,
        scans=scans,
        command=NASTY,
        edits=(Edit("e0", NASTY, NASTY),),
    )
    clean, page = check(render_report(factory.inputs())), render_report(inputs)
    checker = check(page)
    assert checker.scripts == clean.scripts
    assert "<script>alert" not in page
    assert NASTY in html.unescape("".join(checker.text))
    check(render_comparison((inputs, inputs)))


def test_plotly_labels_are_escaped_too():
    scan = replace(factory.scan(), descriptor=replace(factory.scan().descriptor, title=NASTY))
    views = panels(factory.inputs(scans=(scan,)))["scans"].views
    assert "<img" not in views[0].figure.layout.title.text


def test_figures_in_the_page_hold_no_nan():
    page = render_report(factory.inputs())
    start = page.index(">", page.index('id="figures"')) + 1
    figures = json.loads(page[start : page.index("</script>", start)])
    assert set(figures) == {
        "contenders", "efficacy", "collapse", "tradeoff", "rates", "losses", "scans", "outcomes",
    }  # fmt: skip
    assert [view["name"] for view in figures["efficacy"]] == [
        "score", "reliability", "generalization", "locality",
    ]  # fmt: skip


def test_recommended_cell_is_outlined_and_missing_cells_are_crossed():
    figure = panels(factory.inputs())["efficacy"].views[0].figure
    (shape,) = figure.layout.shapes
    assert (shape.y0, shape.y1) == (5.5, 6.5)
    crosses = figure.data[-1]
    assert crosses.marker.symbol == "x-thin"
    assert set(zip(crosses.x, crosses.y, strict=True)) == {
        ("attn", "1"), ("mlp.up", "9"), ("mlp", "3"),
    }  # fmt: skip


def test_figures_are_files_without_kaleido(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery.importlib.util, "find_spec", lambda name: None)
    written = write_figures(factory.inputs(), tmp_path / "figures")
    names = {path.name for path in written}
    assert {"contenders.json", "score.json", "scan-gradient-norm.json", "tradeoff.json"} <= names
    assert len(names) == len(written)
    assert json.loads((tmp_path / "figures" / "score.json").read_text())["data"]


def test_a_kaleido_that_fails_is_tried_once(tmp_path, monkeypatch):
    calls = []

    def broken(figure, path, **options):
        calls.append(path)
        raise RuntimeError("no browser")

    monkeypatch.setattr(gallery.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(gallery.go.Figure, "write_image", broken)
    written = write_figures(factory.inputs(), tmp_path)
    assert len(calls) == 1
    assert all(path.suffix == ".json" for path in written)


def test_comparison_of_runs():
    joined = factory.contender("recommended", "L8-15.mlp.up+L20.attn", 0.8)
    other = factory.inputs(
        run=factory.run(seed=1, layers=32),
        recommendation=factory.recommendation(contenders=(joined,), tie=True),
    )
    runs = (factory.inputs(), other, factory.inputs(recommendation=None))
    text = html.unescape("".join(check(render_comparison(runs)).text))
    assert "L8-15.mlp.up+L20.attn" in text
    assert "0.67" in text
    assert "3 runs compared" in text
    assert run_labels(runs)[2] == "demo · demo · seed 0 (2)"
    check(render_comparison((nothing_measured(),)))


PROBE = """<body style="margin:0"><iframe style="border:0;width:{width}px;height:3000px"
srcdoc="{page}"></iframe><script>
onload = () => setTimeout(() => {{
  const inner = document.querySelector("iframe").contentDocument;
  const root = inner.documentElement;
  const plots = [...inner.querySelectorAll(".plot")];
  const wide = plots.filter(
    (plot) => plot.querySelector(".main-svg").clientWidth > root.clientWidth);
  const head = inner.querySelector("[data-table=trials] th:nth-child(4) button");
  head.click();
  const rates = [...inner.querySelectorAll("[data-table=trials] tbody tr")].map(
    (row) => Number(row.cells[3].dataset.sort));
  const found = {{
    overflow: root.scrollWidth - root.clientWidth, plots: plots.length, wide: wide.length,
    sorted: rates.every((rate, i) => i === 0 || rates[i - 1] <= rate),
  }};
  document.body.innerHTML = "<pre>" + JSON.stringify(found) + "</pre>";
}}, 1000);
</script>"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_page_in_a_browser(tmp_path, width):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium here")
    page = html.escape(render_report(factory.inputs()))
    (tmp_path / "probe.html").write_text(PROBE.format(width=width, page=page), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    options += ["--disable-background-networking", "--disable-component-update"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=8000"]
    options += [f"--window-size={max(width, 500)},3000"]
    shot = f"--screenshot={tmp_path / 'page.png'}"
    address = (tmp_path / "probe.html").as_uri()
    command = [browser, *options, "--dump-dom", address]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = json.loads(seen[seen.index("<pre>") + 5 : seen.index("</pre>")])
    assert found == {"overflow": 0, "plots": 8, "wide": 0, "sorted": True}
    subprocess.run([browser, *options, shot, address], capture_output=True, timeout=120, check=True)
    assert (tmp_path / "page.png").stat().st_size > 10_000
