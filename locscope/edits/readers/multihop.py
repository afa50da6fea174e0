"""Sets of questions that need edits: MQuAKE and RippleEdits.

MQuAKE (Zhong et al. 2023, arXiv 2305.14795): a row has one or several edits and questions whose
answer follows from all of them. Each edit becomes one, with all questions of its row. Its
`single_hops` and `orig` (the chain of facts) are not used. EasyEdit's copy adds a neighbour.

RippleEdits (Cohen et al. 2024, arXiv 2307.12976): the edit is a sentence, which is cut where its
object begins, as nothing says where. Its six criteria are lists of tests of several queries:
subject aliases become other forms; logical generalisation and both compositions, multi-hop
questions; specificity and forgetfulness, neighbours. That a query counts only where a model knows
the facts in `condition_queries` is left to the reader of the results.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from locscope.edits.readers.counterfact import read_published
from locscope.edits.rows import (
    Row,
    asked,
    first_answer,
    first_text,
    inner,
    kind_of,
    probe,
    required,
    texts,
)
from locscope.errors import UsageError
from locscope.records import Edit, Probe

ALIASES = "Subject_Aliasing"
HOPS = ("Logical_Generalization", "Compositionality_I", "Compositionality_II")
# The published files spell the first without its third i.
STAY = ("Relation_Specificity", "Relation_Specifity", "Forgetfulness")
VERBS = (" is ", " are ", " was ", " were ", " died in ", " speaks ", " plays ")
"""Where a sentence of RippleEdits without an old fact is cut: after the last of these."""


def rewrites(row: Row) -> tuple[Row, ...]:
    """A row for each edit of a row of MQuAKE."""
    several = row.cells.get("requested_rewrite")
    if not isinstance(several, list):
        return (row,)
    return tuple(
        replace(
            row, where=f"{row.where}, edit {i}", cells={**row.cells, "requested_rewrite": rewrite}
        )
        for i, rewrite in enumerate(several, start=1)
    )


def read_mquake(row: Row) -> Edit:
    """One edit of a row, with the questions that need it (and the others of that row).

    Raises UsageError where a field is missing or not of its type.
    """
    edit = read_published(row)
    answer = first_answer(row, "new_answer")
    hops = (Probe(question, answer) for question in texts(row, "questions"))
    return replace(
        edit,
        neighbours=(*edit.neighbours, *probe(row, "loc", "loc_ans")),
        multihop=asked(row, "multi-hop questions", *hops),
    )


def read_ripple(row: Row) -> Edit:
    """The edit in a row, whose sentence is cut before its object.

    Raises UsageError where a field is missing, not of its type, or the sentence cannot be cut.
    """
    fact = inner(row, "edit")
    aliases = tuple(_queries(row, ALIASES))
    sentence = _sentence(required(fact, "prompt"))
    # Two names in the files of two years.
    old = [inner(fact, name) for name in ("original_fact", "previous_fact")]
    before = next((_sentence(required(row, "prompt")) for row in old if row.cells), "")
    cut = _cut(sentence, before, [probe.answer for probe in aliases])
    if not cut or not sentence[cut:].strip():
        raise UsageError(f"{row.where}: field 'edit.prompt' cannot be cut where the object begins")
    return Edit(
        id="",
        prompt=sentence[:cut].strip(),
        target=sentence[cut:].strip(),
        old=before[cut:].strip(),
        neighbours=tuple(probe for name in STAY for probe in _queries(row, name)),
        forms=asked(row, "aliases", *(replace(probe, kind="alias") for probe in aliases)),
        multihop=asked(row, "questions", *(p for name in HOPS for p in _queries(row, name))),
    )


def _queries(row: Row, criterion: str) -> Iterator[Probe]:
    """The queries of all tests of a criterion, with the first accepted answer of each."""
    for test in _objects(row, criterion, row.cells.get(criterion)):
        for query in _objects(row, f"{criterion}.test_queries", test.get("test_queries")):
            said = query.get("prompt") or query.get("phrase")
            prompt = first_text(row, f"{criterion}.prompt", said)
            answers = [
                answer.get("value")
                for answer in _objects(row, f"{criterion}.answers", query.get("answers"))
            ]
            if prompt:
                yield Probe(prompt, first_text(row, f"{criterion}.answers", answers))


def _objects(row: Row, field: str, value: Any) -> Sequence[Mapping[str, Any]]:
    listed = value if isinstance(value, list) else [] if value is None else [value]
    for entry in listed:
        if not isinstance(entry, Mapping):
            raise UsageError(f"{row.where}: field '{field}' has {kind_of(entry)}, not objects")
    return listed


def _sentence(text: str) -> str:
    return text.strip().removesuffix(".")


def _cut(sentence: str, before: str, answers: Sequence[str]) -> int:
    """Where the object begins: where the old sentence differs, where an alias' answer stands, or
    after the last verb; 0 where none tells."""
    if before:
        shared = 0
        for ours, theirs in zip(sentence.split(" "), before.split(" "), strict=False):
            if ours != theirs:
                return shared
            shared += len(ours) + 1
    for answer in answers:
        if answer and sentence.endswith(f" {answer}"):
            return len(sentence) - len(answer)
    return max(sentence.rfind(verb) + len(verb) if verb in sentence else 0 for verb in VERBS)
