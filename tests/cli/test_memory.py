"""Memory that ends: one line with what to do and exit code 4, wherever it happens."""

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer
from families import save_tiny
from killing import Kept, kept, partials
from towns import edit_rows
from typer.testing import CliRunner

from locscope.cli.app import app, guarded
from locscope.errors import LocscopeError, OutOfMemory, UsageError, ran_out_of_memory

ERRORS: dict[str, Callable[[], Exception]] = {
    "Python": MemoryError,
    "host": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 99 bytes"),
    "GPU": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "cuBLAS": lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"),
    "C++": lambda: RuntimeError("std::bad_alloc"),
    "system": lambda: OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    "file": lambda: OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), "a file"),
    "thread": lambda: RuntimeError("can't start new thread"),
    "library": lambda: ImportError("libx.so: failed to map segment from shared object"),
    "mapped": lambda: RuntimeError("unable to mmap 99 bytes from file <x>: Cannot allocate memory"),
}
PLACES = {
    "loading": "transformers.AutoModelForCausalLM.from_pretrained",
    "suite": "locscope.workflows.workspace.written",
    "tuning": "locscope.tuning.trial.temporarily_trainable",
    "evaluating": "locscope.tuning.trial.observe",
    "saving": "locscope.workflows.edit.save_tuned",
    "publishing": "locscope.workflows.publish.render_report",
    "tables": "locscope.workflows.publish.write_tables",
    "figures": "locscope.workflows.publish.write_figures",
}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("m")
    (folder / "e.json").write_text(json.dumps(edit_rows(12)))
    return ["--model", str(save_tiny(folder / "tiny", "llama")), "--edits", str(folder / "e.json")]


@pytest.mark.parametrize("place", PLACES)
def test_memory_may_end_anywhere(
    place: str, given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publishes = place in ("publishing", "tables", "figures")
    verb = ["scan", "--scans", "depth-rule"] if publishes else ["edit", "--location", "L1.mlp.down"]
    verb += [] if publishes else ["--lr", "1e-3", "--epochs", "1"]
    # Every error has its turns: to run all in every place takes minutes.
    first = list(PLACES).index(place)
    for name in [*ERRORS, *ERRORS][first : first + 2]:
        made = ERRORS[name]

        def full(*_: object, made: Callable[[], Exception] = made, **__: object) -> None:
            raise made()

        with monkeypatch.context() as patch:
            patch.setattr(PLACES[place], full)
            result = CliRunner().invoke(app, [*verb, *given, "--output", str(tmp_path / "out")])
        assert result.exit_code == 4, f"{name}: {result.output}{result.exception!r}"
        lines = [one for one in result.stderr.splitlines() if one.startswith("locscope: ")]
        assert len(lines) == 1, result.stderr
        assert "--dtype bfloat16" in lines[0] or "ulimit" in lines[0]


@pytest.mark.parametrize("name", ERRORS)
def test_every_way_in_which_memory_ends_is_known(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, guarded():
        raise ERRORS[name]()
    assert ended.value.exit_code == 4
    assert capsys.readouterr().err.startswith("locscope: out of memory")


def test_only_memory_is_told_so() -> None:
    caused = UsageError("cannot load model 'x'")
    caused.__cause__ = OSError(errno.ENOMEM, "Cannot allocate memory")
    assert ran_out_of_memory(caused)
    assert ran_out_of_memory(OutOfMemory("it does not fit"))
    others = (
        UsageError("cannot read 'out of memory.json'"),
        LocscopeError("no file 'bad_alloc'"),
        FileNotFoundError(errno.ENOENT, "No such file", "out of memory.json"),
        RuntimeError("shapes (2, 3) and (4, 5) do not fit"),
        ImportError("No module named 'kaleido'"),
    )
    assert not any(map(ran_out_of_memory, others))


SIZES = (64, 150, 260, 380, 520, 700, 820, 900, 1000, 1040, 1080, 1120, 1160, 1250, 1310, 1400)
"""MiB of address space: below what libraries take, and where it ends in the midst of the work."""
SMALL = ("--parts", "mlp.down", "--no-quarters", "--no-thorough", "--audit", "0", "--epochs", "1")
SMALL += ("--repetitions", "1", "--finalists", "1", "--validations", "1", "--controls", "1")
WORDS = {
    "list": ("recipes",),
    "report": ("none",),
    "check": (),
    "scan": ("--scans", "weight-gradient,logit-lens,depth-rule"),
    "edit": ("--location", "L1.mlp.down", "--lr", "1e-3", "--epochs", "1"),
    "search": SMALL,
}


def limited(words: list[str], size: int, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command in a process that may have so many bytes of address space; any, for 0."""

    def limit() -> None:
        if size:
            resource.setrlimit(resource.RLIMIT_AS, (size, size))

    return subprocess.run(
        [sys.executable, "-m", "locscope", *words],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("verb", WORDS)
def test_under_a_limit_of_address_space(verb: str, given: list[str], tmp_path: Path) -> None:
    """Libraries that are loaded then end the process, or wait, before anything can be told; what
    was done under a lower limit stays, and goes on under a higher one."""
    words = [verb, *WORDS[verb], *([] if verb in ("list", "report") else given)]
    codes, before = list[int](), dict[str, Kept]()
    for size in (*SIZES, 0):
        # An edited model is written whole or not at all, each into a folder of its own.
        out = tmp_path / (f"out{size}" if verb == "edit" else "out")
        written = verb in ("scan", "edit", "search")
        done = limited([*words, *(["--output", str(out)] * written)], size << 20, tmp_path)
        codes.append(done.returncode)
        assert "Traceback" not in done.stderr
        if done.returncode == 4:
            (told,) = [one for one in done.stderr.splitlines() if one.startswith("locscope: ")]
            assert "out of memory" in told or "does not fit" in told
            assert partials(out) == []
            assert verb != "edit" or not out.exists()
        there = {kind: kept(out, kind) for kind in ("trial", "scan")}
        # A scan that could use no edit is tried again by whoever goes on.
        scans = {k: v for k, v in there["scan"].items() if b'"usable": 0,' not in v.content}
        there = there["trial"] | scans
        assert before.items() <= there.items(), "what was finished was lost or run twice"
        before = there
    assert set(codes) <= {0, 2, 3, 4}, codes
    assert codes[0] == 4
    assert codes[-1] == (2 if verb == "report" else codes[-1]) != 4
    assert bool(before) == (verb in ("scan", "search"))
    # To read a small file took 256 MiB once.
    assert verb != "check" or codes[SIZES.index(1000)] == 0
