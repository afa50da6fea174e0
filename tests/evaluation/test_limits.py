"""Texts that a model cannot read are told by edit and text, before the model is asked."""

import pytest
import torch
from families import tiny, tiny_tokenizer

from locscope.errors import UsageError
from locscope.evaluation.limits import refuse_unreadable, refuse_unreadable_texts
from locscope.evaluation.suite import Ability, EvalTexts
from locscope.records import Edit, Probe

LONG = "word " * 140
"""More than the 256 tokens that the tiny models read."""


def edit(**fields: object) -> Edit:
    return Edit(**{"id": "e-1", "prompt": "The capital of France is", "target": "Rome", **fields})


def test_what_the_model_can_read_is_not_tokenised_one_by_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("locscope.evaluation.limits.encode", None)
    monkeypatch.setattr("locscope.evaluation.limits.encode_prompt", None)
    refuse_unreadable(tiny("llama"), tiny_tokenizer(), [edit()], "raw")


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": LONG}, "its prompt 'word"),
        ({"target": LONG}, "its prompt 'The capital of France is' takes"),
        ({"rephrases": ("France:", LONG)}, "its rephrase 'word"),
        ({"neighbours": (Probe(LONG),)}, "its neighbour 'word"),
        ({"neighbours": (Probe("Spain:", LONG),)}, "its neighbour 'Spain:'"),
        ({"forms": (Probe(LONG, "a"),)}, "its form 'word"),
        ({"multihop": (Probe(LONG, "a"),)}, "its multi-hop question 'word"),
        # Forty tokens of the context are left, and a prefix of more would be put before it.
        ({"prompt": "a" * 230}, "its prompt 'aaa"),
    ],
)
def test_a_text_longer_than_the_context_is_named(family: str, fields: dict, words: str):
    with torch.device("meta"):
        model = tiny(family)
    with pytest.raises(UsageError, match=r"edit 'e-1': .* the model reads 256") as caught:
        refuse_unreadable(model, tiny_tokenizer(), [edit(), edit(**fields)], "raw", before=16)
    assert words in str(caught.value)
    assert "config.json: max_position_embeddings" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "a Zanzibar"},
        {"target": "Zanzibar"},
        {"rephrases": ("Zanzibar",)},
        {"neighbours": (Probe("Zanzibar"),)},
        {"forms": (Probe("b", "Zanzibar"),)},
    ],
)
def test_a_token_without_an_embedding_is_named(fields: dict):
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<unused>", "Zanzibar"])
    refuse_unreadable(tiny("llama"), tokenizer, [edit()], "raw")
    with pytest.raises(UsageError, match=r"edit 'e-1': .*'Zanzibar' \(301\).*for 0 to 299"):
        refuse_unreadable(tiny("llama"), tokenizer, [edit(), edit(**fields)], "raw")


def test_neutral_texts_and_abilities_are_held_against_the_context_too():
    reader = tiny("llama"), tiny_tokenizer()
    ability = Ability("facts", "What?", "That")
    refuse_unreadable_texts(*reader, EvalTexts(("Some text.",), (ability,), ()), "raw")
    with pytest.raises(UsageError, match="the neutral text 'word"):
        refuse_unreadable_texts(*reader, EvalTexts((LONG,), (), ()), "raw")
    with pytest.raises(UsageError, match="the ability 'word"):
        refuse_unreadable_texts(*reader, EvalTexts((), (Ability("facts", LONG, "a"),), ()), "raw")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (None, "has no chat template"),
        ("{{ messages.nothing.here }}", "chat template fails"),
        ("{% for", "chat template fails"),
        ("{{ raise_exception('no system\nrole') }}", "no system role"),
        ("{{ ''.__class__.__mro__ }}", "chat template fails"),
        ("{{ range(10 ** 9) | list }}", "chat template fails"),
    ],
)
def test_a_chat_template_that_fails_is_told_before_the_model_is_asked(
    template: str | None, words: str
):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(UsageError, match=words) as caught:
        refuse_unreadable(tiny("llama"), tokenizer, [edit()], "chat")
    assert "\n" not in str(caught.value)
