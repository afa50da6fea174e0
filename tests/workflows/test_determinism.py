"""The same command gives the same weights and numbers in another process, whatever orders sets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["full", "lora", "half"])
def test_an_edit_is_repeated_bit_by_bit(
    recipe: str, tiny_dir: Path, edits_file: Path, tmp_path: Path
) -> None:
    made = []
    for hash_seed in ("0", "1"):
        out = tmp_path / hash_seed
        words = ["edit", "--model", str(tiny_dir), "--edits", str(edits_file), "--limit", "8"]
        words += ["--location", "L1.mlp", "--recipe", recipe, "--lr", "1e-3", "--epochs", "2"]
        done = subprocess.run(
            [sys.executable, "-m", "locscope", *words, "--output", str(out)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in {0, 3}, done.stderr
        note = json.loads((out / "locscope.json").read_text(encoding="utf-8"))
        note["record"]["seconds"] = None
        weights = {path.name: path.read_bytes() for path in out.glob("*.safetensors")}
        assert weights
        made.append((note, weights))
    assert made[0] == made[1]
