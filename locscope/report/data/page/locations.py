"""Every location in detail, as plain data for the page: its trials, curves and failed edits."""

import json
from collections import defaultdict
from collections.abc import Iterable
from math import isnan
from typing import Any

from locscope.records import EditOutcome, TrialRecord
from locscope.report.data.inputs import ReportInputs, standing
from locscope.report.data.words import in_words, rate, title_of

MEASURES = ("reliability", "generalization", "locality", "perplexity_ratio", "retention")
MOST_BYTES = 1_500_000
"""Of all details in one page, which has 8 MB for everything; the library that draws has five."""
LISTED = (60, 25, 10, 4, 0)
"""Failed edits of a trial that are listed: as many as that size allows."""
DEPLOYED = "deployed"
"""The rung of the trial on the edits that will be made."""
LONGEST = 300
"""Characters of a prompt or an answer."""


def location_details(inputs: ReportInputs, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """By location its trials, the recommended one first, then the best: fields in `columns`.

    `texts` are prompts and answers, which the failed edits name by number. Failed edits beyond
    what fits in `most_bytes` are counted and not listed.
    """
    if not inputs.trials:
        return {}
    details: dict[str, Any] = {}
    for listed in LISTED:
        details = _details(inputs, listed)
        if len(json.dumps(details, ensure_ascii=False).encode()) <= most_bytes:
            break
    return details


def _details(inputs: ReportInputs, listed: int) -> dict[str, Any]:
    by_location: dict[str, list[TrialRecord]] = defaultdict(list)
    for record in inputs.trials:
        by_location[str(record.trial.location)].append(record)
    recommended = str(inputs.best.location) if inputs.best else ""
    first = lambda name: (name == recommended, _best(by_location[name]))  # noqa: E731
    names = sorted(by_location, key=first, reverse=True)
    texts = _Texts(inputs)
    trials = {name: _trials(by_location[name], texts, listed) for name in names}
    return {
        "recommended": recommended,
        "roles": _roles(inputs),
        "measures": [title_of(name) for name in MEASURES],
        "trials": trials,
        "texts": texts.all,
    }


def _roles(inputs: ReportInputs) -> dict[str, list[str]]:
    roles: dict[str, list[str]] = defaultdict(list)
    for contender in inputs.recommendation.contenders if inputs.recommendation else ():
        roles[str(contender.location)].append(contender.role)
    return dict(roles)


def _best(records: Iterable[TrialRecord]) -> tuple:
    # A quick score is of probabilities: it does not rank beside those of full trials.
    return max((not record.trial.quick, *standing(record)) for record in records)


class _Texts:
    """Texts that recur in many trials, each held once."""

    def __init__(self, inputs: ReportInputs):
        self.all: list[str] = []
        self._index: dict[str, int] = {}
        self._edits = {edit.id: f"{edit.prompt} → {edit.target}" for edit in inputs.edits}

    def number(self, text: str) -> int:
        """Where the text stands in `all`."""
        text = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
        if text not in self._index:
            self._index[text] = len(self.all)
            self.all.append(text)
        return self._index[text]

    def edit(self, name: str) -> int:
        """An edit by its id, with prompt and target where they are known."""
        return self.number(f"{name}: {self._edits[name]}" if name in self._edits else name)


def _trials(records: list[TrialRecord], texts: _Texts, listed: int) -> list[dict[str, Any]]:
    # What says most comes first: on all edits, held out, validated; rungs of few edits last.
    splits = ("all", "T", "V", "S")
    place = lambda r: splits.index(r.trial.split) if r.trial.split in splits else 9  # noqa: E731
    # The fit has trials on all edits too, by which a recipe was chosen.
    fits = lambda r: (r.trial.rung != DEPLOYED, -len(r.trial.edits))  # noqa: E731
    key = lambda r: (r.trial.quick, place(r), *fits(r), r.trial.recipe.lr)  # noqa: E731
    ordered = sorted(records, key=key)
    return [_trial(record, texts, listed) for record in ordered]


def _trial(record: TrialRecord, texts: _Texts, listed: int) -> dict[str, Any]:
    trial, recipe = record.trial, record.trial.recipe
    said = [] if record.status == "done" else [record.status]
    failed = () if trial.quick else tuple(filter(_failed, record.outcomes))
    return {
        "rung": trial.rung,
        "quick": trial.quick,
        "split": trial.split,
        "edits": len(trial.edits),
        "lr": rate(recipe.lr),
        "recipe": f"{recipe.kind}, batch {recipe.batch}",
        "score": _plain(record.score),
        "values": [_plain(record.measure(name).value) for name in MEASURES],
        "note": "; ".join((*said, *_missed(record))),
        "losses": [_plain(epoch.loss) for epoch in record.epochs],
        "judged": 0 if trial.quick else len(record.outcomes),
        "failed": sum(outcome.reliability < 1 for outcome in failed),
        "broke": sum(bool(outcome.broken) for outcome in failed),
        "listed": [_outcome(outcome, texts) for outcome in sorted(failed, key=_worst)[:listed]],
    }


def _missed(record: TrialRecord) -> tuple[str, ...]:
    """The bounds that a trial misses; those of trials that choose have a margin for chance."""
    while_choosing = " (the bound while choosing, tighter than that asked for)"
    after = while_choosing if record.trial.choosing else ""
    return tuple(in_words(line) + after for line in record.violated)


def _failed(outcome: EditOutcome) -> bool:
    return outcome.reliability < 1 or bool(outcome.broken)


def _worst(outcome: EditOutcome) -> tuple[float, float]:
    # An edit that was not judged is no failure: it has a neighbour that broke.
    return (2.0 if isnan(outcome.reliability) else outcome.reliability), -len(outcome.broken)


def _outcome(outcome: EditOutcome, texts: _Texts) -> list[Any]:
    return [
        texts.edit(outcome.edit),
        _plain(outcome.reliability),
        _plain(outcome.target_probability),
        texts.number(outcome.output),
        [texts.number(prompt) for prompt in outcome.broken],
    ]


def _plain(value: float) -> float | None:
    """Four digits, and None for what was not measured: JSON has no NaN, and no infinity."""
    return float(f"{value:.4g}") if abs(value) < float("inf") else None
