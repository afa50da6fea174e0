"""One pass against `generate`, and how far apart cached decoding and a full pass are."""

import pytest
import torch
from families import CONFIGS
from reference.plain_loop import plain_greedy
from transformers import DynamicCache
from worlds import PAIRS, STOP, frozen, questions_of, text_generator_of, tune_in_place

from locscope.evaluation.exact_match import ROUNDING, read
from locscope.evaluation.questions import ask
from locscope.forward import decoding
from locscope.forward.decoding import _left_padded
from locscope.forward.head import logits
from locscope.forward.packed import encode, pack
from locscope.forward.prefix_cache import PrefixCache
from locscope.models.load import load, stop_ids
from locscope.models.parts import body
from locscope.records import Recipe
from locscope.scoring.text import normalised_match

EVERY = pytest.mark.parametrize("family", CONFIGS)
HALFWAY = Recipe(lr=1e-2, batch=4, epochs=20)
"""After so many epochs the tiny models answer some of the pairs."""


def asked(model, questions):
    prefix_cache = PrefixCache(model, pack([question.row for question in questions]))
    prefix_cache.enter(1)
    return ask(text_generator_of(model), prefix_cache, questions)


def strictly(model, question):
    """Whether `generate` says exactly the target's tokens and a stop token."""
    said = plain_greedy(model, question.prompt, len(question.ids) + 1, (STOP,))
    return said == (*question.ids, STOP)


@EVERY
def test_strict_match_is_that_of_generate(family):
    model = frozen(family)
    tune_in_place(model, "L1.block", HALFWAY)
    questions = questions_of(model)
    expected = [strictly(model, question) for question in questions]
    answers = asked(model, questions)
    assert [answer.strict for answer in answers] == expected
    assert any(expected)
    assert not all(answer.decoded for answer in answers)
    for answer, question in zip(answers, questions, strict=True):
        assert not answer.strict or normalised_match(answer.text, question.wanted)


@EVERY
@pytest.mark.parametrize("epochs", [8, 20])
def test_in_bfloat16_every_difference_was_decoded(family, epochs):
    model = frozen(family)
    tune_in_place(model, "L1.block", Recipe(lr=1e-2, batch=4, epochs=epochs))
    model.to(torch.bfloat16)
    questions = questions_of(model)
    for answer, question in zip(asked(model, questions), questions, strict=True):
        assert answer.decoded or answer.strict == strictly(model, question)


