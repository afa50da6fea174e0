"""From 1,000 to 100,000 edits: time and memory of every stage, and how they grow.

    python -m analyses.bench_scale                        all stages, 1,000 to 100,000 edits
    python -m analyses.bench_scale --counts 1000 3000 --measured scale.json

Synthetic edits (each with a rephrase and a neighbour), a random Llama of two blocks with the
bundled tokenizer, the prefix in a file (`--device-memory` and `--host-memory` of 1 MiB). A
count is a process of its own; time is that of its CPU, memory the peak of each stage. The exponent
is the slope of log time against log count from 3,000 edits on, by least squares: 1 is linear.
The report is that of a small search whose trials are made as long as `count` edits make them.
Writes `reports/bench_scale.md`.
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from analyses.scale_parts.growth import FITTED, Stages, by_count, tables
from locscope.edits import EditSet, read_edits, settled
from locscope.locations import Location
from locscope.models.load import Loaded, load
from locscope.models.parts import grid
from locscope.progress import Silent
from locscope.records import Edit, Recipe, Trial, TrialRecord, default_batch
from locscope.records.checks import identity
from locscope.report.data.inputs import ReportInputs
from locscope.report.output.page import render_report
from locscope.runs.store import read_record, write_record
from locscope.runs.tables import write_tables
from locscope.settings import EditSettings, SearchSettings
from locscope.tuning.trial import run_trial
from locscope.tuning.workspace import Workspace
from locscope.workflows.early.edits import split_edits
from locscope.workflows.edit_files import check_edits
from locscope.workflows.report import load_run
from locscope.workflows.search.plan import plan_search
from locscope.workflows.search.run import search
from locscope.workflows.workspace import write_suite

COUNTS = (1000, 3000, 10_000, 30_000, 100_000)
WIDTH, BLOCKS, TUNED = 32, 2, 1
ROOM = 1 / 1024
"""GiB for cached activations on device and host: a stream of 1,000 edits goes to a file."""


def main() -> None:
    options = _options()
    if options.one:
        count, group, run = options.one
        print(json.dumps(measured(count, group, Path(run))))
        return
    known, found = options.measured, dict[str, Stages]()
    if known and known.is_file():
        found = json.loads(known.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        run = _small_run(Path(folder))
        for count in options.counts:
            for group in options.groups:
                name = f"{count} {group}"
                found[name] = found.get(name) or _apart(str(count), group, str(run))
                print(name, json.dumps(found[name]), flush=True)
                if known:
                    known.write_text(json.dumps(found), encoding="utf-8")
    text = report(by_count(found))
    print(text)
    options.output.write_text(text, encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", nargs="*", type=int, default=list(COUNTS))
    parser.add_argument("--groups", nargs="*", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--output", type=Path, default=Path("reports/bench_scale.md"))
    parser.add_argument("--measured", type=Path, help="JSON of what is not to be run again")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def _apart(*one: str) -> Stages:
    """`measured` in a process of its own."""
    command = [sys.executable, "-m", "analyses.bench_scale", "--one", *one]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@dataclass
class Clock:
    """Measures one stage after the other: seconds, and MiB above what was held at first."""

    stages: Stages
    held: float = 0.0

    def __call__(self, name: str, run: Callable[[], Any]) -> Any:
        gc.collect()
        self.held = self.held or _status("VmRSS")
        # Linux: the peak starts again from what is held now.
        Path("/proc/self/clear_refs").write_text("5")
        began = time.process_time()
        found = run()
        seconds = time.process_time() - began
        self.stages.append({"name": name, "seconds": seconds, "peak": _status("VmHWM") - self.held})
        return found


def _status(name: str) -> float:
    """MiB of this process, as Linux counts them."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def measured(count: str, group: str, run: Path) -> Stages:
    """Every stage of a group on so many edits, in the order of a run."""
    torch.set_num_threads(1)
    clock, folder = Clock([]), run / f"{count}-{group}"
    folder.mkdir(parents=True)
    path = folder / "edits.jsonl"
    write_edits(path, int(count))
    # Loaded first, so that what every stage adds is beside the same.
    GROUPS[group](clock, path, tiny_model())
    return clock.stages


def _texts(clock: Clock, path: Path, _: Loaded) -> None:
    settings = SearchSettings(edits=str(path))
    clock("check --edits", lambda: check_edits(settings))
    given = clock("reading", lambda: read_edits(str(path)))
    given = clock("conflicts", lambda: settled(given, None))
    clock("split and subsets", lambda: split_edits(settings, given))


def _edited(clock: Clock, path: Path, loaded: Loaded) -> None:
    given = settled(read_edits(str(path)), None)
    plain = clock("rows, packed", partial(_workspace, loaded, _alone(given), False))
    clock("prefix to a file", lambda: plain.prefix_cache.enter(TUNED))
    clock("edit, not evaluated", partial(run_trial, plain, _trial(given), measured=False))


def _asked(clock: Clock, path: Path, loaded: Loaded) -> None:
    given = settled(read_edits(str(path)), None)
    asked = clock("rows of all questions", partial(_workspace, loaded, given, True))
    asked.prefix_cache.enter(TUNED)
    clock("untouched model", lambda: asked.before)
    trial = _trial(given)
    record = clock("edit, quick evaluation", lambda: run_trial(asked, trial).record)
    del asked
    _written(clock, path.parent, record, given.edits)


