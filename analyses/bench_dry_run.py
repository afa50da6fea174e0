"""Does `search --dry-run` say what the search then takes, in time, memory and disk?

    python -m analyses.bench_dry_run
    python -m analyses.bench_dry_run --arguments "--limit 60 --audit 0 --repetitions 1"

Every run is a process of its own with one thread: one that only loads the model, the dry run, the
search, and the dry run again, as a shared machine may be slower or faster by then. Time is the sum
of the stages of `run.json`, memory the most that a process held above the one that only loads.
Writes `reports/bench_dry_run.md`.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
ARGUMENTS = "--no-quarters --audit 4 --repetitions 2 --limit 120"
LOADING = (
    "import locscope.workflows.search.run; from locscope.models.load import load; load('{model}')"
)
QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


@dataclass(frozen=True)
class Ended:
    """A process that ended: what it printed, and the most memory that it held (bytes)."""

    output: str
    peak: int


@dataclass(frozen=True)
class Figures:
    """What a search took or was said to take: seconds and tasks by stage, bytes."""

    seconds: Counter[str]
    tasks: Counter[str]
    memory: int
    disk: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--arguments", default=ARGUMENTS)
    parser.add_argument("--output", type=Path, default=Path("reports/bench_dry_run.md"))
    options = parser.parse_args()
    words = ["-m", "locscope", "search", "--model", options.model]
    words += shlex.split(options.arguments)
    loaded = _run(["-c", LOADING.format(model=options.model)]).peak
    before, took, after = _said(words, loaded), _taken(words, loaded), _said(words, loaded)
    text = _page(f"--model {options.model} {options.arguments}", (before, took, after))
    print(text)
    options.output.write_text(text, encoding="utf-8")


def _run(words: Sequence[str]) -> Ended:
    """Python with these arguments; an exit code of 3 (no location keeps the bounds) is a result."""
    with tempfile.TemporaryFile() as file:
        process = subprocess.Popen(
            [sys.executable, *words], stdout=file, env={**os.environ, **QUIET}
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        file.seek(0)
        output = file.read().decode()
    if process.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    return Ended(output, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def _said(words: Sequence[str], loaded: int) -> Figures:
    found = json.loads(_run([*words, "--dry-run", "--format", "json"]).output)
    stages = found["stages"]
    return Figures(
        seconds=_sums(stages, "seconds"),
        tasks=_sums(stages, "tasks"),
        memory=found["host_peak"] - loaded,
        disk=found["disk"],
    )


def _taken(words: Sequence[str], loaded: int) -> Figures:
    with tempfile.TemporaryDirectory() as location:
        folder = Path(location) / "run"
        peak = _run([*words, "--output", str(folder)]).peak
        stages = json.loads((folder / "run.json").read_text(encoding="utf-8"))["stages"]
        disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    tasks = _sums(stages, "tasks")
    tasks.subtract(_sums(stages, "resumed"))
    return Figures(_sums(stages, "seconds"), tasks, peak - loaded, disk)


def _sums(stages: Sequence[dict], key: str) -> Counter[str]:
    """By stage, all scans being one."""
    found = Counter[str]()
    for one in stages:
        found["scans" if one["stage"].startswith("scan ") else one["stage"]] += one[key]
    return found


def _page(arguments: str, figures: tuple[Figures, Figures, Figures]) -> str:
    before, took, _ = figures
    names = list(dict.fromkeys([*took.seconds, *before.seconds]))
    rows = [
        _row(f"{name}: trials", [one.tasks[name] for one in figures], 0)
        for name in names
        if name != "scans"
    ]
    rows += [_row(f"{name}, s", [one.seconds[name] for one in figures], 1) for name in names]
    rows += [_row("**time in all, s**", [one.seconds.total() for one in figures], 0)]
    rows += [_row("**memory, MiB**", [one.memory / MIB for one in figures], 0)]
    rows += [_row("disk, MiB", [one.disk / MIB for one in figures], 1)]
    return "\n".join(
        [
            "# The dry run and the search",
            "",
            f"`python -m analyses.bench_dry_run`; `locscope search {arguments}`, one thread, on a "
            "shared machine. Memory is the most that a process held above one that only loads the "
            "model (and what a search imports). A ratio is said over taken.",
            "",
            "| what | said before | taken | said after | before / taken | after / taken |",
            "|---|---:|---:|---:|---:|---:|",
            *rows,
            "",
        ]
    )


def _row(name: str, values: Sequence[float], digits: int) -> str:
    said, taken, again = values
    ratios = [f"{one / taken:.2f}" if taken else "-" for one in (said, again)]
    cells = [name, *(f"{value:.{digits}f}" for value in values), *ratios]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
