import ast
import json
import re
from dataclasses import replace
from io import StringIO
from math import inf, isnan, nan
from pathlib import Path

import pytest
import report_factory as factory
import report_scans as scans
from rich.console import Console

from locscope.records import ScanScore, TokenMap
from locscope.report.data.scan_heatmaps import ROLES, scan_heatmaps, token_heatmap, token_label
from locscope.report.data.scan_rows import best_heads, best_locations, locations_table, scans_table
from locscope.report.data.verdict import verdict_of
from locscope.report.draw.gallery import figures, panels, specification
from locscope.report.draw.heatmaps import draw_heatmap, least_width
from locscope.report.output.page import render_report
from locscope.report.output.scan_sections import scan_sections
from locscope.report.output.terminal import scan_json, scan_summary, terminal_summary


def drawn(*scores, layers=2, maps=(), sign=1, **changes):
    scan = scans.result("demo", "Demo", scores, sign, maps=maps)
    given = {"recommendation": None, "trials": (), "scorecard": None, "scans": (scan,)} | changes
    return scan_heatmaps(factory.inputs(run=factory.run(layers=layers), **given), scan)


def test_a_heatmap_per_variant_and_centred_where_signs_differ():
    norm, signed = drawn(
        ScanScore("norm", 0, "attn", 0.5, low=0.25, high=0.75, count=9),
        ScanScore("norm", 1, "mlp", 2.0),
        ScanScore("signed", 0, "attn", -1.0),
        ScanScore("signed", 1, "attn", 1.0),
    )
    assert (norm.title, norm.choice, norm.variant) == ("Demo: norm", "norm: parts", "norm")
    assert norm.columns == ("mlp", "attn")
    assert norm.values[0][1] == 0.5
    assert norm.values[1][0] == 2.0
    assert norm.hover[0][1] == "L0.attn\nscore 0.500 [0.250, 0.750]\n9 requests"
    assert norm.hover[0][0] == "L0.mlp\nnot scored"
    assert (norm.centred, signed.centred) == (False, True)
    assert (norm.note, signed.note) == (
        "Bright is high.",
        "White is zero, blue above and red below it.",
    )


def test_heads_stand_apart_from_parts_and_come_first_where_those_are_one_column():
    scores = [ScanScore("", 1, "attn", 1.0, head=head) for head in (10, 2)]
    heads, parts = drawn(ScanScore("", 0, "attn", 5.0), *scores)
    assert (heads.columns, parts.columns) == (("h2", "h10"), ("attn",))
    assert (heads.choice, heads.across) == ("heads", "heads")
    assert heads.hover[1][0] == "L1.attn.h2\nscore 1.000"
    assert heads.hover[0][1] == "L0.attn.h10\nnot scored"
    assert parts.values[0] == (5.0,)
    assert isnan(parts.values[1][0])


def test_roles_get_a_heatmap_per_part_in_the_order_of_the_prompt():
    scores = [
        ScanScore("effect", 0, part, 1.0, role=role)
        for part in ("attn", "mlp")
        for role in ("last", "first subject", "unheard of", "further")
    ]
    mlp, attn = drawn(*scores)
    assert (mlp.choice, attn.choice) == ("effect: token roles, mlp", "effect: token roles, attn")
    assert mlp.columns == ("first subject", "further", "last", "unheard of")
    assert mlp.hover[0][0] == "L0.mlp, first subject\nscore 1.000"


def test_roles_are_those_that_scans_give():
    # Read, not imported: the report's tests need no torch.
    tree = ast.parse((Path(__file__).parents[2] / "locscope/interp/facts.py").read_text())
    assigned = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert ast.literal_eval(assigned["ROLES"]) == ROLES


def test_heads_of_a_role_do_not_mix_with_those_of_all_tokens():
    scores = [ScanScore("", 0, "attn", v, head=0, role=r) for v, r in ((1.0, ""), (2.0, "last"))]
    plain, last = drawn(*scores)
    assert (plain.values[0], last.values[0]) == ((1.0,), (2.0,))
    assert last.hover[0][0].startswith("L0.attn.h0, last\n")


def test_the_recommended_head_is_marked_among_heads_only():
    found = factory.recommendation(contenders=(factory.contender("recommended", "L1.attn.h2", 1),))
    scores = [ScanScore("", 1, "attn", 1.0, head=head) for head in (0, 2)]
    heads, parts = drawn(ScanScore("", 1, "attn", 5.0), *scores, recommendation=found)
    assert heads.recommended == (1, 1)
    assert parts.recommended is None


def test_where_low_is_good_the_scale_is_turned_round_and_the_note_says_so():
    plain, signed = drawn(
        ScanScore("plain", 0, "mlp", 1.0),
        ScanScore("signed", 0, "mlp", -1.0),
        ScanScore("signed", 1, "mlp", 1.0),
        sign=-1,
    )
    assert plain.note == "A low score recommends a location. Bright is low."
    assert signed.note.endswith("White is zero, red above and blue below it.")
    colours = [draw_heatmap(h).data[0] for h in (plain, signed)]
    assert [trace.reversescale for trace in colours] == [True, True]
    assert (colours[1].zmin, colours[1].zmax) == (-1.0, 1.0)


