"""The page in a real browser: without a network, at three widths, clicked and printed.

One Chromium, and one page for all tests, which look at it in turn.
"""

import csv
import html
import io
import json
import shutil
from dataclasses import replace

import pytest
import report_factory as factory
import report_scans as scans

from locscope.locations import PARTS
from locscope.records import Edit, EditOutcome, ScanScore
from locscope.report.output.page import render_report

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
WIDTHS = (1440, 1024, 390)
HOSTILE = (
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "'\"><svg onload=window.hacked=1>",
    "{{ 7*7 }}${7*7}",
    "<b>bold</b>&amp;",
    "javascript:window.hacked=1",
    '=HYPERLINK("http://example.org","x")',
)
MANY = tuple(f"{HOSTILE[n % len(HOSTILE)]} #{n}" for n in range(428))
"""Texts that would run, if anything of the page took them for markup."""


def page_inputs():
    """A whole search whose every text is hostile, with ranges, quick trials and maps of facts."""
    texts = iter(MANY)
    edits = tuple(Edit(e, next(texts), next(texts)) for e in factory.EDITS)
    outcomes = tuple(
        EditOutcome(e, 0.0, 0.0, 0.5, 0.0, next(texts), (next(texts), next(texts)))
        for e in factory.EDITS
    )
    held = factory.trial("L6.mlp.down", 6e-4, split="T", rung="report", edits=factory.EDITS,
                         outcomes=outcomes)  # fmt: skip
    quick = tuple(
        replace(t, trial=replace(t.trial, rung="rung 1", quick=True))
        for t in (*factory.sweep_trials(), factory.trial("L5-9.mlp"), factory.trial("L0-4.mlp"))
    )
    scan = factory.scan()
    descriptor = replace(scan.descriptor, title=next(texts), note=next(texts))
    maps = tuple(
        replace(
            scans.token_map("mlp", 10), edit=next(texts), tokens=(next(texts), next(texts), " x"),
            subject=(1,), answer=next(texts), values=((0.1, 0.2 + n, -0.3),) * 10,
        )
        for n in range(3)
    )  # fmt: skip
    scores = (*scan.scores, ScanScore(next(texts), 0, "mlp", 1.0, role=next(texts)))
    scan = replace(scan, descriptor=descriptor, settings=next(texts), scores=scores, maps=maps)
    rest = tuple(texts)
    run = replace(
        factory.run(), edits=rest[0], command=rest[1], notes=rest[2:40],
        settings={"edits": "demo", **dict(zip(rest[40:120], rest[120:200], strict=True))},
    )  # fmt: skip
    broken = tuple(
        factory.trial(f"L{n % 10}.mlp", status=text) for n, text in enumerate(rest[200:])
    )
    return factory.inputs(
        run=run, trials=(*quick, *factory.finalist_trials(), held, *broken), edits=edits,
        scans=(scan,), recommendation=factory.recommendation(sentence=rest[3], notes=rest[4:6]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page, opened once: all tests here look at it, at one width after the other."""
    from playwright.sync_api import sync_playwright

    if BROWSER is None:
        pytest.fail("no Chromium here: install Debian's package chromium")
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(render_report(page_inputs()), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"]
        )
        context = browser.new_context(offline=True, viewport={"width": 1440, "height": 1000})
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        opened = context.new_page()
        # Of one step on a machine that is busy with other things.
        opened.set_default_timeout(90_000)
        opened.said, opened.asked = [], []
        opened.on("console", lambda message: opened.said.append(message.text))
        opened.on("pageerror", lambda error: opened.said.append(str(error)))
        opened.on("request", lambda request: opened.asked.append(request.url))
        opened.goto(file.as_uri())
        opened.wait_for_selector("#one-location .js-plotly-plot")
        yield opened
        browser.close()


def test_it_opens_offline_and_nothing_is_wrong(page):
    assert page.said == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_page(page, width):
    page.set_viewport_size({"width": width, "height": 1000})
    page.evaluate("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    page.wait_for_timeout(400)
    found = page.evaluate(
        """() => [document.documentElement.scrollWidth - document.documentElement.clientWidth,
        [...document.querySelectorAll('.table')].filter((box) => box.clientWidth &&
          box.querySelector('table').scrollWidth > box.querySelector('.scroll').clientWidth + 1
        ).map((box) => box.dataset.table)]"""
    )
    assert found == [0, []]
    top = page.locator("nav").bounding_box()["y"]
    page.evaluate("scrollTo(0, 3000)")
    # The contents stay in view.
    assert 0 <= page.locator("nav").bounding_box()["y"] <= max(top, 20)
    page.evaluate("scrollTo(0, 0)")
    page.evaluate("document.querySelectorAll('.columns').forEach((box) => { box.open = false; })")


def strings(data):
    """All texts in plain data."""
    if isinstance(data, str):
        yield data
    for part in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from strings(part)


def test_hostile_texts_stay_texts(page):
    shown = page.evaluate("document.body.innerText")
    held = [json.loads(page.locator(name).text_content()) for name in ("#details", "#figures")]
    # Plotly reads a little HTML, so that texts are escaped in figures.
    texts = tuple(strings(held))
    known = "\n".join((shown, *texts, *map(html.unescape, texts)))
    assert [text for text in MANY if text not in known] == []
    assert page.evaluate("document.querySelectorAll('img, [onload], [onerror]').length") == 0
    assert page.evaluate("window.hacked") is None


def test_a_click_on_a_bar_shows_that_location(page):
    page.set_viewport_size({"width": 1440, "height": 1000})
    name = page.evaluate(
        """() => { const plot = document.querySelector('[data-figure=efficacy] .plot');
        const names = plot.data[0].meta.locations, row = 7;
        const column = names[row].indexOf('L5-9.mlp');
        plot.emit('plotly_click', { points: [{ data: plot.data[0], pointNumber: [row, column] }] });
        return document.querySelector('#one-location .chosen').textContent; }"""
    )
    assert name == "L5-9.mlp: 1 trials"
    assert "rung 1 (quick)" in page.locator("#one-location .trials").inner_text()
    assert "judged" in page.locator("#one-location .failures").inner_text()
    page.select_option("#one-location .which", "L6.mlp.down")
    text = page.locator("#one-location").inner_text()
    assert "L6.mlp.down (recommended)" in text
    assert "24 edits judged: 24 failed, neighbours of 24 broke" in text
    assert MANY[0] in text


def test_a_real_click_on_the_heatmap(page):
    page.locator("[data-figure=efficacy] .plot").scroll_into_view_if_needed()
    box = page.locator("[data-figure=efficacy] .nsewdrag").first.bounding_box()
    page.mouse.click(box["x"] + 4, box["y"] + box["height"] - 4)
    page.wait_for_function("document.querySelector('.chosen').textContent.startsWith('L0.mlp.up')")
    page.locator("[data-table=trials] button.open", has_text="L7.mlp.down").first.click()
    assert page.locator(".chosen").inner_text().startswith("L7.mlp.down")


def test_tables_are_filtered_sorted_chosen_from_and_saved(page):
    box = page.locator("[data-table=trials]")
    rows = "[data-table=trials] tbody tr:not([hidden])"
    everything = page.locator(rows).count()
    box.locator("select.facet").nth(0).select_option("T")
    assert page.locator(rows).count() == 1
    assert box.locator(".shown").inner_text() == f"1 of {everything} rows"
    box.locator("select.facet").nth(0).select_option("")
    box.locator("input[type=search]").fill("L7.mlp.down")
    few = page.locator(rows).count()
    assert 0 < few < everything
    head = box.locator("thead th", has_text="lr").first
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    keys = page.evaluate(
        f"[...document.querySelectorAll('{rows}')].map((row) => Number(row.cells[3].dataset.sort))"
    )
    assert keys == sorted(keys)
    page.evaluate("document.querySelectorAll('.columns').forEach((box) => { box.open = true; })")
    assert not box.locator("th", has_text="steps").is_visible()
    box.locator(".columns label", has_text="steps").locator("input").check()
    assert box.locator("th", has_text="steps").is_visible()
    with page.expect_download() as waiting:
        box.locator("button.save").click()
    saved = list(csv.reader(io.StringIO(waiting.value.path().read_text(encoding="utf-8"))))
    assert waiting.value.suggested_filename == "trials.csv"
    assert len(saved) == 1 + few
    assert float(saved[1][saved[0].index("lr")]) == keys[0]


def test_no_cell_of_a_csv_is_run_by_a_spreadsheet(page):
    box = page.locator("[data-table=trials]")
    box.locator("input[type=search]").fill("HYPERLINK")
    with page.expect_download() as waiting:
        box.locator("button.save").click()
    saved = list(csv.DictReader(io.StringIO(waiting.value.path().read_text(encoding="utf-8"))))
    assert len(saved) > 10
    assert all(row["note"].startswith("'=HYPERLINK(") for row in saved)
    box.locator("input[type=search]").fill("")


def test_what_is_copied_is_the_whole_snippet(page):
    snippet = page.locator(".snippet").first
    snippet.locator("button.copy").click()
    page.wait_for_function("document.querySelector('button.copy').textContent === 'Copied'")
    assert page.evaluate("navigator.clipboard.readText()") == snippet.locator("pre").inner_text()


def test_any_fact_can_be_chosen(page):
    panel = page.locator("[data-figure=scan-0]")
    views = panel.locator("select.view option").all_inner_texts()
    panel.locator("select.view").select_option(index=len(views) - 1)
    choices = panel.locator(".facts select option")
    assert choices.count() == 3
    panel.locator(".facts select").select_option(index=2)
    seen = page.evaluate(
        """() => { const { data, layout } = document.querySelector('[data-figure=scan-0] .plot');
        return [data[0].z[0], layout.xaxis.ticktext.length, layout.shapes.length]; }"""
    )
    assert seen == [[0.1, 2.2, -0.3], 3, 1]
    assert page.evaluate("window.hacked") is None


def test_what_is_recommended_is_in_view_where_a_heatmap_is_wider_than_the_screen(page, tmp_path):
    places = [f"L{layer}.{part}" for layer in range(10) for part in PARTS]
    best = factory.contender("recommended", "L5-9.mlp", 0.92)
    wide = factory.inputs(
        trials=tuple(factory.trial(place) for place in (*places, "L0-4.mlp", "L5-9.mlp")),
        recommendation=factory.recommendation(contenders=(best,), margins=()),
    )
    (tmp_path / "report.html").write_text(render_report(wide), encoding="utf-8")
    narrow = page.context.new_page()
    narrow.set_viewport_size({"width": 390, "height": 1000})
    narrow.goto((tmp_path / "report.html").as_uri())
    narrow.wait_for_function("document.querySelector('[data-figure=efficacy] .plot svg')")
    shown, room, left, right = narrow.evaluate(
        """() => { const plot = document.querySelector('[data-figure=efficacy] .plot');
        const box = plot.parentElement, axis = plot._fullLayout.xaxis;
        const outline = plot.layout.shapes.find((one) => one.name === 'recommended');
        const at = (x) => axis._offset + axis.r2p(x) - box.scrollLeft;
        return [box.clientWidth, box.scrollWidth, at(outline.x0), at(outline.x1)]; }"""
    )
    narrow.close()
    assert room > shown
    assert 0 <= left < right <= shown


def test_in_print_everything_is_unfolded_and_nothing_cut(page):
    page.emulate_media(media="print")
    # At once: a page is printed as soon as this has been heard.
    wider = page.evaluate(
        """() => { dispatchEvent(new Event('beforeprint'));
        return [...document.querySelectorAll('.plot.js-plotly-plot')].filter((plot) =>
          plot.clientWidth && plot._fullLayout.width > plot.parentElement.clientWidth).length; }"""
    )
    assert wider == 0
    page.wait_for_timeout(300)
    found = page.evaluate(
        """() => [[...document.querySelectorAll('details:not([open]):not(.columns)')].length,
        [...document.querySelectorAll('.scroll')].filter((box) => box.clientHeight + 1 <
          box.scrollHeight || box.clientWidth + 1 < box.scrollWidth).length,
        getComputedStyle(document.querySelector('nav')).position]"""
    )
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert found == [0, 0, "static"]


def test_dark_mode_redraws_and_keys_reach_everything(page):
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(200)
    ink = page.evaluate("document.querySelector('.plot').layout.font.color")
    assert ink == "#e7e9ec"
    page.emulate_media(color_scheme="light")
    page.evaluate("document.querySelector('.skip').focus()")
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "In short"
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, .plot, [role=region]')]
        .filter((part) => !(part.textContent.trim() || part.getAttribute('aria-label') ||
          part.closest('label')?.textContent.trim())).map((part) => part.outerHTML.slice(0, 80))"""
    )
    assert unnamed == []
    assert page.said == []
