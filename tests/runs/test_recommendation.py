from dataclasses import replace
from math import nan

import pytest
import yaml

from locscope.errors import UsageError
from locscope.locations import Location
from locscope.records import Contender, FrontPoint, Margin, Measure, Recipe, Recommendation
from locscope.runs.edit_config import EditConfig, read_recommendation
from locscope.runs.recommendation import LLAMA_PATTERNS, recommendation_yaml, write_recommendation

RECIPE = Recipe(lr=5e-4, batch=30)


def recommendation(location: str = "L22.mlp.down", recipe: Recipe = RECIPE) -> Recommendation:
    best = Contender(
        role="recommended",
        location=Location.parse(location),
        recipe=recipe,
        parameters=("model.layers.22.mlp.down_proj.weight",),
        parameter_count=64,
        score_s=0.9,
        score=0.85,
        low=0.8,
        high=0.9,
        repetitions=(0.84, 0.86),
        measures=(Measure("reliability", 1.0, 20, "normalised", 0.9, 1.0, 0.0),),
    )
    second = replace(best, role="runner-up", location=Location.parse("L6.attn"), score=0.8)
    return Recommendation(
        sentence="Tune L22.mlp.down.",
        score_name="harmonic(reliability)",
        objective="balanced",
        contenders=(best, second),
        margins=(Margin("runner-up", Location.parse("L6.attn"), 0.05, nan, nan),),
        tie=False,
        met=True,
        missed=(),
        model="demo",
        model_hash="m",
        edits="demo",
        edits_hash="e",
        seed=0,
        version="0.1.0",
        weights={"reliability": 2.0},
        bounds=("kl<=0.5", "retention>=0.9 surely"),
    )


def text_of(rec: Recommendation, **rest) -> str:
    options = {"patterns": LLAMA_PATTERNS, **rest}
    return recommendation_yaml(rec, model_path="some/model", data_path="edits.json", **options)


def test_the_keys_of_the_reference_code_stand_at_the_top():
    content = yaml.safe_load(text_of(recommendation()))
    section = content.pop("locscope")
    assert content == {
        "model_name_or_path": "some/model",
        "data_path": "edits.json",
        "save_model_dir": "./edited-model",
        "layer": 22,
        "rewrite_module": "model.layers.{}.mlp.down_proj.weight",
        "lr": 5e-4,
        "batch_size": 30,
        "num_steps": 25,
    }
    assert section["location"] == "L22.mlp.down"
    assert section["measures"][0]["low"] == 0.9
    assert section["margins"][0]["low"] is None
    assert section["runner_up"]["location"] == "L6.attn"
    assert section["provenance"]["model_hash"] == "m"


def test_weights_bounds_and_front_are_said():
    front = (FrontPoint(Location.parse("L22.mlp.down"), 5e-4, 0.9, 1.01, knee=True),)
    weights, bounds = {"reliability": 2.0}, ("perplexity_ratio<=1.1",)
    rec = replace(recommendation(), weights=weights, bounds=bounds, front=front)
    section = yaml.safe_load(text_of(rec))["locscope"]
    assert section["weights"] == {"reliability": 2.0}
    assert section["bounds"] == ["perplexity_ratio<=1.1"]
    assert section["front"][0]["location"] == "L22.mlp.down"
    assert section["front"][0]["knee"]


def test_patterns_pick_exactly_one_layer():
    names = [f"model.layers.{n}.mlp.down_proj.weight" for n in range(32)]
    for part in ("mlp.down", "mlp", "block"):
        pattern = LLAMA_PATTERNS[part].format(1)
        assert [name for name in names if pattern in name] == [names[1]]


