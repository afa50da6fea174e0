import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from math import nan
from pathlib import Path

import pytest
import report_factory as factory
import report_scans as scans

from locscope.records import Edit, EditOutcome, ScanScore
from locscope.report.data.page.runs import (
    differences_table,
    labels_of,
    rungs_differ,
    shared_heatmaps,
)
from locscope.report.data.rows import provenance_tables
from locscope.report.draw import gallery
from locscope.report.draw.gallery import panels, write_figures
from locscope.report.draw.heatmaps import draw_heatmap
from locscope.report.output.comparison import render_comparison
from locscope.report.output.page import render_report

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
    assert checker.addresses[0] == "data:,"
    # Nothing but places in the page itself, and all of them there.
    assert {address.removeprefix("#") for address in checker.addresses[1:]} <= set(checker.ids)
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
        factory.inputs(
            run=replace(factory.run(), started=""), edits=(), trials=factory.sweep_trials()
        ),
        nothing_measured(),
        factory.inputs(scans=scans.all_scans()),
        scans.scan_run(),
        scans.scan_run(scans=()),
    ],
)
def test_page_is_whole_and_loads_nothing(inputs):
    checker = check(render_report(inputs))
    text = html.unescape("".join(checker.text))
    started = "Scans of demo" if inputs.only_scans else "No location is"
    wanted = inputs.recommendation.sentence if inputs.recommendation else started
    assert wanted in text
    assert inputs.run.command in text


def test_nothing_in_records_becomes_markup():
    outcome = EditOutcome("e0", 0.0, 0.0, nan, 0.0, NASTY, (NASTY,))
    found = factory.recommendation(sentence=NASTY)
    trials = (
        *factory.sweep_trials(),
        factory.trial("L6.mlp.down", 6e-4, split="T", outcomes=(outcome,)),
        factory.trial("L2.mlp", status=NASTY),
    )
    descriptor = replace(factory.scan().descriptor, title=NASTY, note=NASTY)
    run = replace(
        factory.run(), edits=NASTY, command=NASTY, notes=(NASTY,), settings={NASTY: NASTY}
    )
    tokens = replace(scans.token_map("mlp", 10), tokens=(NASTY, NASTY), edit=NASTY, answer=NASTY)
    score = ScanScore(NASTY, 0, "mlp", 1.0, role=NASTY)
    scan = replace(factory.scan(), descriptor=descriptor, settings=NASTY, notes=(NASTY,))
    scan = replace(scan, maps=(replace(tokens, subject=(1,)),), scores=(*scan.scores, score))
    inputs = factory.inputs(
        run=run,
        recommendation=found,
        trials=trials,
        scans=(scan,),
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
    views = panels(factory.inputs(scans=(scan,)))["scan-0"]
    assert "<img" not in views[0].figure.layout.title.text


def test_figures_in_the_page_hold_no_nan():
    page = render_report(factory.inputs())
    start = page.index(">", page.index('id="figures"')) + 1
    figures = json.loads(page[start : page.index("</script>", start)])
    assert set(figures) == {
        "contenders", "efficacy", "collapse", "tradeoff", "rates", "losses", "scan-0", "outcome-0",
    }  # fmt: skip
    assert [view["name"] for view in figures["efficacy"]] == [
        "score", "reliability", "generalization", "locality",
    ]  # fmt: skip


def test_recommended_cell_is_outlined_and_missing_cells_are_crossed():
    figure = panels(factory.inputs())["efficacy"][0].figure
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


def test_a_kaleido_that_fails_is_tried_once_and_leaves_no_picture(tmp_path, monkeypatch):
    calls = []

    def broken(found, paths, **options):
        calls.append(len(paths))
        raise RuntimeError("no browser")

    (tmp_path / "score.png").write_text("of a former run")
    monkeypatch.setattr(gallery.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(gallery.plotly.io, "write_images", broken)
    written = write_figures(factory.inputs(), tmp_path)
    assert calls == [2 * len(written)]
    assert all(path.suffix == ".json" for path in written)
    assert not (tmp_path / "score.png").exists()


def test_pictures_are_png_and_svg_in_the_size_of_the_figure(tmp_path, monkeypatch):
    heights = {}

    def write(found, paths, height, **options):
        for one, path, pixels in zip(found, paths, height, strict=True):
            path.write_text("picture")
            heights[path.name] = (one.layout.height, pixels)

    monkeypatch.setattr(gallery.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(gallery.plotly.io, "write_images", write)
    names = {path.name for path in write_figures(factory.inputs(), tmp_path)}
    assert {"score.json", "score.png", "score.svg"} <= names
    assert all(own == drawn for own, drawn in heights.values())


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
    assert labels_of(runs)[2] == "demo · demo · seed 0 (2)"
    check(render_comparison((nothing_measured(),)))
    mixed = html.unescape("".join(check(render_comparison((scans.scan_run(), runs[0]))).text))
    assert "Scans of demo on demo: 18 scans, 40 edits" in mixed


def test_runs_go_by_their_folders_and_what_differs_comes_first():
    other = replace(factory.run(seed=1), settings={**factory.run().settings, "strategy": "race"})
    runs = (factory.inputs(), factory.inputs(run=other))
    folders = (Path("runs/a"), Path("elsewhere/a"))
    labels = labels_of(runs, folders)
    assert labels == ("runs/a", "elsewhere/a")
    assert labels_of(runs, (folders[0], folders[0])) == ("runs/a", "runs/a (2)")
    table = differences_table(runs, labels)
    assert [[cell.text for cell in row] for row in table.rows] == [["strategy", "grid", "race"]]
    settings = (
        {"parts": "('mlp', 'attn')", "limit": "None", "quarters": "True", "weights": "{}"},
        {"parts": "('mlp',)", "limit": "60", "quarters": "False", "weights": "{'kl': 2.0}"},
    )
    runs = tuple(factory.inputs(run=replace(factory.run(), settings=one)) for one in settings)
    rows = [[c.text for c in row] for row in differences_table(runs, labels).rows]
    assert rows == [
        ["parts", "mlp, attn", "mlp"],
        ["limit", "not set", "60"],
        ["quarters", "yes", "no"],
        ["weights", "none", "kl=2.0"],
    ]
    (settings_table,) = (t for t in provenance_tables(runs[0]) if t.name == "settings")
    assert [row[1].text for row in settings_table.rows] == ["mlp, attn", "not set", "yes", "none"]
    page = render_comparison(runs, folders)
    assert page.index("Settings that differ") < page.index('data-table="runs"')
    assert str(Path.cwd()) not in page


def test_heatmaps_of_runs_stand_on_one_scale():
    low = factory.inputs(trials=tuple(factory.trial(f"L{n}.mlp", score=0.1 * n) for n in range(5)))
    high = factory.inputs(trials=tuple(factory.trial(f"L{n}.mlp", score=0.9) for n in range(5)))
    first, second = shared_heatmaps((low, high), ("a", "b"))
    assert (first[0].title, first[0].choice) == ("a: sweep (3 edits)", "score")
    assert first[0].span == second[0].span == (0.0, 0.9)
    drawn = [draw_heatmap(h).data[0] for h in (first[0], second[0])]
    assert {(trace.zmin, trace.zmax) for trace in drawn} == {(0.0, 0.9)}
    assert not rungs_differ((low, high))
    more = factory.inputs(trials=tuple(factory.trial(f"L{n}.mlp", edits=("e0",)) for n in range(5)))
    assert rungs_differ((low, more))
    assert "compare patterns, not numbers" in render_comparison((low, more))
