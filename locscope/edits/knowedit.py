"""KnowEdit (Zhang et al. 2024, arXiv 2401.01286): wiki_counterfact, wiki_recent, its zsRE.

`locality` and `portability` hold groups (`Relation_Specificity`, `Forgetfulness`; `Reasoning`,
`Subject_Aliasing`, `Logical_Generalization`) of lists of {prompt, ground_truth}. Where there is
only one entry, the file has neither group nor list. A ground truth is a text, a list of accepted
answers or a list of such lists; the first accepted answer is taken.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from locscope.edits.rows import Row, first_text, identifier, kind_of, optional, required, texts
from locscope.errors import UsageError, unknown
from locscope.records import Edit, Probe

KEYS = ("prompt", "ground_truth")


def read(row: Row) -> Edit:
    """The edit in a row; questions under `portability` without an answer are left out.

    Raises UsageError where a field is missing, not of its type or has unknown keys.
    """
    hops = _probes(row, "portability", row.cells.get("portability"))
    rephrases = (*texts(row, "rephrase"), *texts(row, "rephrase_prompt"))
    return Edit(
        id=identifier(row, "case_id"),
        prompt=required(row, "prompt"),
        target=required(row, "target_new"),
        subject=optional(row, "subject"),
        old=first_text(row, "ground_truth", row.cells.get("ground_truth")),
        rephrases=tuple(dict.fromkeys(rephrases)),
        neighbours=tuple(_probes(row, "locality", row.cells.get("locality"))),
        multihop=tuple(probe for probe in hops if probe.answer),
    )


def _probes(row: Row, field: str, value: Any) -> Iterator[Probe]:
    """The probes in a field, at any depth of lists and groups."""
    if isinstance(value, list):
        for entry in value:
            yield from _probes(row, field, entry)
    elif isinstance(value, Mapping) and "prompt" in value:
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
    for key in cells:
        if key not in KEYS:
            wrong = unknown(f"key in '{field}'", key, KEYS)
            raise UsageError(f"{row.where}: {wrong}")
    prompts, answers = cells["prompt"], cells.get("ground_truth")
    # A list of one prompt has a list of accepted answers, not one of answers by prompt.
    if not isinstance(prompts, list) or len(prompts) == 1:
        prompts, answers = [prompts], [answers]
    if not isinstance(answers, list) or len(answers) != len(prompts):
        raise UsageError(
            f"{row.where}: field '{field}' has {len(prompts)} prompts without as many answers"
        )
    for prompt, answer in zip(prompts, answers, strict=True):
        text = first_text(row, f"{field}.prompt", prompt)
        if text:
            yield Probe(text, first_text(row, f"{field}.ground_truth", answer))
