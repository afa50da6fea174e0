"""Where the subject stands, what the model answers, and what its tokens are called."""

from dataclasses import replace

import pytest
from families import tiny_tokenizer
from reference.plain_loop import plain_greedy
from scan_worlds import SCAN_EDITS, scan_context
from transformers import PreTrainedTokenizerFast
from worlds import STOP, text_generator_of, tokenizer

from locscope.errors import UsageError
from locscope.interp.facts import Fact, facts_of
from locscope.records import Edit


@pytest.fixture(scope="module")
def context():
    return scan_context("llama")


def of(context, *edits, **settings):
    return facts_of(text_generator_of(context.loaded.model), edits, **settings)


def test_the_subjects_tokens_decode_to_the_subject(context):
    for fact in context.facts.with_subject:
        edit = next(edit for edit in SCAN_EDITS if edit.id == fact.edit)
        first, stop = fact.span
        assert tokenizer().decode(fact.ids[first:stop]).strip() == edit.subject
        assert edit.subject not in tokenizer().decode(fact.ids[first + 1 : stop])
        assert edit.subject not in tokenizer().decode(fact.ids[first : stop - 1])
        assert fact.relation == edit.prompt.replace(edit.subject, "{}", 1)


def test_the_answer_is_the_models_own_greedy_one(context):
    for fact in context.facts.all:
        said = plain_greedy(context.loaded.model, fact.ids, 10, (STOP,))
        assert said[: len(fact.answer)] == fact.answer


def test_a_fact_is_known_where_the_model_says_the_old_answer(context):
    (fact,) = of(context, SCAN_EDITS[0]).all
    said = tokenizer().decode(fact.answer).strip()
    knows, *_ = of(context, replace(SCAN_EDITS[0], old=said)).all
    assert knows.known
    assert not fact.known


def test_roles_of_tokens():
    fact = Fact("e", tuple(range(9)), (2, 5), (7,), False, "")
    assert [fact.role(token) for token in range(9)] == [
        *("", "", "first subject", "middle subject", "last subject"),
        *("first after", "further", "further", "last"),
    ]
    one = Fact("e", tuple(range(4)), (1, 2), (7,), False, "")
    assert [one.role(token) for token in range(4)] == ["", "last subject", "first after", "last"]
    at_end = Fact("e", tuple(range(4)), (2, 4), (7,), False, "")
    assert [at_end.role(token) for token in range(4)] == ["", "", "first subject", "last"]


def test_a_subject_that_is_not_there_is_named_and_counted(context):
    lost = Edit("lost", "Nothing here is", "x", subject="France")
    found = of(context, SCAN_EDITS[0], lost, replace(lost, id="none", subject=""))
    assert [fact.edit for fact in found.with_subject] == ["p"]
    (note,) = [note for note in found.notes if "not used by scans" in note]
    assert note.startswith("2 edits")
    assert "lost (its subject 'France' is not in its prompt 'Nothing here is')" in note
    with pytest.raises(UsageError, match="edit lost: its subject 'France' is not in its prompt"):
        of(context, SCAN_EDITS[0], lost, strict=True)


@pytest.mark.parametrize(
    ("prompt", "subject", "expected"),
    [
        ("In Canada, Ana lives in", "Ana", " Ana"),
        ("The canal of the bana Ana", "Ana", " Ana"),
        ("paris is where Paris lies", "Paris", " Paris"),
        ("in FRANCE they say", "France", " FRANCE"),
        ("Unparalleled: parallels are", "parallel", "parallel"),
        ("Die Straße in Hamburg ist", "Hamburg", " Hamburg"),
        ("İzmir und İstanbul sind", "İstanbul", " İstanbul"),
        ("Bora Bora is", "Bora Bora", "Bora Bora"),
    ],
)
def test_the_subject_is_found_as_a_word_of_its_own(context, prompt, subject, expected):
    (fact,) = of(context, Edit("e", prompt, "x", subject=subject)).with_subject
    first, stop = fact.span
    text = tokenizer().decode(fact.ids[first:stop], clean_up_tokenization_spaces=False)
    assert text.strip() == expected.strip()
    assert fact.spaced == (expected[0] == " ")


def test_the_subject_is_looked_for_in_the_prompt_and_not_in_its_frame(context):
    edit = Edit("e", "What Question is", "x", subject="Question")
    (fact,) = of(context, edit, prompt_format="qa").with_subject
    assert fact.relation == "Question: What {}\nAnswer:".replace("{}", "{} is")


def test_a_subject_at_the_very_first_token_is_noted():
    context = scan_context("llama")
    plain = replace(context.suite.text_generator, tokenizer=_without_bos())
    found = facts_of(plain, [SCAN_EDITS[3]])
    assert found.all[0].span[0] == 0
    assert any("at the very first token: s" in note for note in found.notes)


def _without_bos():
    return tiny_tokenizer(bos=False)


class _Lying(PreTrainedTokenizerFast):
    """Its offsets are shifted, as Llama 3's once were."""

    def __call__(self, text, **settings):
        coded = super().__call__(text, **settings)
        if "offset_mapping" in coded:
            coded["offset_mapping"] = [(a + 9, b + 9) for a, b in coded["offset_mapping"]]
        return coded


def test_offsets_that_lie_are_found_out(context):
    liar = tiny_tokenizer()
    liar.__class__ = _Lying
    found = facts_of(
        replace(text_generator_of(context.loaded.model), tokenizer=liar), [SCAN_EDITS[0]]
    )
    assert found.with_subject == ()
    assert "cannot be told from their offsets" in " ".join(found.notes)
