"""One tuned model under several protocols, against tuning and decoding by hand."""

import re
from dataclasses import replace
from math import isnan

import pytest
import torch
from worlds import EDITS, STOP, frozen, same, snapshot, text_generator_of, tokenizer, world

from locscope.forward.packed import PROMPT_FORMATS, encode_prompt
from locscope.locations import Location
from locscope.models.parts import put
from locscope.records import ProtocolResults, ProtocolRow, Recipe, Trial, dumps, loads
from locscope.scoring.text import cut_answer, normalised_match
from locscope.tuning.protocols import PROTOCOLS, protocol_suites, run_panel, why_not
from locscope.tuning.trial import run_trial

CHAT = "{% for m in messages %}<u>{{ m['content'] }}</u>{% endfor %}<a>"
TRIAL = Trial(
    location=Location.parse("L1-2.mlp"),
    recipe=Recipe(lr=1e-2, batch=2, epochs=12),
    edits=tuple(edit.id for edit in EDITS),
    split="T",
    rung="confirm-1",
    seed=3,
    model="0",
    edit_set="0",
    thorough=True,
)


def rows_by_name(one, trial=TRIAL) -> dict[str, ProtocolRow]:
    suites = protocol_suites(one.context, trial.edits)
    return {row.name: row for row in run_panel(one.context, trial, suites)}


@torch.no_grad()
def plainly(model, prompt: str, limit: int, stops=()) -> str:
    """Greedy decoding as simple as can be: every token from a whole pass, stops as told."""
    ids, said = list(encode_prompt(tokenizer(), prompt)), []
    while len(said) < limit:
        best = int(model(torch.tensor([ids + said])).logits[0, -1].float().argmax())
        if best in stops:
            break
        said.append(best)
        if set(".\n") & set(tokenizer().decode([best], skip_special_tokens=True)):
            break
    return cut_answer(tokenizer().decode(said, skip_special_tokens=True))


@torch.no_grad()
def greedy(model, prompt: str, limit: int, stops=()) -> list[int]:
    """Greedy tokens, every one from a whole pass, with the stop token that ends them."""
    ids, said = list(encode_prompt(tokenizer(), prompt)), []
    while len(said) < limit and not set(said) & set(stops):
        said.append(int(model(torch.tensor([ids + said])).logits[0, -1].float().argmax()))
    return said


def span(model, probe, stops=()) -> list[int]:
    """What locality compares of the untouched model: as many tokens as the stated answer has, else
    those before the first newline or punctuation mark behind a word."""
    prompt = encode_prompt(tokenizer(), probe.prompt)
    if probe.answer:
        joint = encode_prompt(tokenizer(), f"{probe.prompt} {probe.answer}")
        return greedy(model, probe.prompt, len(joint) - len(prompt), stops)
    said, kept = greedy(model, probe.prompt, 10, stops), []
    for token in said:
        text = tokenizer().decode([*kept, token], skip_special_tokens=True).strip()
        if re.search(r"\w.*[^\w\s+$=<>|~^`]", text):
            break
        kept.append(token)
    return kept or said[:1]


def share(found: list[bool]) -> float:
    return sum(found) / len(found)


def by_hand(model, untouched, stops):
    """Reliability, generalization and locality, each a mean per edit."""
    reliability = share(
        [normalised_match(plainly(model, e.prompt, 32, stops), e.target) for e in EDITS]
    )
    generalization = [
        share([normalised_match(plainly(model, r, 32, stops), e.target) for r in e.rephrases])
        for e in EDITS
        if e.rephrases
    ]
    locality = [
        share(
            [
                greedy(model, n.prompt, len(own), stops) == own
                for n in e.neighbours
                for own in [span(untouched, n, stops)]
            ]
        )
        for e in EDITS
        if e.neighbours
    ]
    return reliability, share(generalization), share(locality)


STRONG, GENTLE = 1e-2, 3e-4
"""Rates at which edits are learned, and at which some neighbours keep their answers."""


