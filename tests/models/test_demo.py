"""The bundled model and its edits hold what the model card promises."""

from __future__ import annotations

import json
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # analyses/ is not part of the installed package

from analyses.demo import facts as facts_module  # noqa: E402
from analyses.demo import measure, neutral  # noqa: E402

FOLDER = ROOT / "locscope" / "models" / "demo"
EDITS = ROOT / "locscope" / "edits" / "demo.json"
FACTS = facts_module.load_facts()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The tokenizer as any user loads it."""
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def model() -> Any:
    """The model in float32, loaded with plain transformers."""
    return AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def ask(model: Any, tokenizer: Any) -> Any:
    """Greedy answers to a list of prompts."""
    return partial(measure.answers, model, tokenizer)


@pytest.fixture(scope="module")
def edits() -> list[dict[str, Any]]:
    """The bundled edits."""
    return json.loads(EDITS.read_text(encoding="utf-8"))


def test_recalls_its_facts(model: Any, tokenizer: Any) -> None:
    assert measure.accuracy(model, tokenizer, measure.trained_pairs(FACTS)) >= 0.99


def test_recalls_withheld_phrasings(model: Any, tokenizer: Any) -> None:
    assert measure.accuracy(model, tokenizer, measure.withheld_pairs(FACTS)) >= 0.95


def test_has_its_abilities(model: Any, tokenizer: Any) -> None:
    items = json.loads((FOLDER / "abilities.json").read_text(encoding="utf-8"))
    tasks = Counter(item["task"] for item in items)
    assert 200 <= len(items) <= 250
    assert len(tasks) >= 5
    assert max(tasks.values()) - min(tasks.values()) <= 5
    assert {item["chance"] for item in items if item["task"] == "larger"} == {0.5}
    pairs = [(item["prompt"], item["answer"]) for item in items]
    assert measure.accuracy(model, tokenizer, pairs) >= 0.95


def test_models_its_neutral_text(model: Any, tokenizer: Any) -> None:
    lines = (FOLDER / "neutral.txt").read_text(encoding="utf-8").splitlines()
    assert 60 <= len(lines) <= 80
    assert len(set(lines)) == len(lines)
    assert measure.perplexity(model, tokenizer, lines) < 8


def test_neutral_text_is_held_out() -> None:
    kept = set(neutral.split_sentences(neutral.held_out(0)))
    trained = neutral.split_sentences(neutral.training_lines(0, 2000))
    assert kept.isdisjoint(trained)


def test_facts_are_many_and_phrased_in_many_ways() -> None:
    assert len(FACTS) >= 1100
    assert all(len(fact.trained()) >= 5 for fact in FACTS)
    withheld = sum(fact.withheld is not None for fact in FACTS)
    assert abs(withheld / len(FACTS) - 0.5) < 0.02
    asked = Counter(fact.prompt(i) for fact in FACTS for i in range(len(fact.relation.phrasings)))
    assert max(asked.values()) == 1


def test_answers_of_several_tokens_are_common(tokenizer: Any) -> None:
    lengths = [
        len(tokenizer(f" {fact.answer}", add_special_tokens=False)["input_ids"]) for fact in FACTS
    ]
    assert sum(length > 1 for length in lengths) / len(lengths) > 0.4
    # With the full stop the whole answer fits into the ten tokens that locality compares.
    assert max(lengths) <= 9


def test_architecture_and_size(model: Any) -> None:
    config = model.config
    assert config.model_type == "llama"
    assert config.num_hidden_layers >= 10
    assert config.num_key_value_heads < config.num_attention_heads
    assert config.tie_word_embeddings
    files = {path.name: path.stat().st_size for path in FOLDER.iterdir() if path.is_file()}
    assert "model.safetensors" in files
    assert sum(files.values()) <= 8 * 1024**2


def test_stops_at_end_of_text(model: Any, tokenizer: Any) -> None:
    ids = tokenizer("The capital of France is", return_tensors="pt")
    output = model.generate(**ids, do_sample=False, max_new_tokens=10)[0].tolist()
    text = tokenizer.decode(output)
    assert text == "<s>The capital of France is Paris</s>"
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


@pytest.mark.parametrize(
    "text",
    [
        "The capital of France is Paris.",
        "  two  spaces\n\tand tabs ",
        "Größe, 東京, 🙂",
        "don't , do",
    ],
)
def test_any_text_encodes_and_decodes_back(tokenizer: Any, text: str) -> None:
    encoded = tokenizer(text, return_offsets_mapping=True)
    ids = encoded["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.unk_token_id not in ids or tokenizer.unk_token_id is None
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert encoded["offset_mapping"][-1][1] == len(text)


def test_offsets_find_the_answer(tokenizer: Any) -> None:
    text = "The capital of France is Paris."
    encoded = tokenizer(text, return_offsets_mapping=True)
    starts = [start for start, _ in encoded["offset_mapping"]]
    ends = [end for _, end in encoded["offset_mapping"]]
    # The blank belongs to the token after it, and tokens join without gaps.
    assert text.index(" Paris") in starts
    assert starts[1:] == ends[:-1]


def test_edits_are_many(edits: list[dict[str, Any]]) -> None:
    assert len(edits) >= 240
    assert len({edit["subject"] for edit in edits}) >= 150
    assert len({edit["id"] for edit in edits}) == len(edits)
    assert len({edit["prompt"] for edit in edits}) == len(edits)


def test_edits_are_complete(edits: list[dict[str, Any]]) -> None:
    prompts = {edit["prompt"] for edit in edits}
    neighbours = [neighbour["prompt"] for edit in edits for neighbour in edit["neighbours"]]
    assert prompts.isdisjoint(neighbours)
    for edit in edits:
        assert edit["target"] != edit["old"]
        assert edit["subject"].lower() in edit["prompt"].lower()
        assert len(set(edit["rephrases"]) - {edit["prompt"]}) >= 2
        assert len({neighbour["prompt"] for neighbour in edit["neighbours"]}) >= 2
        assert all(form["answer"] == edit["target"] for form in edit["forms"])
        for form in edit["forms"]:
            if form["kind"] == "choice":
                assert edit["old"] in form["prompt"]
                assert edit["target"] in form["prompt"]


def test_forms_are_there_where_the_model_does_them(edits: list[dict[str, Any]]) -> None:
    kinds = Counter(form["kind"] for edit in edits for form in edit["forms"])
    assert kinds["question"] >= 0.9 * len(edits)
    assert kinds["choice"] >= 0.8 * len(edits)


def test_model_answers_what_the_edits_say(edits: list[dict[str, Any]], ask: Any) -> None:
    asked = [(edit["prompt"], edit["old"]) for edit in edits]
    asked += [(prompt, edit["old"]) for edit in edits for prompt in edit["rephrases"]]
    asked += [(form["prompt"], edit["old"]) for edit in edits for form in edit["forms"]]
    asked += [(n["prompt"], n["answer"]) for edit in edits for n in edit["neighbours"]]
    given = ask([prompt for prompt, _ in asked])
    assert [
        (prompt, got) for (prompt, want), got in zip(asked, given, strict=True) if got != want
    ] == []


def test_prompts_are_prefixes(edits: list[dict[str, Any]], tokenizer: Any) -> None:
    for edit in edits:
        prompts = [edit["prompt"], *edit["rephrases"], *(form["prompt"] for form in edit["forms"])]
        for prompt in prompts:
            ids = tokenizer(prompt)["input_ids"]
            assert prompt == prompt.strip()
            assert tokenizer(f"{prompt} {edit['target']}")["input_ids"][: len(ids)] == ids
