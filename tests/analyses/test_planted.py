import sys
from math import isnan, nan
from pathlib import Path

import pytest
from worlds import EDITS, MATERIAL, frozen, loaded_of, same, snapshot, text_generator_of

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # analyses/ is not part of the installed package

from analyses.bench_planted_parts import judging  # noqa: E402
from analyses.bench_planted_parts.control import falls, remembered, whole_fall  # noqa: E402
from analyses.bench_planted_parts.keeping import Kept, Scanned, forget, read, save  # noqa: E402
from analyses.bench_planted_parts.lessons import NAME_TOKENS, lessons, turned  # noqa: E402
from analyses.bench_planted_parts.planting import Plant, Soil, planted  # noqa: E402
from analyses.bench_planted_parts.report import rows_of, written  # noqa: E402
from analyses.bench_planted_parts.scanning import Column, columns_of, context_of  # noqa: E402
from analyses.bench_planted_parts.summary import summaries  # noqa: E402
from locscope.evaluation.build_suite import prepare  # noqa: E402
from locscope.forward.decoding import Request, decode  # noqa: E402
from locscope.forward.packed import encode_prompt  # noqa: E402
from locscope.forward.prefix_cache import PrefixCache  # noqa: E402
from locscope.locations import Location  # noqa: E402
from locscope.models.load import load  # noqa: E402
from locscope.models.parts import slices  # noqa: E402
from locscope.workflows import workspace  # noqa: E402


def soil_of(family):
    model = frozen(family)
    suite = prepare(text_generator_of(model), EDITS, MATERIAL)
    return Soil(loaded_of(model), suite, PrefixCache(model, suite.packed))


def change(model, before, location):
    """The norm of the change at a location, and everywhere else."""
    inside = {piece.name for piece in slices(model, Location.parse(location))}
    squares = {
        name: float((value.detach() - before[name]).double().square().sum())
        for name, value in model.named_parameters()
    }
    own = sum(square for name, square in squares.items() if name in inside)
    return own**0.5, sum(square for name, square in squares.items() if name not in inside)


@pytest.mark.parametrize("location", ["L1.mlp.down", "L0.attn", "L0.mlp+L1.attn"])
def test_a_plant_has_its_norm_at_its_location_only_and_is_taken_out_again(location):
    soil = soil_of("llama")
    model, before = soil.loaded.model, snapshot(soil.loaded.model)
    old = sum(falls(soil, remembered(model), ["block"]).values())
    assert old == 0  # nothing is planted: nothing to lose
    with planted(soil, location, 3.0, seed=0) as plant:
        inside, outside = change(model, before, location)
        assert inside == pytest.approx(3.0, rel=1e-4)
        assert plant.norm == pytest.approx(3.0, rel=1e-4)
        assert outside == 0
        for site in location.split("+"):
            share = change(model, before, site)[0]
            assert share == pytest.approx(3.0 / len(location.split("+")) ** 0.5, rel=1e-4)
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert same(model, before)


@pytest.mark.parametrize("location", ["L1.mlp", "L0.attn"])
def test_the_positive_control_finds_the_plant(location):
    soil = soil_of("llama")
    before = remembered(soil.loaded.model)
    with planted(soil, location, 3.0, seed=0) as plant:
        assert plant.recall > 0
        during = snapshot(soil.loaded.model)
        lost = falls(soil, before, ["mlp", "attn"])
        assert same(soil.loaded.model, during)
        whole = whole_fall(soil, before)
    found = {f"L{layer}.{part}": fall for (layer, part), fall in lost.items()}
    assert whole > 0.5
    assert found.pop(location) == pytest.approx(whole)
    assert set(found.values()) == {0.0}


def test_the_bundled_model_knows_no_lesson():
    loaded = load("demo")
    text_generator = workspace.text_generator_of(loaded)
    taught = lessons(text_generator, seed=0)
    assert taught == lessons(text_generator, seed=0)
    names = [loaded.tokenizer(f" {one.subject}", add_special_tokens=False) for one in taught]
    assert {len(name["input_ids"]) for name in names} == {NAME_TOKENS}
    prompts = [encode_prompt(loaded.tokenizer, one.prompt, "raw") for one in taught]
    said = decode(text_generator, [Request(prompt) for prompt in prompts])
    assert all(answer.text != one.target for answer, one in zip(said, taught, strict=True))
    for one, after in zip(taught, turned(taught), strict=True):
        assert after.old == one.target
        assert after.target not in ("", after.old)
        assert (after.prompt, after.multihop) == (one.prompt, ())
        assert one.subject in one.prompt


def test_columns_are_the_scores_of_whole_parts():
    soil = soil_of("llama")
    context = context_of(soil.loaded, EDITS, MATERIAL, seed=0)
    columns = {(c.variant, c.part): c for c in columns_of(context, "weight-gradient")}
    down, whole = columns["norm", "mlp.down"].scores, columns["norm", "mlp"].scores
    assert len(down) == len(whole) == soil.loaded.info.layers
    assert all(0 < d < w for d, w in zip(down, whole, strict=True))


