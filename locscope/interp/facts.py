"""Facts: prompts with the untouched model's answer, and the tokens of their subject.

Scans that patch or trace follow the model's own greedy answer. Where that is the edit's old answer,
the fact is `known`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from locscope.edits.texts import subject_in
from locscope.errors import UsageError
from locscope.forward.decoding import SPAN_TOKENS, Output, Request, TextGenerator, decode
from locscope.forward.packed import encode_prompt, frame, prompt_spans
from locscope.records import Edit
from locscope.scoring.text import normalised_match

ROLES = (
    "first subject",
    "middle subject",
    "last subject",
    "first after",
    "further",
    "last",
)
"""Roles of a fact's tokens. The last token of the prompt is `last`, whatever else it is; a subject
of one token is its last. Tokens before the subject have no role."""


@dataclass(frozen=True)
class Fact:
    """A prompt as token ids, and the answer to it that scans follow.

    `subject` is half-open in tokens, None where the edit's subject is not in the prompt; `answer`
    has the answer's tokens, at least one once the model was asked. `relation` is the prompt with
    the subject blanked; `spaced` tells whether a space precedes the subject.
    """

    edit: str
    ids: tuple[int, ...]
    subject: tuple[int, int] | None
    answer: tuple[int, ...] = ()
    known: bool = False
    relation: str = ""
    spaced: bool = False

    @property
    def last(self) -> int:
        """The index of the prompt's last token, whose logits predict the answer."""
        return len(self.ids) - 1

    @property
    def span(self) -> tuple[int, int]:
        """The subject's tokens, half-open; only for facts that have a subject."""
        assert self.subject is not None, f"{self.edit} has no subject"
        return self.subject

    def role(self, token: int) -> str:
        """The token's role, one of `ROLES`; empty before the subject."""
        first, stop = self.span
        if token == self.last:
            return "last"
        if token < first:
            return ""
        if token < stop:
            inner = "first subject" if token == first else "middle subject"
            return "last subject" if token == stop - 1 else inner
        return "first after" if token == stop else "further"


@dataclass(frozen=True)
class Facts:
    """The facts of edits, in their order; `notes` say which edits were left out and why."""

    all: tuple[Fact, ...]
    notes: tuple[str, ...]

    @property
    def with_subject(self) -> tuple[Fact, ...]:
        """Those whose subject was found in the prompt."""
        return tuple(fact for fact in self.all if fact.subject is not None)


def facts_of(
    text_generator: TextGenerator,
    edits: Sequence[Edit],
    prompt_format: str = "raw",
    *,
    strict: bool = False,
    tokens_at_once: int = 16384,
) -> Facts:
    """Finds every edit's subject in its prompt and asks the model for its answer.

    Raises UsageError, with `strict`, for the first edit whose subject is not in its prompt.
    """
    unanswered = [_unanswered(text_generator, edit, prompt_format) for edit in edits]
    problems = {fact.edit: problem for fact, problem in unanswered if problem}
    if strict and problems:
        edit, problem = next(iter(problems.items()))
        raise UsageError(f"edit {edit}: {problem}; correct it or run without --strict")
    requests = [Request(fact.ids, SPAN_TOKENS) for fact, _ in unanswered]
    outputs = decode(text_generator, requests, tokens_at_once)
    facts = tuple(
        _answered(fact, edit, output)
        for edit, (fact, _), output in zip(edits, unanswered, outputs, strict=True)
    )
    stated = sum(bool(edit.old) for edit in edits)
    return Facts(tuple(fact for fact in facts if fact.answer), _notes(facts, problems, stated))


def _unanswered(text_generator: TextGenerator, edit: Edit, prompt_format: str) -> tuple[Fact, str]:
    """An edit's prompt and the subject in it, and the problem where no tokens hold the subject."""
    tokenizer = text_generator.tokenizer
    framed = frame(tokenizer, edit.prompt, prompt_format)
    ids = encode_prompt(tokenizer, edit.prompt, prompt_format)
    offsets = prompt_spans(tokenizer, edit.prompt, prompt_format)
    fact = Fact(edit.id, ids, None)
    # The frame (a chat template) may mention the subject, too.
    characters = subject_in(framed, edit.subject, max(0, framed.rfind(edit.prompt)))
    if characters is None:
        problem = f"its subject '{edit.subject}' is not in its prompt '{edit.prompt}'"
        return fact, problem if edit.subject else "it has no subject"
    first, stop = characters
    fact = replace(fact, relation=f"{framed[:first]}{{}}{framed[stop:]}")
    inside = [i for i, (a, b) in enumerate(offsets) if a < stop and b > first and b > a]
    if inside and _holds(text_generator, ids[inside[0] : inside[-1] + 1], framed[first:stop]):
        spaced = framed[:first][-1:].isspace()
        return replace(fact, subject=(inside[0], inside[-1] + 1), spaced=spaced), ""
    return fact, f"the tokens of its subject '{edit.subject}' cannot be told from their offsets"


def _holds(text_generator: TextGenerator, ids: Sequence[int], subject: str) -> bool:
    """Whether the tokens, decoded, hold the subject, and would not without their first or last."""

    def text(tokens: Sequence[int]) -> str:
        return str(
            text_generator.tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False)
        )

    # Decoded, because some tokenizers give wrong offsets.
    shorter = (ids[1:], ids[:-1])
    return subject in text(ids) and not any(subject in text(tokens) for tokens in shorter)


def _answered(fact: Fact, edit: Edit, output: Output) -> Fact:
    """The fact with the model's answer; without tokens where it answers with nothing."""
    known = bool(edit.old) and normalised_match(output.text, edit.old)
    return replace(fact, answer=output.ids[: output.span], known=bool(output.span) and known)


def _notes(facts: Sequence[Fact], problems: Mapping[str, str], stated: int) -> tuple[str, ...]:
    """What was left out and why; old answers are compared with where `stated` edits have one."""
    lost = [f"{edit} ({problem})" for edit, problem in problems.items()]
    silent = [fact.edit for fact in facts if not fact.answer]
    early = [fact.edit for fact in facts if fact.answer and fact.subject and fact.subject[0] == 0]
    counted = (
        (lost, "not used by scans that need the subject"),
        (silent, "not used, as the model answers them with nothing"),
        (early, "with the subject at the very first token"),
    )
    notes = [_counted(edits, what) for edits, what in counted if edits]
    if not stated:
        return ("no edit states its old answer: what the model says is followed", *notes)
    return (_answers(sum(fact.known for fact in facts), len(facts) - len(silent)), *notes)


def _answers(known: int, count: int) -> str:
    if known == count:
        return f"all {count} facts are answered with the old answer"
    note = f"{known} of {count} facts are answered with the edit's old answer"
    return f"{note}; for the other {count - known}, what the model says instead is followed"


def _counted(names: Sequence[str], what: str) -> str:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} edits {what}: {shown}"
