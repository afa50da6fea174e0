import pytest
import torch
from tokenizers import processors
from worlds import STOP, frozen, rows_of, speaker_of, tokenizer

from locscope.engine.questions import MAX_TOKENS, target_question
from locscope.engine.texts import NO_LABEL, encode, encode_prompt, encode_text, pack
from locscope.engine.trunk import pad
from locscope.errors import UsageError

CHAT = "{% for m in messages %}<u>{{ m['content'] }}</u>{% endfor %}<a>"


def text_of(ids):
    return tokenizer().decode(ids)


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [("The capital of France is", "Rome"), ("1 2 3", "4"), ("Café", "São Paulo"), ("U", "U.S.")],
)
def test_the_answer_is_what_lies_beyond_the_prompt(prompt, answer):
    row = encode(tokenizer(), prompt, answer, STOP)
    assert text_of(row.ids[: row.answer]) == f"<bos>{prompt}"
    assert text_of(row.ids[row.answer :]) == f" {answer}"
    assert row.aligned
    assert row.ids[: row.answer] == encode_prompt(tokenizer(), prompt)
    assert row.final == STOP
    assert STOP not in row.ids


def test_a_prompt_that_tokenises_differently_with_its_answer_is_told(monkeypatch):
    monkeypatch.setattr(tokenizer(), "chat_template", "{{ messages[0]['content'] }}")
    row = encode(tokenizer(), "The capi", "tal of", STOP, "chat")
    assert not row.aligned
    assert row.ids[: row.answer] != encode_prompt(tokenizer(), "The capi", "chat")
    assert text_of(row.ids[row.answer :]).endswith("tal of")


def test_the_qa_format():
    row = encode(tokenizer(), "Who wrote it?", "I", STOP, "qa")
    assert text_of(row.ids) == "<bos>Question: Who wrote it?\nAnswer: I"
    assert text_of(row.ids[row.answer :]) == " I"


def test_the_chat_format(monkeypatch):
    with pytest.raises(UsageError, match="no chat template"):
        encode(tokenizer(), "Who?", "I", STOP, "chat")
    monkeypatch.setattr(tokenizer(), "chat_template", CHAT)
    row = encode(tokenizer(), "Who?", "I", STOP, "chat")
    assert text_of(row.ids) == "<u>Who?</u><a>I"
    assert text_of(row.ids[row.answer :]) == "I"


def test_specials_that_a_template_appends_are_left_out(monkeypatch):
    own = tokenizer()
    plain = encode(own, "The answer", "Paris", STOP)
    before = own.backend_tokenizer.post_processor
    own.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 0), ("<eos>", 1)]
    )
    try:
        assert encode(own, "The answer", "Paris", STOP) == plain
        assert encode_prompt(own, "The answer")[-1] != STOP
    finally:
        own.backend_tokenizer.post_processor = before


@pytest.mark.parametrize("answer", ["", "  "])
def test_an_empty_target_is_refused(answer):
    with pytest.raises(UsageError, match="is empty after tokenisation"):
        encode(tokenizer(), "The answer", answer, STOP)


def test_running_text():
    whole = encode_text(tokenizer(), "1 2", specials=True)
    bare = encode_text(tokenizer(), "1 2", specials=False)
    assert whole is not None
    assert bare is not None
    assert whole.ids == (0, *bare.ids)
    assert (whole.answer, whole.final) == (1, NO_LABEL)
    assert encode_text(tokenizer(), "1", specials=False) is None


def test_a_batch_scores_answers_and_stops():
    rows = rows_of(frozen("llama"))
    batch = pad(pack(rows), [3, 0], torch.device("cpu"))
    for i, row in enumerate((rows[3], rows[0])):
        length = len(row.ids)
        assert tuple(batch.ids[i, :length].tolist()) == row.ids
        assert batch.real[i].sum() == length
        scored = batch.scored[i].nonzero()[:, 0].tolist()
        assert scored == list(range(row.answer - 1, length))
        assert batch.labels[i][scored].tolist() == [*row.ids[row.answer :], STOP]


def test_a_long_or_dotted_target_gets_its_room():
    speaker = speaker_of(frozen("llama"))
    long = target_question(speaker, 0, "The answer", "1 " * 40 + "2", STOP, "raw")
    assert long.limit == len(long.ids) + 1 > MAX_TOKENS
    assert not long.dotted
    dotted = target_question(speaker, 0, "The answer", "U.S.", STOP, "raw")
    assert (dotted.limit, dotted.dotted, dotted.wanted) == (MAX_TOKENS, True, "U.S.")
