"""Facts: prompts with the answer that the untouched model gives, and where their subject stands.

Scans that patch or trace follow the model's own greedy answer. Where that is the edit's old answer
the fact is `known`; else it is what the model says instead.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

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
"""What a token is to its fact. The last token of the prompt is `last`, whatever else it is; a
subject of one token is its last. Tokens before the subject have no role."""


@dataclass(frozen=True)
class Fact:
    """A prompt as token ids, and the answer to it that scans follow.

    `subject` is half-open in tokens, None where the edit's subject is not in the prompt; `answer`
    are the answer's tokens, at least one. `relation` is the prompt with the subject blanked;
    `spaced` says whether a space stands before it.
    """

    edit: str
    ids: tuple[int, ...]
    subject: tuple[int, int] | None
    answer: tuple[int, ...]
    known: bool
    relation: str
    spaced: bool = False

    @property
    def last(self) -> int:
        """The index of the prompt's last token, whose logits predict the answer."""
        return len(self.ids) - 1

    @property
    def span(self) -> tuple[int, int]:
        """The subject's tokens; only for facts that have a subject."""
        assert self.subject is not None, f"{self.edit} has no subject"
        return self.subject

    def role(self, token: int) -> str:
        """What the token is to the fact; empty before the subject."""
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
    """The facts of some edits, in their order; `notes` say which were left out and why."""

    all: tuple[Fact, ...]
    notes: tuple[str, ...]

    @property
    def with_subject(self) -> tuple[Fact, ...]:
        """Those whose subject was found in the prompt."""
        return tuple(fact for fact in self.all if fact.subject is not None)


@dataclass(frozen=True)
class _Placed:
    """A prompt's tokens and those of them that hold the subject; `problem` where there are none."""

    ids: tuple[int, ...]
    subject: tuple[int, int] | None
    relation: str
    problem: str = ""
    spaced: bool = False


def facts_of(
    text_generator: TextGenerator,
    edits: Sequence[Edit],
    prompt_format: str = "raw",
    *,
    strict: bool = False,
    tokens_at_once: int = 16384,
) -> Facts:
    """Finds every edit's subject in its prompt and asks the model for its answer.

    With `strict` a UsageError names the first edit whose subject is not in its prompt.
    """
    placed = [_place(text_generator, edit, prompt_format) for edit in edits]
    for edit, one in zip(edits, placed, strict=True):
        if strict and one.problem:
            raise UsageError(f"edit {edit.id}: {one.problem}; correct it or run without --strict")
    said = decode(text_generator, [Request(one.ids, SPAN_TOKENS) for one in placed], tokens_at_once)
    found = [_fact(*triple) for triple in zip(edits, placed, said, strict=True)]
    return Facts(tuple(fact for fact in found if fact), _notes(edits, placed, found))


def _place(text_generator: TextGenerator, edit: Edit, prompt_format: str) -> _Placed:
    tokenizer = text_generator.tokenizer
    framed = frame(tokenizer, edit.prompt, prompt_format)
    ids = encode_prompt(tokenizer, edit.prompt, prompt_format)
    spans = prompt_spans(tokenizer, edit.prompt, prompt_format)
    inside = _find(framed, edit)
    if inside is None:
        problem = f"its subject '{edit.subject}' is not in its prompt '{edit.prompt}'"
        return _Placed(ids, None, "", problem if edit.subject else "it has no subject")
    first, stop = inside
    relation = f"{framed[:first]}{{}}{framed[stop:]}"
    spaced = framed[:first][-1:].isspace()
    held = [i for i, (a, b) in enumerate(spans) if a < stop and b > first and b > a]
    if held and _holds(text_generator, ids[held[0] : held[-1] + 1], framed[first:stop]):
        return _Placed(ids, (held[0], held[-1] + 1), relation, spaced=spaced)
    problem = f"the tokens of its subject '{edit.subject}' cannot be told from their offsets"
    return _Placed(ids, None, relation, problem)


def _find(text: str, edit: Edit) -> tuple[int, int] | None:
    """Where the subject stands in the prompt within its frame: as a word of its own and as it is
    written, if that can be found; else without regard to case, else within a word."""
    if not edit.subject:
        return None
    start = max(0, text.rfind(edit.prompt))
    plain = re.escape(edit.subject)
    for pattern in (rf"(?<!\w){plain}(?!\w)", plain):
        for flags in (re.NOFLAG, re.IGNORECASE):
            found = re.compile(pattern, flags).search(text, start)
            if found:
                return found.span()
    return None


def _holds(text_generator: TextGenerator, ids: Sequence[int], subject: str) -> bool:
    """Whether the tokens, decoded, hold the subject, and would not without the first or last of
    them: some tokenizers give wrong offsets."""

    def text(some: Sequence[int]) -> str:
        return str(text_generator.tokenizer.decode(list(some), clean_up_tokenization_spaces=False))

    fewer = (ids[1:], ids[:-1])
    return subject in text(ids) and not any(subject in text(some) for some in fewer)


def _fact(edit: Edit, placed: _Placed, said: Output) -> Fact | None:
    if not said.span:
        return None
    known = bool(edit.old) and normalised_match(said.text, edit.old)
    answer = said.ids[: said.span]
    return Fact(
        edit.id,
        placed.ids,
        placed.subject,
        answer,
        known,
        placed.relation,
        placed.spaced,
    )


def _notes(
    edits: Sequence[Edit], placed: Sequence[_Placed], found: Sequence[Fact | None]
) -> tuple[str, ...]:
    silent = [e.id for e, fact in zip(edits, found, strict=True) if fact is None]
    lost = [f"{e.id} ({one.problem})" for e, one in zip(edits, placed, strict=True) if one.problem]
    early = [f.edit for f in found if f is not None and f.subject is not None and f.subject[0] == 0]
    there = [fact for fact in found if fact is not None]
    known = sum(fact.known for fact in there)
    notes = [_known(known, len(there))]
    notes += [_counted(lost, "not used by scans that need the subject")] if lost else []
    notes += (
        [_counted(silent, "not used, as the model answers them with nothing")] if silent else []
    )
    notes += [_counted(early, "with the subject at the very first token")] if early else []
    return tuple(notes)


def _known(known: int, count: int) -> str:
    if known == count:
        return f"all {count} facts are answered with the old answer"
    many = f"{known} of {count} facts are answered with the edit's old answer"
    return f"{many}; for the other {count - known}, what the model says instead is followed"


def _counted(names: Sequence[str], what: str) -> str:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} edits {what}: {shown}"