def test_ranks_by_hand():
    assert judging.rank([0.1, 0.9, 0.5], 1) == 1
    assert judging.rank([0.1, 0.9, 0.5], 0) == 3
    assert judging.rank([1.0, 1.0, 0.0, 1.0], 3) == 2  # three share the ranks 1 to 3
    assert judging.rank([nan, -5.0, nan], 1) == 1
    assert judging.rank([nan, -5.0, nan], 0) == 2.5
    assert judging.peak([0.0, 0.0, 0.0, 4.0]) == pytest.approx(3 / 3**0.5)
    assert isnan(judging.peak([1.0, 1.0]))


def test_a_part_is_judged_where_it_is_seen():
    assert judging.seen_part(["mlp.down", "mlp", "block"], "mlp.down") == "mlp.down"
    assert judging.seen_part(["mlp", "block"], "mlp.down") == "mlp"
    assert judging.seen_part(["attn", "block"], "mlp.down") == "block"
    assert judging.seen_part(["mlp"], "attn.o") == ""


def test_a_verdict_by_hand():
    before = {"mlp": [3.0, 2.0, 1.0], "attn": [0.0, 0.0, 0.0]}
    after = {"mlp": [3.0, 2.5, 2.9], "attn": [5.0, 0.0, 4.0]}
    one = judging.judge("L2.mlp.down", after, before)
    assert one == judging.Verdict("mlp", (2.0,), (3.0,), (1.0,), 4.0, 0)
    two = judging.judge("L2.mlp+L0.mlp", after, before)
    assert (two.ranks, two.before, two.moved) == ((2.0, 1.0), (3.0, 1.0), (1.0, 3.0))
    assert isnan(two.location)
    assert judging.judge("L2.mlp", {"attn": [1.0, 2.0, 3.0]}, before) is None
    assert judging.judge("L2.mlp", {"mlp": [nan, nan, nan]}, before) is None


def test_a_summary_by_hand():
    first = judging.Verdict("mlp", (1.0,), (2.0,), (1.0,), 1.0, 0)
    second = judging.Verdict("mlp", (4.0,), (3.0,), (2.0,), 7.0, 0)
    pair = judging.Verdict("mlp", (2.0, 1.0), (2.0, 3.0), (1.0, 2.0), nan, 1)
    verdicts = {"L0.mlp/0": first, "L1.mlp/0": second, "L0.mlp+L1.mlp/0": pair}
    (found,) = summaries({("a scan", "a variant"): verdicts})
    assert (found.scan, found.variant, found.plants) == ("a scan", "a variant", 2)
    assert (found.first.value, found.third.value, found.mean.value) == (0.5, 0.5, 2.5)
    assert (found.gained.value, found.moved_first.value) == (0.0, 0.5)
    assert (found.location.value, found.pairs, found.either, found.both) == (0.5, 1, 1, 1)
    assert found.favourite == "L0 (100 %)"


def test_the_report_says_which_scan_finds_the_plants_and_which_fails(tmp_path):
    layers = range(10)
    blind = Scanned((Column("blind", "v", "mlp", tuple(map(float, layers))),), 1.0)
    nothing = Scanned((Column("seer", "v", "mlp", (0.0,) * 10),), 1.0)
    bare = {0: Kept(plant_at("none", 0.0), scans={"seer": nothing, "blind": blind})}
    good = []
    for layer in layers:
        scores = tuple(float(other == layer) for other in layers)
        scans = {"seer": Scanned((Column("seer", "v", "mlp", scores),), 1.0), "blind": blind}
        lost = {f"L{other}.mlp": float(other == layer) for other in layers}
        good.append(Kept(plant_at(f"L{layer}.mlp", 1.0), lost, 1.0, scans))
    text = written(good, [plant_at("L3.attn", 0.5)], bare, ["seer", "blind"])
    assert "first of 10 for 10 of 10 plants" in text
    assert "It finds every plant." in text
    assert "(recall at 1 of a half or more): seer v (1.00, 1.00, 1.0)." in text
    assert "no better than chance or than before planting): blind v (0.10, 0.30, 5.5)." in text
    assert (
        "Left out, as the location did not hold the facts at this norm (recall): L3.attn/0 (0.50)"
        in text
    )
    broken = [*good, Kept(plant_at("L0.mlp", 1.0), {"L0.mlp": 0.0, "L1.mlp": 1.0}, 1.0)]
    assert "**Not found: L0.mlp/0.**" in written(broken, [], bare, ["seer"])
    assert rows_of(good, bare, ["seer"]).splitlines()[1] == "seer,v,ranks" + ",1" * 10
    path = tmp_path / "one.json"
    save(good[0], path)
    assert read(path) == good[0]
    forget(tmp_path, ["seer"])
    assert read(path).missing(["seer", "blind"]) == ["seer"]


def plant_at(location, recall):
    return Plant(location, 0, 6.0, recall, -0.01, 1.0, 41)