@torch.no_grad()
def apart(model, rows):
    """Largest difference of logits between a padded full pass and cached decoding, relative."""
    prefix_cache = PrefixCache(model, pack(rows))
    batch = prefix_cache.batch(range(len(rows)))
    hidden, worst = prefix_cache.final(batch), 0.0
    prompts = [row.ids[: row.answer] for row in rows]
    ids, mask = _left_padded(prompts, model.device)
    cache = DynamicCache(config=model.config)
    for step in range(min(len(row.ids) - row.answer for row in rows) + 1):
        positions = (mask.long().cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        out = body(model)(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        decoded = logits(model, out.last_hidden_state[:, -1])
        at = torch.tensor([row.answer - 1 + step for row in rows])
        passed = logits(model, hidden[torch.arange(len(rows)), at])
        relative = (decoded - passed).abs().amax(-1) / passed.abs().amax(-1)
        worst = max(worst, float(relative.max()))
        if any(row.answer + step >= len(row.ids) for row in rows):
            break
        ids = torch.tensor([[row.ids[row.answer + step]] for row in rows])
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
    return worst


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rounding_is_at_least_twice_what_is_seen(dtype):
    seen = {}
    for family in CONFIGS:
        model = frozen(family, dtype)
        seen[family] = apart(model, [question.row for question in questions_of(model)])
    loaded = load("demo", dtype=str(dtype).removeprefix("torch."))
    stop = stop_ids(loaded.model, loaded.tokenizer)[0]
    rows = [
        encode(loaded.tokenizer, prompt, answer, stop)
        for prompt, answer in [
            ("The capital of France is", "Paris"),
            ("Officials in Iraq speak", "Slovene"),
            ("11 + 15 =", "26"),
        ]
    ]
    seen["demo"] = apart(loaded.model, rows)
    worst = max(seen.values())
    assert 2 * worst <= ROUNDING[dtype], seen


def test_a_row_too_close_to_call_is_decoded(monkeypatch):
    model = frozen("llama")
    tune_in_place(model, "L1.block", HALFWAY)
    questions = questions_of(model)
    before = asked(model, questions)
    monkeypatch.setitem(ROUNDING, torch.float32, 10.0)
    answers = asked(model, questions)
    assert all(answer.decoded for answer in answers)
    assert [a.strict for a in answers] == [b.strict for b in before]


@EVERY
@pytest.mark.parametrize("epochs", [3, 8, 20])
def test_answers_are_the_same_where_what_a_pass_shows_is_decoded_too(family, epochs, monkeypatch):
    model = frozen(family)
    tune_in_place(model, "L1.block", Recipe(lr=1e-2, batch=4, epochs=epochs))
    questions = questions_of(model)
    passes = []

    def counted(*given):
        passes.append(given)
        return next_tokens(*given)

    next_tokens = decoding._next_tokens
    monkeypatch.setattr(decoding, "_next_tokens", counted)
    fast, few = asked(model, questions), len(passes)
    monkeypatch.setattr("locscope.evaluation.questions._known", lambda *_: ())
    assert asked(model, questions) == fast
    assert len(passes) - few >= few


DOTTED = (
    ("The capital of France is", "St. Louis"),
    ("Au is the symbol of", "U.S."),
    ("What is the language of the old country over there? It is", "Robert Jr."),
    ("Book:", "3.14"),
    ("1 2 3", "-5"),
    ("Who wrote the book?", "C#"),
    ("《资治通鉴》的编纂者是", "欧阳修"),
)


@pytest.mark.parametrize("epochs", [12, 20, 40])
def test_targets_with_stops_are_judged_in_one_pass_as_in_decoding(epochs, monkeypatch):
    model = frozen("llama")
    tune_in_place(model, "L1.block", Recipe(lr=1e-2, batch=4, epochs=epochs), DOTTED)
    questions = questions_of(model, DOTTED)
    fast = asked(model, questions)
    monkeypatch.setitem(ROUNDING, torch.float32, 10.0)
    slow = asked(model, questions)
    assert all(answer.decoded for answer in slow)
    for one, other, question in zip(fast, slow, questions, strict=True):
        right = normalised_match(one.text, question.wanted)
        assert right == normalised_match(other.text, question.wanted)
        assert one.strict == other.strict
        assert one.strict <= right
    assert epochs < 40 or all(answer.strict and not answer.decoded for answer in fast)


def test_ties_go_to_the_lowest_id():
    model = frozen("llama")
    with torch.no_grad():
        # One weight each, so that equal logits are equal whatever the order of summation.
        model.get_output_embeddings().weight.zero_()
        model.get_output_embeddings().weight[5, 0] = 1
        model.get_output_embeddings().weight[7:, 0] = 1
    questions = questions_of(model)
    readings = read(PrefixCache(model, pack([q.row for q in questions])), range(len(questions)))
    tied = {tuple(plain_greedy(model, q.prompt, 1, (STOP,))) for q in questions}
    assert tied <= {(5,), (0,)}
    assert {reading.best[-1] for reading in readings} <= {5, 0}
    assert all(any(reading.close) for reading in readings)


def test_teacher_forced_figures_are_those_of_a_plain_forward():
    model = frozen("gemma2")
    tune_in_place(model, "L1.block", HALFWAY)
    questions = questions_of(model)
    readings = read(PrefixCache(model, pack([q.row for q in questions])), range(len(questions)))
    for question, reading in zip(questions, readings, strict=True):
        row = question.row
        labels = torch.tensor([*row.ids[row.answer :], STOP])
        logp = model(torch.tensor([row.ids])).logits[0, row.answer - 1 :].log_softmax(-1)
        hits = (logp.argmax(-1) == labels).float()
        assert reading.token_accuracy == pytest.approx(float(hits.mean()))
        mean = float(logp.gather(1, labels[:, None]).mean())
        assert reading.logprob == pytest.approx(mean, abs=1e-5)
        assert (reading.best[:-1] == row.ids[row.answer :]) == bool(hits[:-1].all())


def test_a_question_of_broken_weights_is_answered():
    model = frozen("llama")
    tune_in_place(model, "L1.block", Recipe(lr=1e30, batch=4, epochs=2))
    answers = asked(model, questions_of(model))
    assert len(answers) == len(PAIRS)
    assert not any(answer.strict for answer in answers)