@pytest.mark.parametrize(
    ("location", "recipe", "why"),
    [
        ("L1-2.mlp", RECIPE, "one layer only"),
        ("L1.mlp+L4.mlp", RECIPE, "one layer only"),
        ("L4.attn.h3", RECIPE, "not one head"),
        ("L4.mlp", replace(RECIPE, prompt_format="qa", prefixes=5), "prefixes, prompt_format"),
    ],
)
def test_what_the_reference_code_cannot_say(location, recipe, why):
    text = text_of(recommendation(location, recipe))
    content = yaml.safe_load(text)
    assert set(content) == {"locscope"}
    assert why in content["locscope"]["reference_keys"]
    assert any(line.startswith("#") and why in line for line in text.splitlines())


def test_other_families_and_reasons_of_the_caller():
    assert "no pattern of names picks mlp.down" in text_of(recommendation(), patterns={})
    assert "left out: the edits are" in text_of(recommendation(), why_not="the edits are bundled")
    gpt2 = text_of(recommendation("L2.mlp"), patterns={"mlp": "transformer.h.{}.mlp."})
    assert yaml.safe_load(gpt2)["rewrite_module"] == "transformer.h.{}.mlp."


@pytest.mark.parametrize("location", ["L22.mlp.down", "L4.attn.h3", "L1-2.mlp+L4.block"])
@pytest.mark.parametrize("lr", [5e-4, 1e-5, 1.2345678901234567e-7])
def test_it_loads_back_from_file_and_folder(tmp_path, location, lr):
    recipe = replace(RECIPE, lr=lr)
    path = write_recommendation(tmp_path, text_of(recommendation(location, recipe)))
    for given in (path, tmp_path):
        said = recommendation()
        at = Location.parse(location)
        expected = EditConfig("demo", at, recipe, said.objective, said.weights, said.bounds)
        assert read_recommendation(given) == expected


def changed(tmp_path, change):
    content = yaml.safe_load(text_of(recommendation()))
    change(content, content["locscope"])
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda top, own: top.update(layers=3), "unknown key 'layers': did you mean layer"),
        (lambda top, own: top.pop("locscope"), "missing key 'locscope'"),
        (lambda top, own: top.update(locscope=3), "must hold keys"),
        (lambda top, own: own.pop("location"), "missing key under 'locscope' 'location'"),
        (lambda top, own: own.update(locaton="x"), "'locaton': did you mean location"),
        (lambda top, own: own.update(location="L3.mpl"), "unknown part 'mpl'"),
        (lambda top, own: own.update(recipe=[]), "'recipe' must hold keys"),
        (lambda top, own: own["recipe"].pop("lr"), "missing key under 'recipe' 'lr'"),
        (lambda top, own: own["recipe"].update(rate=1), "unknown key under 'recipe' 'rate'"),
        (lambda top, own: own["recipe"].update(lr="fast"), "'lr' under 'recipe' cannot be read"),
        (lambda top, own: own["recipe"].update(batch=0), "give a number from 1"),
        (lambda top, own: own.update(provenance={}), "'model': name the model"),
        (lambda top, own: own.update(schema=2), "newer locscope .schema 2"),
        (lambda top, own: own.update(schema="1"), "'schema' must be a whole number"),
        (lambda top, own: top.update(lr=1e-3), "'lr' is 0.001, but 0.0005 under 'locscope'"),
        (lambda top, own: top.update(layer=21), "'layer' is 21, but 22"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, message):
    path = changed(tmp_path, change)
    with pytest.raises(UsageError, match=message) as caught:
        read_recommendation(path)
    assert "changed.yaml" in str(caught.value)


def test_rates_written_without_a_dot_are_numbers(tmp_path):
    path = changed(
        tmp_path, lambda top, own: (top.update(lr="5e-4"), own["recipe"].update(lr="5e-4"))
    )
    assert read_recommendation(path).recipe.lr == 5e-4


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a: [", "not YAML in line"), (b"text", "no keys"), (b"\xff\xfe\x00", "not UTF-8")],
)
def test_files_that_are_no_recommendation(tmp_path, content, message):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_recommendation(path)
    with pytest.raises(UsageError, match="cannot read recommendation"):
        read_recommendation(tmp_path / "none.yaml")
