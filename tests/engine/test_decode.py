from functools import partial

import pytest
import torch
from families import CONFIGS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference.plain_loop import plain_greedy
from worlds import PAIRS, STOP, frozen, speaker_of, tokenizer, tune_in_place

from locscope.engine.decode import Output, Request, _finish, decode
from locscope.engine.questions import SPAN_TOKENS, ask, span_question
from locscope.engine.texts import encode_prompt, pack
from locscope.engine.trunk import Trunk
from locscope.records import Recipe
from locscope.scoring.text import cannot_match, cut_answer, normalised_match

HALFWAY = Recipe(lr=1e-2, batch=4, epochs=20)
PROMPTS = [encode_prompt(tokenizer(), prompt) for prompt, _ in PAIRS]


def plainly(model, prompt, limit):
    """One row at a time: generate all of it, then cut the text."""
    said = plain_greedy(model, prompt, limit, (STOP,))
    ids = said[: said.index(STOP)] if STOP in said else said
    return cut_answer(tokenizer().decode(ids, skip_special_tokens=True))


@pytest.mark.parametrize("family", CONFIGS)
def test_batched_decoding_is_that_of_one_row_at_a_time(family):
    model = frozen(family)
    tune_in_place(model, "L1.block", HALFWAY)
    limits = [12, 3, 12, 5, 12, 12, 7]
    requests = [Request(*pair) for pair in zip(PROMPTS, limits, strict=True)]
    expected = [plainly(model, *pair) for pair in zip(PROMPTS, limits, strict=True)]
    for tokens in (16384, 60, 1):
        outputs = decode(speaker_of(model), requests, tokens)
        assert [output.text for output in outputs] == expected
    assert len({output.ending for output in outputs}) > 1


def test_to_stop_keeps_full_stops():
    model = frozen("llama")
    tune_in_place(model, "L1.block", Recipe(lr=1e-2, batch=4, epochs=40))
    (output,) = decode(speaker_of(model), [Request(PROMPTS[5], 32, to_stop=True)])
    assert (output.text, output.ending) == ("St. Louis", "stop")
    (output,) = decode(speaker_of(model), [Request(PROMPTS[5], 32)])
    assert (output.text, output.ending) == ("St", "text")


def test_the_hopeless_are_given_up_and_the_others_are_not():
    model = frozen("llama")
    tune_in_place(model, "L1.block", Recipe(lr=1e-2, batch=4, epochs=6))
    speaker = speaker_of(model)
    whole = decode(speaker, [Request(prompt) for prompt in PROMPTS])
    targets = [target for _, target in PAIRS]
    early = decode(
        speaker,
        [
            Request(prompt, hopeless=partial(cannot_match, target=target))
            for prompt, target in zip(PROMPTS, targets, strict=True)
        ],
    )
    assert "given up" in {output.ending for output in early}
    for one, other, target in zip(early, whole, targets, strict=True):
        assert normalised_match(one.text, target) == normalised_match(other.text, target)
        assert one.ending == "given up" or one == other


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_untouched_spans_are_found_unchanged_in_one_pass(family):
    model = frozen(family)
    speaker = speaker_of(model)
    outputs = decode(speaker, [Request(prompt, SPAN_TOKENS) for prompt in PROMPTS])
    questions = [
        span_question(i, *pair) for i, pair in enumerate(zip(PROMPTS, outputs, strict=True))
    ]
    answers = ask(speaker, Trunk(model, pack([q.row for q in questions])), questions)
    for answer, question, output in zip(answers, questions, outputs, strict=True):
        assert answer.text == question.wanted == output.text
        assert (answer.ending == "stop") == (output.ending == "stop")
    tune_in_place(model, "L1.block", HALFWAY)
    answers = ask(speaker, Trunk(model, pack([q.row for q in questions])), questions)
    for answer, prompt in zip(answers, PROMPTS, strict=True):
        assert answer.text == plainly(model, prompt, SPAN_TOKENS)


def test_spans_of_every_kind():
    speaker = speaker_of(frozen("llama"))
    code = partial(tokenizer().encode, add_special_tokens=False)
    request = Request((0, 5), SPAN_TOKENS)
    whole = _finish(speaker, request, code(" Rome."), "text")
    stop = tuple(code("."))
    assert whole == Output(tuple(code(" Rome.")), len(code(" Rome")), "Rome", "text")
    assert whole.ids[whole.span :] == stop
    empty = span_question(0, (0, 5), _finish(speaker, request, code("."), "text"))
    assert (empty.ids, empty.wanted, empty.closed) == ((), "", False)
    ended = span_question(0, (0, 5), _finish(speaker, request, code(" Rome"), "stop"))
    assert (ended.ids, ended.wanted, ended.closed) == (tuple(code(" Rome")), "Rome", False)
    full = span_question(0, (0, 5), _finish(speaker, request, [40] * 10, "length"))
    assert (len(full.ids), full.closed) == (10, True)


def test_an_answer_may_end_within_a_token(monkeypatch):
    pieces = {8: " Ro", 9: "me.\n"}
    text = lambda _, ids: "".join(pieces[n] for n in ids)  # noqa: E731
    monkeypatch.setattr("locscope.engine.decode._text", text)
    speaker = speaker_of(frozen("llama"))
    output = _finish(speaker, Request((0,), SPAN_TOKENS), [8, 9], "text")
    question = span_question(0, (0,), output)
    assert (question.ids, question.wanted, question.closed) == ((8, 9), "Rome", True)


def test_an_empty_list_and_broken_weights():
    model = frozen("llama")
    speaker = speaker_of(model)
    assert decode(speaker, []) == ()
    with torch.no_grad():
        model.get_output_embeddings().weight.fill_(float("nan"))
    (output,) = decode(speaker, [Request(PROMPTS[0], 4)])
    assert output.ending == "length"


WORDS = st.sampled_from(
    ["a", "an", "the", "The", "A", "th", "St", "Rome", "rome", "n", "e", "X", "1", "U", "ß", "É",
     "-", "’", "—", "'s", "?", "_", "l’an", "o’a", "é", "\xa0", " ", " ", " ", ".", "\n"]
)  # fmt: skip
TEXTS = st.lists(WORDS, max_size=7).map("".join)


@given(target=TEXTS, output=TEXTS, cut=st.integers(0, 30))
@example(target="l’", output="l’an", cut=4)
@example(target="—cat", output="the—cat", cut=5)
@example(target="A", output="the A", cut=5)
@settings(max_examples=600, deadline=None)
def test_nothing_that_matches_is_ever_called_hopeless(target, output, cut):
    if target.strip() and normalised_match(output, target):
        assert not cannot_match(output[:cut], target)


@given(target=TEXTS, spaces=st.sampled_from(["", " ", "  "]), cut=st.integers(0, 30))
@settings(max_examples=300, deadline=None)
def test_the_target_itself_is_never_called_hopeless(target, spaces, cut):
    output = spaces + target.upper()
    if target.strip() and normalised_match(output, target):
        assert not cannot_match(output[:cut], target)


def test_bytes_of_a_letter_to_come_are_no_mismatch():
    for end in range(1, len("São".encode())):
        beginning = "São".encode()[:end].decode(errors="replace")
        assert not cannot_match(beginning, "São Paulo")
    assert cannot_match("Sap", "São Paulo")
