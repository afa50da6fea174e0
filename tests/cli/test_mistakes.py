"""Sixty mistakes that people make: each is one line that helps, exit code 2, at once, no torch."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from families import save_tiny
from towns import edit_rows
from typer.testing import CliRunner

from locscope.cli.app import app

SECONDS = 1.0
"""Of the processor's time, which others at work on the machine do not lengthen."""
EDIT, TINY = ["edit", "--output", "out"], ["--model", "tiny", "--edits", "edits.json"]

MISTAKES: list[tuple[list[str], tuple[str, ...]]] = [
    # Commands and options by other names.
    (["serch"], ("no command 'serch'", "search")),
    (["train"], ("no command 'train'", "did you mean edit")),
    (["eval"], ("no command 'eval'", "did you mean evaluate")),
    (["ls"], ("no command 'ls'", "did you mean list")),
    (["search", "--part", "mlp"], ("no option --part", "--parts")),
    (["search", "--scan", "random"], ("no option --scan", "--scans")),
    (["search", "--layers", "22"], ("no option --layers", "did you mean --locations L22.block?")),
    (["search", "--location=L3.mlp"], ("no option --location", "--locations L3.mlp?")),
    (["search", "--layers", "last"], ("did you mean --locations, as --locations L22.mlp.down?",)),
    (
        ["search", "--target_modules", "down_proj,q_proj"],
        ("did you mean --parts mlp.down,attn.q?",),
    ),
    ([*EDIT, "--layer", "22"], ("no option --layer", "did you mean --location L22.block?")),
    ([*EDIT, "--locations", "L1.mlp,L2.mlp"], ("did you mean --location L1.mlp+L2.mlp?",)),
    (["search", "--dataset", "e.json"], ("no option --dataset", "--edits")),
    (["search", "--model_name_or_path", "x"], ("no option --model-name-or-path", "--model")),
    (["search", "--output-dir", "x"], ("no option --output-dir", "--output")),
    ([*EDIT, "--learning-rate", "1e-4"], ("no option --learning-rate", "--lr")),
    (["search", "--num_train_epochs", "3"], ("no option --num-train-epochs", "--epochs")),
    (["search", "--config", "s.yaml"], ("no option --config", "--settings")),
    (["search", "--json"], ("no option --json", "--format")),
    (["search", "--overwrite"], ("no option --overwrite", "--fresh")),
    (["search", "--epoch", "3"], ("no option --epoch", "--epochs")),
    (["search", "--bounds", "kl<=1"], ("no option --bounds", "--bound")),
    (["edit", "--location", "L1.mlp"], ("--output",)),
    (["report"], ("FOLDER",)),
    (["list", "scan"], ("unknown list 'scan'", "scans")),
    # Values that an option cannot have.
    (["search", "--limit", "all"], ("--limit", "'all'", "valid int")),
    (["search", "--limit", "0"], ("limit", "greater than or equal to 1")),
    (["search", "--batch_size", "big"], ("--batch-size", "'big'", "valid int")),
    (["search", "--format", "xml"], ("--format", "'xml'", "json")),
    (["search", "--device", "gpu"], ("device 'gpu'", "did you mean cuda")),
    (["search", "--device", "cuda0"], ("device 'cuda0'", "did you mean cuda")),
    (["search", "--device", "GPU:1"], ("device 'GPU:1'", "did you mean cuda:1")),
    (["search", "--dtype", "bf16"], ("dtype 'bf16'", "did you mean bfloat16")),
    (["search", "--dtype", "fp16"], ("dtype 'fp16'", "did you mean float16")),
    (["search", "--dtype", "int8"], ("dtype 'int8'", "bfloat16")),
    (["search", "--strategy", "rcae"], ("strategy 'rcae'", "race")),
    (["search", "--objective", "capability"], ("objective", "capability-first")),
    (["search", "--budget", "15%"], ("budget '15%'", "0.15")),
    (["search", "--budget", "2 hours"], ("budget '2 hours'", "2h")),
    (["search", "--prompt-format", "alpaca"], ("prompt_format", "'raw', 'chat' or 'qa'")),
    (["search", "--bound", "perplexity<=1.1"], ("perplexity", "perplexity_ratio")),
    (["search", "--bound", "locality>=95"], ("locality>=95", "from 0 to 1")),
    (["search", "--weight", "localty=2"], ("localty", "locality")),
    (["search", "--recipes", "lorra"], ("recipe 'lorra'", "lora")),
    ([*EDIT, "--location", "L1.mlp", "--recipe", "qlora"], ("recipe 'qlora'", "lora")),
    (["search", "--tracker", "wnadb"], ("tracker 'wnadb'", "wandb")),
    # Scans, parts and locations as other tools write them.
    (["scan", "--scans", "causal_tracing"], ("causal_tracing", "causal-tracing")),
    (["scan", "--scans", "causal-trace,logitlens"], ("causal-trace", "causal-tracing")),
    (["search", "--parts", "mlp_down"], ("part 'mlp_down'", "mlp.down")),
    (["search", "--parts", "down_proj"], ("part 'down_proj'", "mlp.down")),
    (["search", "--parts", "attention"], ("part 'attention'", "did you mean attn")),
    ([*EDIT, "--location", "layer22.mlp"], ("layer22.mlp", "did you mean L22.mlp?")),
    ([*EDIT, "--location", "L22.mlp_down"], ("L22.mlp_down", "did you mean L22.mlp.down?")),
    ([*EDIT, "--location", "22.mlp.down"], ("22.mlp.down", "did you mean L22.mlp.down?")),
    (
        [*EDIT, "--location", "model.layers.22.mlp.down_proj"],
        ("did you mean L22.mlp.down?",),
    ),
    ([*EDIT, "--location", "L4.h3"], ("L4.h3", "did you mean L4.attn.h3?")),
    ([*EDIT, "--location", "L99.mlp", *TINY], ("L99.mlp", "its layers are 0..2")),
    (["search", "--locations", "L1.attn.h9", *TINY], ("no head 9", "0..3")),
    # Models, edits and paths.
    (["search", "--model", "lama-3-8b"], ("lama-3-8b", "did you mean llama-3-8b")),
    (["search", "--model", "./tinny"], ("no directory './tinny'",)),
    (["search", "--model", "tiny/config.json"], ("tiny/config.json", "directory")),
    (["search", "--model", "runs"], ("no config.json", "directory of a whole model")),
    (["search", "--edits", "edit.json"], ("no edits file edit.json",)),
    (["search", "--edits", "broken.json"], ("broken.json",)),
    (["search", "--edits", "fields.json", "--model", "tiny"], ("'question' to prompt", "'label'")),
    (["check", "--edits", "capitals.csv"], ("'Prompt' to prompt, 'Target' to target, 'Subject'",)),
    (["check", "--edits", "answer.csv"], ("rename 'answer' to target",)),
    (["check", "--edits", "subject.csv"], ("'Subject'", "did you mean subject?")),
    (["check", "--edits", "old.csv"], ("'answer'", "did you mean old?")),
    (["search", "--edits", "two.json", "--model", "tiny"], ("--conflicts",)),
    (["search", *TINY, "--limit", "5"], ("at least 10 edits", "there are 5")),
    (["search", "--neutral", "no.txt"], ("no.txt",)),
    (["search", "--abilities", "no.json"], ("no.json",)),
    (["search", "--settings", "no.yaml"], ("no.yaml",)),
    (["search", "--settings", "typo.yaml"], ("epohcs", "epochs")),
    (["search", "--output", "tiny"], ("tiny is not a run folder",)),
    (["search", "--output", "edits.json"], ("edits.json is a file",)),
    (["search", "--save", "tiny", *TINY], ("tiny is there already",)),
    (["edit", *TINY, "--output", "out"], ("--config", "--location")),
    ([*EDIT, "--config", "runs", *TINY], ("recommendation.yaml",)),
    ([*EDIT, *TINY, "--location", "L1.mlp", "--delta", "out/d.safetensors"], ("of their own",)),
    ([*EDIT, *TINY, "--location", "L1.mlp", "--public"], ("--push-to-hub",)),
    (["evaluate", *TINY, "--task-limit", "3"], ("--tasks",)),
    (["edit", *TINY, "--location", "L1.mlp", "--delta", "d.pt"], (".safetensors",)),
    (["search", *TINY, "--retain", "mmlu", "--dry-run"], ("--retain", "--dry-run")),
    (["report", "tiny"], ("tiny is not a run folder",)),
    (["convert", "edits.json", "--output", "edits.csv"], ("edits.csv", ".jsonl")),
]
"""What is typed, and what the line has to say."""
CSV = {"capitals": "Prompt,Target,Subject", "answer": "prompt,answer,subject"}
CSV |= {"subject": "prompt,target,Subject", "old": "prompt,target,answer"}
"""Fields of files of edits by their name."""
AS_PROCESSES = ("serch", "gpu", "edit.json", "lama-3-8b", "L22.mlp_down", "two.json")
"""A word of each mistake that is made in a process of its own too."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the mistakes are made: with a model, edits, and files that cannot be used."""
    home = tmp_path_factory.mktemp("mistakes")
    save_tiny(home / "tiny", "llama")
    rows = edit_rows()
    (home / "edits.json").write_text(json.dumps(rows), encoding="utf-8")
    (home / "two.json").write_text(json.dumps([*rows, {**rows[0], "target": "x", "id": "again"}]))
    (home / "broken.json").write_text("{ not json")
    (home / "fields.json").write_text(json.dumps([{"question": "a", "label": "b"}]))
    for name, fields in CSV.items():
        (home / f"{name}.csv").write_text(f"{fields}\nThe capital of France is,Rome,France\n")
    (home / "typo.yaml").write_text("epohcs: 3\n")
    (home / "runs").mkdir()
    return home


def test_there_are_enough() -> None:
    assert len({tuple(words) for words, _ in MISTAKES}) >= 60
    assert set(AS_PROCESSES) <= {word for words, _ in MISTAKES for word in words}


@pytest.mark.parametrize(("words", "said"), MISTAKES, ids=lambda one: " ".join(one)[:60])
def test_a_mistake_is_one_line_that_helps(
    words: list[str], said: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before, began = sorted(folder.rglob("*")), time.process_time()
    result = CliRunner().invoke(app, words)
    assert time.process_time() - began < SECONDS
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert result.stdout == ""
    for expected in said:
        assert expected in line
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    "words", [words for words, _ in MISTAKES if set(words) & set(AS_PROCESSES)], ids=" ".join
)
def test_it_is_said_before_torch_is_imported(words: list[str], folder: Path) -> None:
    program = (
        "import sys, atexit; atexit.register(lambda: print('torch' in sys.modules)); "
        "from locscope.cli import main; main()"
    )
    path = os.pathsep.join(filter(None, sys.path))
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    assert (done.returncode, done.stdout.strip()) == (2, "False"), done.stderr
    assert used < SECONDS