GROUPS = {"texts": _texts, "edit": _edited, "evaluation": _asked}
"""Stages that are measured in one process."""


def _written(clock: Clock, folder: Path, record: TrialRecord, edits: Sequence[Edit]) -> None:
    """The stages that end a run: its records, its tables, its report."""
    name = identity(record)
    clock("record written", lambda: write_record(folder, "trial", name, record))
    clock("record read", lambda: read_record(folder, "trial", name, TrialRecord))
    clock("tables", lambda: write_tables(folder, (record,), ()))
    inputs = scaled(folder.parent / "small", record, edits)
    page = clock("report", lambda: render_report(inputs))
    clock.stages[-1]["bytes"] = len(page.encode())


def write_edits(path: Path, count: int) -> None:
    """So many edits of as many subjects; 1 in 50 shares its subject with the one before."""
    with path.open("w", encoding="utf-8") as file:
        for i in range(count):
            subject = f"Town {i - (i % 50 == 49)}"
            cells = {
                "prompt": f"The mayor of {subject} in the year {1900 + i % 50} is",
                "target": f"Ann Person{i % 997}",
                "old": f"Bob Person{i % 991}",
                "subject": subject,
                "rephrases": [f"In {1900 + i % 50}, {subject} is led by"],
                "neighbours": [{"prompt": f"The river through Village {i} is", "answer": "Po"}],
            }
            file.write(json.dumps(cells) + "\n")


def tiny_model() -> Loaded:
    """A random Llama of two blocks that speaks the bundled model's tokens."""
    demo = load("demo", device="cpu")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=demo.info.vocabulary,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=BLOCKS,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    info = replace(demo.info, layers=BLOCKS, width=WIDTH, grid=grid(model), family="llama")
    return Loaded(model, demo.tokenizer, info, None)


def _alone(given: EditSet) -> EditSet:
    """The edits with nothing but their own prompts, as `edit --no-evaluate` takes them."""
    edits = tuple(replace(edit, rephrases=(), neighbours=()) for edit in given.edits)
    return replace(given, edits=edits)


def _workspace(loaded: Loaded, given: EditSet, texts: bool) -> Workspace:
    settings = EditSettings(location=f"L{TUNED}.mlp.down", device_memory=ROOM, host_memory=ROOM)
    return replace(write_suite(settings, loaded, given, texts=texts), quick=True)


def _trial(given: EditSet) -> Trial:
    edits = tuple(edit.id for edit in given.edits)
    recipe = Recipe(lr=1e-3, batch=default_batch(len(edits)), epochs=1)
    location = Location.parse(f"L{TUNED}.mlp.down")
    return Trial(location, recipe, edits, "all", "edit", 0, "tiny", given.fingerprint, quick=True)


def _small_run(folder: Path) -> Path:
    """A folder with a finished search of few edits and a tiny model, for its report."""
    path = folder / "few.jsonl"
    write_edits(path, 60)
    settings = SearchSettings(
        edits=str(path),
        parts=("mlp.down",),
        quarters=False,
        finalists=1,
        audit=0,
        controls=1,
        epochs=2,
        thorough=False,
        scans=("weight-gradient",),
    )
    search(plan_search(settings, folder / "small", loaded=tiny_model()), Silent())
    return folder


def scaled(small: Path, record: TrialRecord, edits: Sequence[Edit]) -> ReportInputs:
    """The small search as if each of its full trials had had all these edits."""
    inputs = load_run(small)
    outcomes = tuple(
        replace(
            outcome,
            reliability=float(i % 3 > 0),
            generalization=float(i % 2),
            locality=float(i % 5 > 0),
            output=f"Ann Person{i % 89}",
            broken=(edits[i].neighbours[0].prompt,) if i % 5 == 0 else (),
        )
        for i, outcome in enumerate(record.outcomes)
    )
    ids = record.trial.edits
    trials = tuple(
        one
        if one.trial.quick
        else replace(one, trial=replace(one.trial, edits=ids), outcomes=outcomes)
        for one in inputs.trials
    )
    return replace(inputs, trials=trials, edits=tuple(edits))


def report(found: dict[int, Stages]) -> str:
    """The tables as Markdown, with what they are of."""
    pages = [stage["bytes"] / 1e6 for c in sorted(found) for stage in found[c] if "bytes" in stage]
    lines = [
        f"# From {min(found):,} to {max(found):,} edits",
        "",
        "`python -m analyses.bench_scale`; synthetic edits with a rephrase and a neighbour each, "
        f"a random Llama of {BLOCKS} blocks of width {WIDTH}, one thread, `--device-memory` and "
        "`--host-memory` of 1 MiB, so that the prefix lies in a file (whose pages are counted as "
        "memory while they are mapped). Seconds are those of the process's CPU on a machine that "
        f"did other work too. Exponents are slopes of log against log from {FITTED:,} edits on; "
        "the last column is how far the step to the largest count is above the ratio of the "
        "counts (the bar is 15 %).",
        *tables(found),
        "",
        f"The report's page has {', '.join(f'{size:.2f}' for size in pages)} MB.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
