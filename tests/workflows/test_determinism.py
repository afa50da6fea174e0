"""The same command gives the same weights and numbers in another process, whatever orders sets and
whatever was run before it in that process.

`python tests/workflows/test_determinism.py MODEL EDITS [backwards]` runs all of it in the folder
that it is called in.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from families import save_tiny

from locscope.scans import SCANS
from locscope.selection.strategies import STRATEGIES
from locscope.tuning.recipes import RECIPES

TUNE = ("--location", "L1.mlp", "--lr", "1e-3", "--epochs", "2")
SMALL = ("--parts", "mlp.down", "--no-quarters", "--no-thorough", "--audit", "0", "--epochs", "1")
SMALL += ("--repetitions", "1", "--finalists", "1", "--validations", "1", "--controls", "1")
JOBS: dict[str, tuple[int, tuple[str, ...]]] = {
    **{f"recipe-{name}": (1, ("edit", *TUNE, "--recipe", name)) for name in RECIPES},
    "prefixes": (1, ("edit", *TUNE, "--prefixes", "2", "--batch-size", "3")),
    "bfloat16": (1, ("edit", *TUNE, "--dtype", "bfloat16")),
    "another-seed": (1, ("edit", *TUNE, "--seed", "7", "--recipe", "half", "--limit", "9")),
    **{f"scan-{name}": (1, ("scan", "--scans", name)) for name in SCANS},
    **{f"search-{name}": (1, ("search", *SMALL, "--strategy", name)) for name in STRATEGIES},
    "threads-full": (2, ("edit", *TUNE)),
    "threads-lora": (2, ("edit", *TUNE, "--recipe", "lora")),
    "threads-causal": (2, ("scan", "--scans", "causal-tracing")),
    "threads-gradient": (2, ("scan", "--scans", "weight-gradient")),
    "check": (1, ("check",)),
    "dry-run": (1, ("search", *SMALL, "--dry-run")),
    "evaluate": (1, ("evaluate", "--model", "recipe-full")),
}
"""Threads, and the command without model, edits and output; a folder of that name is written."""
BIASED = "../gpt2"
"""A model with biases of attention's output, which one recipe needs."""
TELL = (".safetensors", ".yaml", ".csv", ".json")
"""Ends of the files that are compared; reports and cards say how long it took."""
TIMES = ("seconds", "started", "checksum", "ended", "finished", "memory", "peak_memory")
TIMES += ("command", "host_peak", "disk", "opening", "calibration")
"""Keys whose values are no results: times, what a dry run measures, the process's own command."""
TIME = re.compile(r"\b[\d.,]+ (s|min|h)\b")
"""The same within texts, as those that figures show."""


def results(value: Any) -> Any:
    """The value without times."""
    if isinstance(value, dict):
        return {key: results(inner) for key, inner in value.items() if key not in TIMES}
    if isinstance(value, str):
        return TIME.sub("some time", value)
    return [results(inner) for inner in value] if isinstance(value, list) else value


def told(folder: Path) -> dict[str, str]:
    """Digests of the results in a folder, by the names of its files."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.suffix in TELL):
        content = path.read_bytes()
        if path.suffix == ".json":
            content = json.dumps(results(json.loads(content))).encode()
        found[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    return found


def ran(name: str, model: str, edits: str) -> dict[str, str]:
    """Runs one of the jobs, and says what came out."""
    import torch
    from typer.testing import CliRunner

    from locscope.cli.app import app

    threads, (verb, *words) = JOBS[name]
    torch.set_num_threads(threads)
    if verb != "evaluate":
        words = ["--model", BIASED if name == "recipe-lofit" else model, "--edits", edits, *words]
    if verb in ("edit", "scan", "search") and "--dry-run" not in words:
        words += ["--output", name]
    result = CliRunner().invoke(app, [verb, *words, "--format", "json"])
    if result.exit_code not in {0, 3}:
        raise RuntimeError(f"{name}: {result.output}") from result.exception
    said = json.dumps(results(json.loads(result.stdout)))
    return {"stdout": hashlib.sha256(said.encode()).hexdigest(), **told(Path(name))}


def main() -> None:
    model, edits, *backwards = sys.argv[1:]
    names = [name for name in JOBS if name != "evaluate"]
    # What is evaluated is the outcome of another job.
    names = [*(reversed(names) if backwards else names), "evaluate"]
    found = {name: ran(name, model, edits) for name in names}
    Path("told.json").write_text(json.dumps(found), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_verb_is_repeated_bit_by_bit(
    tiny_dir: Path, edits_file: Path, tmp_path: Path
) -> None:
    made: list[dict[str, dict[str, str]]] = []
    save_tiny(tmp_path / "gpt2", "gpt2")
    for number, words in enumerate(((), ("backwards",))):
        home = tmp_path / str(number)
        home.mkdir()
        done = subprocess.run(
            [sys.executable, __file__, str(tiny_dir), str(edits_file), *words],
            env={
                **os.environ,
                "PYTHONHASHSEED": str(number),
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        made.append(json.loads((home / "told.json").read_text(encoding="utf-8")))
    assert len(JOBS) >= 42
    different = [
        f"{name}: {file}"
        for name in JOBS
        for file in {**made[0][name], **made[1][name]}
        if made[0][name].get(file) != made[1][name].get(file)
    ]
    assert different == []
    assert all(len(made[0][name]) > 1 for name in JOBS if name.startswith(("recipe", "scan")))


if __name__ == "__main__":
    main()
