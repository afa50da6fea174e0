"""The card of an edited model: what people read who find it without its story."""

from dataclasses import replace
from math import nan

import pytest
import yaml
from samples import trial_record

from locscope.records import Measure
from locscope.report.output.model_card import model_card
from locscope.runs.note import EditNote
from locscope.scoring.bounds import bound_of

BOUNDS = tuple(map(bound_of, ("perplexity_ratio<=1.05", "locality>=0.9", "reliability>=0.9")))


def note_of(edits: str = "/somewhere/private/mine.json", **changes) -> EditNote:
    record = trial_record()
    drift = Measure("perplexity_ratio", 1.2, 9, "pooled", 1.1, 1.3, 1.0)
    record = replace(record, measures=(*record.measures, drift))
    return EditNote(1, "/somewhere/base", "abc", "0.9", edits, replace(record, **changes))


def card(note: EditNote | None = None, licence: dict | None = None) -> str:
    return model_card(note or note_of(), "org/base", BOUNDS, licence or {})


def front(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def test_the_front_matter_is_what_the_hub_reads():
    found = front(card(licence={"license": "other", "license_name": "its-own"}))
    assert found["base_model"] == "org/base"
    assert found["tags"] == ["model-editing", "locscope"]
    assert (found["license"], found["license_name"]) == ("other", "its-own")
    assert "license" not in front(card())


def test_it_says_plainly_that_facts_were_altered():
    text = card()
    assert "# org/base with 2 facts altered" in text
    assert "**Facts were altered in this model on purpose.**" in text
    assert "it answers 100% of them (95 % interval 50% to 100%) with the new target" in text
    without = note_of(measures=(Measure("reliability", nan, 0, ""),))
    assert "How many of them it answers so was not measured" in card(without)


def test_it_says_where_how_and_on_what():
    text = card()
    for words in (
        "`L2.mlp.down`: 64 weights",
        "`model.layers.2.mlp.down_proj.weight`",
        "Adam at 0.0005, 8 rows a batch",
        "2 of at most 25 epochs, 1 steps",
        "2 from `mine.json`",
        "locscope 0.9, seed 0",
        "AutoModelForCausalLM.from_pretrained",
    ):
        assert words in text
    assert "somewhere" not in text, "folders are of one machine"
    assert "the edits bundled with locscope" in card(note_of("demo"))
    many = card(note_of(parameters=tuple(f"layer.{i}" for i in range(30))))
    assert "`layer.7`, and 22 more" in many


def test_measures_have_intervals_and_those_not_measured_are_left_out():
    text = card()
    assert "| reliability | 1.000 | [0.500, 1.000] | 0.000 | 2 |" in text
    assert "| locality |" not in text
    assert "Score: 0.750 (reliability)" in text


def test_bounds_are_kept_broken_or_not_measured():
    text = card()
    assert "| `perplexity_ratio<=1.05` | **no**: perplexity_ratio 1.2 is above 1.05 |" in text
    assert "| `locality>=0.9` | not measured |" in text
    assert "| `reliability>=0.9` | yes (1.000) |" in text
    assert "None were set." in model_card(note_of(), "b", (), {})


@pytest.mark.parametrize("licence", [{"license": "mit"}, {"license": ["mit", "gpl"]}])
def test_the_licence_is_said(licence: dict):
    assert "mit" in card(licence=licence).rpartition("## Licence")[2]
    assert "whose card says none" in card()