def token_map(**changes):
    given = {
        "tokens": ("The", " of", "\n", " of"),
        "subject": (1, 3),
        "answer": " New\nYork",
        "values": ((0.0, 0.5, nan, 1.0), (0.0, -0.5, 0.25, 1.0)),
    }
    given = {"edit": "e1", "variant": "effect", "part": "mlp"} | given | changes
    return TokenMap(**given)


def test_a_token_map_keeps_tokens_apart_and_marks_the_subject():
    (heatmap,) = drawn(maps=(token_map(),))
    assert heatmap.columns == ("0:The", "1:␣of", "2:↵", "3:␣of")
    assert heatmap.labels == ("The", "␣of *", "↵", "␣of *")
    assert heatmap.title == "Demo: effect, mlp, one prompt, answer “New↵York”"
    assert "answer followed is “New↵York”" in heatmap.note
    assert heatmap.hover[1][1] == "L1.mlp\ntoken 1 of 4, of the subject: ␣of\nvalue -0.500"
    assert (heatmap.centred, heatmap.banded, heatmap.variant) == (True, (1, 3), "effect")
    figure = draw_heatmap(heatmap)
    assert figure.layout.xaxis.ticktext == ("The", "<b>␣of *</b>", "↵", "<b>␣of *</b>")
    assert [(s.x0, s.x1, s.y1) for s in figure.layout.shapes] == [(0.5, 1.5, 1.5), (2.5, 3.5, 1.5)]
    crosses = figure.data[-1]
    assert (crosses.x, crosses.y) == (("2:↵",), ("0",))


def test_neighbouring_subject_tokens_share_a_band():
    figure = draw_heatmap(token_heatmap(scans.causal(), scans.token_map("mlp", 10)))
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(3.5, 7.5)]


def test_tokens_are_text_and_never_markup():
    figure = draw_heatmap(token_heatmap(scans.causal(), token_map(tokens=("<b>", "&", "", "\x00"))))
    assert figure.layout.xaxis.ticktext[0] == "&lt;b&gt;"
    assert figure.layout.xaxis.ticktext[3] == "<b>\\x00 *</b>"
    assert [token_label(token) for token in ("", "\t a")] == ["(empty)", "⇥␣a"]
    cut = token_heatmap(scans.causal(), token_map(tokens=("x" * 40, "a", "b", "c")))
    assert len(cut.labels[0]) == 18
    assert "x" * 40 in cut.hover[0][0]


def test_eighty_layers_of_sixty_four_heads():
    scan = scans.heads(layers=80, count=64, variants=("zero",))
    heatmap = scan_heatmaps(factory.inputs(run=factory.run(layers=80)), scan)[0]
    figure = draw_heatmap(heatmap)
    assert (len(heatmap.rows), len(heatmap.columns)) == (80, 64)
    assert 80 * 12 <= figure.layout.height <= 1400
    assert least_width(heatmap) >= 64 * 10
    assert [trace.type for trace in figure.data] == ["heatmap"]
    # Sixty kilobytes of place names, as many of numbers.
    assert len(figure.to_json()) < 500_000


def test_infinite_scores_are_drawn_at_the_end_of_the_scale():
    (heatmap,) = drawn(ScanScore("", 0, "mlp", 2.0), ScanScore("", 1, "mlp", inf))
    assert draw_heatmap(heatmap).data[0].z == ([2.0], [2.0])
    assert "∞" in heatmap.hover[1][0]


def test_a_scan_of_which_nothing_was_measured_is_drawn_crossed():
    (heatmap,) = drawn(ScanScore("", 0, "mlp", nan), ScanScore("", 1, "mlp", nan))
    figure = draw_heatmap(heatmap)
    assert figure.data[0].z == ([None], [None])
    assert figure.data[-1].marker.symbol == "x-thin"


def test_best_locations_go_by_the_sign_and_leave_heads_and_roles_to_their_own():
    scores = (
        ScanScore("v", 0, "mlp", 3.0, count=4),
        ScanScore("v", 1, "mlp", nan),
        ScanScore("v", 2, "attn", 1.0, count=2),
        ScanScore("v", 2, "attn", 9.0, head=4),
        ScanScore("v", 2, "attn", 8.0, role="last"),
        ScanScore("w", 0, "mlp", 0.0),
    )
    high, low = (scans.result("demo", "Demo", scores, sign) for sign in (1, -1))
    assert [s.score for s in best_locations(high, "v", 10)] == [3.0, 1.0]
    assert [s.score for s in best_locations(low, "v", 1)] == [1.0]
    assert [s.head for s in best_heads(high, "v", 10)] == [4]
    table = locations_table("locations", high, "v")
    assert [row[0].text for row in table.rows] == ["L0.mlp", "L2.attn"]
    assert (table.caption, table.note) == ("Best locations: v", "over 2 to 4 requests")
    assert len(locations_table("locations", scans.heads(layers=30), "zero").rows) == 10


