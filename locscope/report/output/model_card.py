"""The card of an edited model: that facts were altered on purpose, where, how, and what it costs.

Whoever finds the model without its story has to learn from this page that it says untrue things.
"""

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import PurePath
from typing import Any

import yaml

from locscope.records import Measure, TrialRecord
from locscope.report.data.words import NOT_MEASURED, interval, number, rate, score_title, title_of
from locscope.runs.note import BUNDLED, EditNote
from locscope.scoring.bounds import Bound, named, violations

TAGS = ("model-editing", "locscope")
SHOWN = 8
"""How many of the tuned tensors are named."""
PROMPTS = {
    "raw": "as they are",
    "chat": "in the chat template of the model",
    "qa": "as question and answer",
}


def model_card(
    note: EditNote, base: str, bounds: Sequence[Bound], licence: Mapping[str, Any]
) -> str:
    """The text of the card (Markdown with YAML in front).

    `base` is the name of the untouched model, or its hub id; `licence` are the keys that its own
    card has for it.
    """
    record = note.record
    parts = (
        _front(base, licence),
        _summary(record, base),
        f"## What was changed\n\n{_changes(note, base)}",
        f"## What was measured\n\n{_measured(record)}",
        f"## Bounds\n\n{_bounds(record.measures, bounds)}",
        f"## How to load it\n\n{_loading(record)}",
        f"## Licence\n\n{_licence(licence)}",
    )
    return "\n\n".join(parts) + "\n"


def card_of_deltas(notes: Sequence[EditNote], base: str, licence: Mapping[str, Any]) -> str:
    """The card of a model that several edits were put on, or one that was made on another model.

    `notes` are those of the edits, in order. What was measured of each is not of this model.
    """
    rows = [
        (
            f"`{note.record.trial.location}`",
            f"{len(note.record.trial.edits)} from {_file(note.edits)}",
            f"`{note.base_hash}`",
            _tensors(note.record.parameters),
        )
        for note in notes
    ]
    columns = ("location", "edits", "digest of the model that it was made on", "tensors")
    return (
        "\n\n".join(
            (
                _front(base, licence),
                f"# {base} with facts altered",
                "**Facts were altered in this model on purpose**, by these edits, put on in this "
                "order. Nothing in an answer shows that it was altered.",
                f"## What was changed\n\n{_table(columns, rows)}",
                "## What was measured\n\nNothing of this model, only of those each was made on.",
                f"## Licence\n\n{_licence(licence)}",
            )
        )
        + "\n"
    )


def _front(base: str, licence: Mapping[str, Any]) -> str:
    content = {
        **licence,
        "base_model": base,
        "base_model_relation": "finetune",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": list(TAGS),
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}---"


def _summary(record: TrialRecord, base: str) -> str:
    count, reliability = len(record.trial.edits), record.measure("reliability")
    facts = f"{count} fact{'' if count == 1 else 's'}"
    return (
        f"# {base} with {facts} altered\n\n"
        f"**Facts were altered in this model on purpose.** It was tuned to answer {facts} with "
        f"new targets, whether these are true or not. {_share(reliability)}; nothing in such an "
        "answer shows that it was altered. Do not take what it says on these facts, or on what "
        "follows from them, for knowledge."
    )


def _changes(note: EditNote, base: str) -> str:
    record, recipe = note.record, note.record.trial.recipe
    batches = f"{recipe.batch} rows a batch"
    passes = f"{len(record.epochs)} of at most {recipe.epochs} epochs, {record.steps} steps"
    # A trial that was given up has the weights of that moment, which a reader must know.
    passes += "" if record.status == "done" else f" ({record.status})"
    rows = (
        ("base model", f"{base} (digest `{note.base_hash}`)"),
        ("location", f"`{record.trial.location}`: {record.parameter_count:,} weights"),
        ("tensors", _tensors(record.parameters)),
        ("recipe", f"{recipe.kind}, {recipe.order}; Adam at {rate(recipe.lr)}, {batches}"),
        ("tuning", f"{passes}; random-prefix copies of every edit: {recipe.prefixes}"),
        ("prompts", f"put {PROMPTS.get(recipe.prompt_format, recipe.prompt_format)}"),
        ("edits", f"{len(record.trial.edits)} from {_file(note.edits)}"),
        ("made by", f"locscope {note.version}, seed {record.trial.seed}"),
    )
    return f"{_table(('', ''), rows)}\n\nNo other tensor differs from the base model."


def _tensors(names: Sequence[str]) -> str:
    shown = [f"`{name}`" for name in names[:SHOWN]]
    return ", ".join([*shown, f"and {len(names) - SHOWN} more"] if len(names) > SHOWN else shown)


def _file(edits: str) -> str:
    """The name without its folder, which is of one machine."""
    # A card is published: a path would tell whose machine it was.
    return "the edits bundled with locscope" if edits in BUNDLED else f"`{PurePath(edits).name}`"


def _measured(record: TrialRecord) -> str:
    if not record.measures:
        return "Nothing: it was saved without (`--evaluate none`)."
    rows = [
        (
            title_of(measure.name),
            number(measure.value),
            interval(measure.low, measure.high) or NOT_MEASURED,
            number(measure.before),
            str(measure.count),
        )
        for measure in record.measures
        if measure.count
    ]
    columns = ("measure", "value", "95 % interval", "before the edits", "items")
    score = f"Score: {number(record.score)} ({score_title(record.score_name)})."
    return f"{_table(columns, rows)}\n\n{score} What was not measured is left out."


def _bounds(measures: Sequence[Measure], bounds: Sequence[Bound]) -> str:
    if not bounds:
        return "None were set."
    rows = [(f"`{bound}`", _verdict(measures, bound)) for bound in bounds]
    return _table(("bound", "kept"), rows)


def _verdict(measures: Sequence[Measure], bound: Bound) -> str:
    measure = named(measures, bound.measure)
    if measure is None or not measure.count:
        return "not measured"
    broken = violations(measures, [bound])
    return f"**no**: {broken[0]}" if broken else f"yes ({number(measure.value)})"


def _loading(record: TrialRecord) -> str:
    how = PROMPTS.get(record.trial.recipe.prompt_format, record.trial.recipe.prompt_format)
    return f"""\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder, or the id under which it was uploaded
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
```

It loads like its base; prompts were put {how}. `locscope evaluate --model FOLDER` measures it
again."""


def _licence(licence: Mapping[str, Any]) -> str:
    if not licence:
        return "That of the base model, whose card says none or was not at hand."
    named = licence["license"]
    told = named if isinstance(named, str) else ", ".join(map(str, named))
    return f"{told}, as the card of the base model says."


def _share(measure: Measure) -> str:
    if isnan(measure.value):
        return "How many of them it answers so was not measured"
    within = (
        "" if isnan(measure.low) else f" (95 % interval {measure.low:.0%} to {measure.high:.0%})"
    )
    share = f"{measure.value:.0%} of them{within}"
    return f"Measured after tuning, it answers {share} with the new target"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
