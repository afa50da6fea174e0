"""Tables rebuilt from the records of a run: trials, measures, edits and scans, as parquet.

Rows are sorted, so equal records give equal tables. `layer` is -1 where a location has more than
one layer; `part` of a head is ``attn.h3``; joined locations have their parts joined by ``+``.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from locscope.locations import Location, Site
from locscope.records import ScanResult, TrialRecord
from locscope.runs.files import explained, write_atomic_with

NUMBER, INTEGER, TEXT = "float64", "int64", "string"
_PLACE = {"trial": TEXT, "location": TEXT, "layer": INTEGER, "part": TEXT}
_RUN = {"recipe": TEXT, "lr": NUMBER, "rung": TEXT, "split": TEXT, "seed": INTEGER}

TRIALS = {
    **_PLACE,
    **_RUN,
    "order": TEXT,
    "batch": INTEGER,
    "epochs": INTEGER,
    "prefixes": INTEGER,
    "prompt_format": TEXT,
    "model": TEXT,
    "edit_set": TEXT,
    "edits": INTEGER,
    "status": TEXT,
    "score": NUMBER,
    "score_name": TEXT,
    "violated": TEXT,
    "epochs_run": INTEGER,
    "steps": INTEGER,
    "parameter_count": INTEGER,
    "change_norm": NUMBER,
    "decoded": INTEGER,
    "seconds": NUMBER,
    "flops": NUMBER,
}
MEASURES = {
    **_PLACE,
    **_RUN,
    "epoch": INTEGER,
    "measure": TEXT,
    "protocol": TEXT,
    "value": NUMBER,
    "before": NUMBER,
    "count": INTEGER,
    "low": NUMBER,
    "high": NUMBER,
}
EDITS = {
    **_PLACE,
    **_RUN,
    "edit": TEXT,
    "reliability": NUMBER,
    "reliability_strict": NUMBER,
    "generalization": NUMBER,
    "locality": NUMBER,
    "target_probability": NUMBER,
    "rephrase_probability": NUMBER,
    "neighbour_kept": NUMBER,
    "output": TEXT,
    "broken": TEXT,
}
SCANS = {
    "scan": TEXT,
    "variant": TEXT,
    "location": TEXT,
    "layer": INTEGER,
    "part": TEXT,
    "head": INTEGER,
    "role": TEXT,
    "score": NUMBER,
    "low": NUMBER,
    "high": NUMBER,
    "count": INTEGER,
    "seed": INTEGER,
}
LOSS = "epoch_loss"
LOSS_PROTOCOL = "mean loss on target and end tokens while tuning, nats"

Row = dict[str, Any]


def write_tables(
    folder: str | os.PathLike[str], trials: Sequence[TrialRecord], scans: Sequence[ScanResult]
) -> dict[str, int]:
    """Writes the four tables of the run folder; gives the number of rows of each file.

    In `measures` the loss of every epoch is a row with its number (from 1); what was measured
    after tuning has the number of the last epoch. `broken` in `edits` has a prompt per line.
    """
    tables: dict[str, tuple[dict[str, str], Iterator[Iterable[Row]]]] = {
        "trials.parquet": (TRIALS, ([_trial_row(record)] for record in trials)),
        "measures.parquet": (MEASURES, map(_measure_rows, trials)),
        "edits.parquet": (EDITS, map(_edit_rows, trials)),
        "scans.parquet": (SCANS, map(_scan_rows, scans)),
    }
    return {
        name: _write(Path(folder) / name, columns, parts)
        for name, (columns, parts) in tables.items()
    }


def layer_and_part(location: Location) -> tuple[int, str]:
    """Layer and part of a location as the tables have them."""
    sites = location.sites
    layers = {layer for site in sites for layer in (site.first, site.last)}
    parts = dict.fromkeys(_part(site) for site in sites)
    return (layers.pop() if len(layers) == 1 else -1), "+".join(parts)


def _part(site: Site) -> str:
    return site.part if site.head is None else f"{site.part}.h{site.head}"


def _common(record: TrialRecord) -> Row:
    trial = record.trial
    layer, part = layer_and_part(trial.location)
    return {
        "trial": trial.id,
        "location": str(trial.location),
        "layer": layer,
        "part": part,
        "recipe": trial.recipe.kind,
        "lr": trial.recipe.lr,
        "rung": trial.rung,
        "split": trial.split,
        "seed": trial.seed,
    }


def _trial_row(record: TrialRecord) -> Row:
    trial, recipe = record.trial, record.trial.recipe
    own = ("status", "score", "score_name", "steps", "parameter_count")
    cost = ("change_norm", "decoded", "seconds", "flops")
    return {
        **_common(record),
        **{name: getattr(recipe, name) for name in ("order", "batch", "epochs", "prefixes")},
        "prompt_format": recipe.prompt_format,
        "model": trial.model,
        "edit_set": trial.edit_set,
        "edits": len(trial.edits),
        "violated": "; ".join(record.violated),
        "epochs_run": len(record.epochs),
        **{name: getattr(record, name) for name in (*own, *cost)},
    }


def _measure_rows(record: TrialRecord) -> Iterator[Row]:
    common, nothing = _common(record), float("nan")
    for number, epoch in enumerate(record.epochs, start=1):
        loss = {"epoch": number, "measure": LOSS, "protocol": LOSS_PROTOCOL, "value": epoch.loss}
        rest = {"before": nothing, "count": len(record.trial.edits), "low": nothing}
        yield {**common, **loss, **rest, "high": nothing}
    names = ("protocol", "value", "before", "count", "low", "high")
    for measure in record.measures:
        values = {name: getattr(measure, name) for name in names}
        yield {**common, "epoch": len(record.epochs), "measure": measure.name, **values}


def _edit_rows(record: TrialRecord) -> Iterator[Row]:
    common = _common(record)
    own = [name for name in EDITS if name not in (*_PLACE, *_RUN, "broken")]
    for outcome in record.outcomes:
        values = {name: getattr(outcome, name) for name in own}
        yield {**common, **values, "broken": "\n".join(outcome.broken)}


def _scan_rows(scan: ScanResult) -> Iterator[Row]:
    names = ("variant", "location", "layer", "part", "head", "role")
    names += ("score", "low", "high", "count")
    for score in scan.scores:
        values = {name: getattr(score, name) for name in names}
        yield {"scan": scan.descriptor.name, "seed": scan.seed, **values}


def _write(path: Path, columns: dict[str, str], parts: Iterable[Iterable[Row]]) -> int:
    """Writes the rows of all records, each record's together, and says how many they are."""
    # Only here: pandas is slow to import, and most commands write no tables.
    import pandas as pd

    # Not by numbers: those of another machine differ in their last digits, and rows would move.
    keys = [name for name, kind in columns.items() if kind != NUMBER]
    # Record by record: as columns rows take a fraction of what they take as dictionaries, and of a
    # large set of edits there are millions.
    frames = [_frame(columns, list(rows)) for rows in parts] or [_frame(columns, [])]
    frame = pd.concat(frames, ignore_index=True)
    frame = frame.sort_values(keys, kind="stable", ignore_index=True)
    with explained(f"write {path}"):
        write_atomic_with(path, partial(frame.to_parquet, index=False))
    return len(frame)


def _frame(columns: dict[str, str], rows: list[Row]) -> Any:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns)).astype(columns)