def test_all_scans_at_a_quick():
    table = scans_table((scans.heads(), scans.nothing()))
    assert [row[1].text for row in table.rows] == ["zero", "mean", ""]
    assert table.rows[0][3].text.count(",") == 2
    assert ".attn.h" in table.rows[0][4].text
    nothing = table.rows[2]
    assert (nothing[2].text, nothing[2].alarm, nothing[3].text) == ("0 of 40", True, "–")


def test_a_section_says_how_to_read_it_and_how_it_was_made():
    section = scan_sections(factory.inputs(scans=(scans.causal(),)))[0]
    assert section.reading == "What causal tracing says of a location; bright: much."
    assert section.notes[0].startswith("Average total effect")
    assert section.facts[0] == "38 of 40 edits usable"
    assert section.facts[-1] == "settings: same-length subject swap; logit difference"
    assert [table.name for table in next(iter(section.variants.values()))] == ["places-0-0"]
    empty = scan_sections(factory.inputs(scans=(scans.nothing(),)))[0]
    assert (empty.summary, empty.variants) == ("no scores", {})


def test_views_carry_their_variant_so_that_tables_can_follow():
    views = panels(factory.inputs(scans=(scans.heads(),)))["scan-0"]
    assert [view.choice for view in views] == [
        "zero: heads", "zero: parts", "mean: heads", "mean: parts",
    ]  # fmt: skip
    assert specification(views[2])["variant"] == "mean"
    assert specification(views[2])["width"] == least_width(scan_heatmaps(
        factory.inputs(), scans.heads())[2])  # fmt: skip


def test_every_figure_of_every_scan_has_a_name_of_its_own():
    inputs = scans.scan_run(scans=(scans.causal(), scans.causal(), scans.heads()))
    views = [view for views in panels(inputs).values() for view in views]
    assert len(figures(inputs)) == len(views) == 7 + 7 + 4
    assert "scan-head-ablation-zero-heads" in figures(inputs)


@pytest.mark.parametrize("inputs", [scans.scan_run(), scans.scan_run(scans=(scans.nothing(),))])
def test_a_run_of_scans_has_only_what_scans_have(inputs):
    page = render_report(inputs)
    count = len(inputs.scans)
    assert verdict_of(inputs).kind == "scans"
    assert f"<h1>Scans of demo on demo: {count} scan{'s' * (count > 1)}, 40 edits</h1>" in page
    assert 'class="badge' not in page
    assert re.findall(r"<h2[^>]*>([^<]*)", page) == ["Scans", "Reproduce"]
    assert "No location" not in page
    assert "The model knows none of the old answers." in page
    assert "locscope scan --scans all --model demo" in page


def test_an_interrupted_run_of_scans_says_so():
    run = replace(scans.scan_run().run, status="interrupted", edit_count=1)
    sentence = verdict_of(scans.scan_run(run=run, scans=())).sentence
    assert sentence == "Scans of demo on demo: 0 scans, 1 edit (status of the run: interrupted)"
    assert "No scan was run" in render_report(scans.scan_run(run=run, scans=()))


def test_a_search_with_all_scans_stays_of_a_size_that_opens():
    with_scans = render_report(factory.inputs(scans=scans.all_scans()))
    without = render_report(factory.inputs(scans=()))
    assert len(with_scans) - len(without) < 1_500_000


def shown(renderable, width=110):
    out = StringIO()
    Console(file=out, width=width).print(renderable)
    return out.getvalue()


def test_the_terminal_shows_the_best_of_every_variant_and_the_notes():
    said = shown(scan_summary((scans.causal(), scans.heads(), scans.nothing())))
    assert "L2.block 0.400, L4.mlp 0.400" in said
    assert said.count("Head ablation") == 1
    assert "resample" not in said
    assert "probe: the model knows none of the old answers" in said
    assert "0 of 40" in said
    assert "Scans of demo on demo" in shown(terminal_summary(scans.scan_run()))


def test_scan_json_names_locations_and_has_null_for_not_measured():
    scores = (
        ScanScore("v", 7, "attn", 0.5, head=3, low=0.25, high=0.75, count=4, values=(0.5,)),
        ScanScore("v", 1, "mlp.down", nan, role="last subject"),
        ScanScore("w", 0, "block", inf),
    )
    found = json.loads(scan_json((scans.result("demo", "Demo", scores), scans.nothing())))
    assert found["schema"] == 1
    first, second, nothing = found["scans"]
    assert first == {
        "scan": "demo", "variant": "v", "usable": 38, "requests": 40,
        "settings": "same-length subject swap; logit difference", "sign": 1, "notes": [],
        "scores": [
            {"location": "L7.attn.h3", "score": 0.5, "low": 0.25, "high": 0.75, "count": 4,
             "role": ""},
            {"location": "L1.mlp.down", "score": None, "low": None, "high": None, "count": 0,
             "role": "last subject"},
        ],
    }  # fmt: skip
    assert second["scores"][0]["score"] == "inf"
    assert (nothing["usable"], nothing["scores"]) == (0, [])
    assert nothing["notes"] == ["the model knows none of the old answers"]
