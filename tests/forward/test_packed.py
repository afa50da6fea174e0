import pytest
import torch
from tokenizers import processors
from worlds import STOP, frozen, rows_of, text_generator_of, tokenizer

from locscope.errors import UsageError
from locscope.evaluation.questions import MAX_TOKENS, target_question
from locscope.forward.packed import (
    NO_LABEL,
    _joint,
    encode,
    encode_prompt,
    encode_text,
    frame,
    pack,
)
from locscope.forward.prefix_cache import pad

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


THINKS = CHAT + "{% if enable_thinking is defined and not enable_thinking %}<no>{% endif %}"


def test_a_chat_template_that_lets_think_is_told_not_to(monkeypatch):
    monkeypatch.setattr(tokenizer(), "chat_template", THINKS)
    row = encode(tokenizer(), "Who?", "I", STOP, "chat")
    assert text_of(row.ids) == "<u>Who?</u><a><no>I"


def test_a_reasoning_block_that_a_template_opens_is_closed(monkeypatch):
    monkeypatch.setattr(tokenizer(), "chat_template", CHAT + "<think>\n")
    framed = frame(tokenizer(), "Who?", "chat")
    assert framed == "<u>Who?</u><a><think>\n\n</think>\n\n"


@pytest.mark.parametrize(
    ("prompt", "answer", "joint"),
    [
        ("《资治通鉴》的编纂者是", "欧阳修", ""),
        ("《资治通鉴》的作者：", "Sima", ""),
        ("日本の首都は", "東京", ""),
        ("เมืองหลวงคือ", "โรม", ""),
        ("ເມືອງ", "ວຽງຈັນ", ""),
        ("រាជធានី", "ភ្នំពេញ", ""),
        ("မြို့တော်", "ရန်ကုန်", ""),
        ("프랑스의 수도는", "로마", " "),
        ("Beijing is written", "北京", " "),
        ("Столица", "Рим", " "),
        ("1 2 3", "4", " "),
        ("1 =", "一", ""),
    ],
)
def test_no_space_is_put_where_a_script_has_none(prompt, answer, joint):
    assert _joint(frame(tokenizer(), prompt, "raw"), answer, "raw") == joint
    assert _joint(frame(tokenizer(), prompt, "qa"), answer, "qa") == " "


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
    text_generator = text_generator_of(frozen("llama"))
    long = target_question(text_generator, 0, "The answer", "1 " * 40 + "2", STOP, "raw")
    assert long.limit == len(long.ids) + 1 > MAX_TOKENS
    assert not long.dotted
    dotted = target_question(text_generator, 0, "The answer", "U.S.", STOP, "raw")
    assert (dotted.limit, dotted.dotted, dotted.wanted) == (MAX_TOKENS, True, "U.S.")
