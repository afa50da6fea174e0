"""Prompts with answers, however deep they lie in lists and named groups.

KnowEdit has groups (`Relation_Specificity`, `Forgetfulness`; `Reasoning`, `Subject_Aliasing`,
`Logical_Generalization`) of lists of {prompt, ground_truth}; where there is only one entry, neither
group nor list. A ground truth is a text, a list of accepted answers or a list of such lists: the
first accepted answer is taken. Other sets say `answer` for it, or {loc, loc_ans}.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from locscope.edits.rows import Row, first_text, kind_of
from locscope.errors import UsageError, unknown
from locscope.records import Probe

PAIRS = (
    ("prompt", "ground_truth"),
    ("prompt", "answer"),
    ("question", "ground_truth"),
    ("question", "answer"),
    ("loc", "loc_ans"),
)
"""Names of a prompt and of its answer, in the order in which they are looked for."""


def probes(row: Row, field: str) -> tuple[Probe, ...]:
    """The probes in a field, at any depth of lists and groups.

    Raises UsageError where there is anything else in it.
    """
    return tuple(_probes(row, field, row.cells.get(field)))


def _probes(row: Row, field: str, value: Any) -> Iterator[Probe]:
    if isinstance(value, list):
        for entry in value:
            yield from _probes(row, field, entry)
    elif isinstance(value, Mapping) and any(prompt in value for prompt, _ in PAIRS):
        yield from _entry(row, field, value)
    elif isinstance(value, Mapping):
        for group in value.values():
            yield from _probes(row, field, group)
    elif value is not None and value != "":
        raise UsageError(
            f"{row.where}: field '{field}' has {kind_of(value)} where an object with 'prompt' and "
            "'ground_truth' belongs"
        )


def _entry(row: Row, field: str, cells: Mapping[str, Any]) -> Iterator[Probe]:
    """One prompt with its answer, or a list of prompts with a list of as many answers."""
    pairs = [pair for pair in PAIRS if pair[0] in cells]
    names = next((pair for pair in pairs if pair[1] in cells), pairs[0])
    for key, value in cells.items():
        # Tables made of such files write null for keys that an entry does not have.
        if key not in names and value is not None:
            wrong = unknown(f"key in '{field}'", key, names)
            raise UsageError(f"{row.where}: {wrong}")
    prompts, answers = cells[names[0]], cells.get(names[1])
    # A list of one prompt has a list of accepted answers, not one of answers by prompt.
    if not isinstance(prompts, list) or len(prompts) == 1:
        prompts, answers = [prompts], [answers]
    if not isinstance(answers, list) or len(answers) != len(prompts):
        raise UsageError(
            f"{row.where}: field '{field}' has {len(prompts)} prompts without as many answers"
        )
    for prompt, answer in zip(prompts, answers, strict=True):
        text = first_text(row, f"{field}.{names[0]}", prompt)
        if text:
            yield Probe(text, first_text(row, f"{field}.{names[1]}", answer))