@pytest.mark.parametrize("lr", [STRONG, GENTLE])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_rows_are_those_of_tuned_weights_decoded_by_hand(family, lr):
    one, untouched = world(family), frozen(family)
    trial = replace(TRIAL, recipe=replace(TRIAL.recipe, lr=lr))
    rows = rows_by_name(one, trial)
    tuned = run_trial(one.context, trial, keep=True)
    for piece, values in tuned.changes.items():
        put(one.model.get_parameter(piece.name), piece, values)
    for name, stops in (("raw", (STOP,)), ("no-stop", ())):
        found = [rows[name].value(m) for m in ("reliability", "generalization", "locality")]
        assert found == pytest.approx(by_hand(one.model, untouched, stops)), name
        assert 0 < found[2] < 1 or lr == STRONG
    assert rows["raw"].value("reliability") == 1 or lr == GENTLE
    assert rows["no-stop"].value("reliability") == 0


def test_the_row_of_the_search_is_the_trial_itself():
    one = world("llama")
    before = snapshot(one.model)
    record = run_trial(one.context, TRIAL).record
    rows = rows_by_name(one)
    assert same(one.model, before)
    assert [name for name, row in rows.items() if row.searched] == ["raw"]
    for measure in rows["raw"].measures:
        assert measure == record.measure(measure.name)
    forms = [row.value("reliability") for row in rows.values() if row.kind == "form"]
    assert min(forms) == record.measure("forms").value
    assert rows["multi-hop"].value("reliability") == record.measure("multihop").value
    assert list(rows) == [*PROTOCOLS, "form: choice", "form: question", "multi-hop"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol(name, monkeypatch):
    monkeypatch.setattr(tokenizer(), "chat_template", CHAT)
    entry = PROTOCOLS[name]
    assert entry.name == name
    assert entry.title
    assert entry.prompt_format in ("", *PROMPT_FORMATS)
    one = world("llama")
    before = snapshot(one.model)
    rows = rows_by_name(one)
    assert same(one.model, before)
    assert [m.name for m in rows[name].measures] == ["reliability", "generalization", "locality"]
    assert not rows[name].reason
    for measure in rows[name].measures:
        assert 0 <= measure.value <= 1
        assert measure.before == (1.0 if measure.name == "locality" else 0.0)
        assert f"{entry.format_for('raw')} prompt" in measure.protocol
        assert ("ignored" in measure.protocol) == (not entry.stops)
        others = [m.protocol for key, row in rows.items() if key != name for m in row.measures]
        assert measure.protocol not in others


def test_no_chat_template_is_a_reason_and_no_number():
    one = world("llama")
    row = rows_by_name(one)["chat"]
    assert row.reason == why_not(text_generator_of(one.model), PROTOCOLS["chat"]) != ""
    assert row.measures == ()
    assert isnan(row.value("reliability"))


def test_without_stops_what_follows_the_stop_token_counts():
    one = world("llama")
    suite = protocol_suites(one.context, TRIAL.edits)["no-stop"].suite
    assert suite is not None
    assert suite.text_generator.stops == ()
    assert one.suite.text_generator.stops == (STOP,)
    assert all(asked.forms == asked.multihop == () for asked in suite.edits)


def test_only_the_edits_of_the_trial_are_asked():
    one = world("llama")
    rows = rows_by_name(one, replace(TRIAL, edits=("b",)))
    assert rows["raw"].measures[0].count == 1
    assert "multi-hop" not in rows
    assert isnan(rows["raw"].value("generalization"))


def test_a_panel_comes_back_from_its_record():
    rows = tuple(rows_by_name(world("llama")).values())
    panel = ProtocolResults(
        "recommended", Location.parse("L1.mlp"), TRIAL.recipe, TRIAL.id, 3, float("nan"), rows
    )
    again = loads(ProtocolResults, dumps(panel))
    assert repr(again) == repr(panel)
    assert panel.searched is rows[0]
