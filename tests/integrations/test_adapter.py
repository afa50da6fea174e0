"""What recipe `lora` found loads in PEFT, and gives the logits of the tuned model."""

import json
from pathlib import Path

import peft
import pytest
import torch
from families import save_tiny
from towns import edit_rows
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from locscope.cli.app import app

LOCATIONS = {
    "llama": ("L1.mlp.down", "L0-1.attn+L2.mlp.up", "L1.attn.h2"),
    "gpt2": ("L1.mlp.down", "L1.attn.k", "L0.attn.h1+L1.attn.v"),
    "gptneox": ("L1.attn.q",),
    "phi3": ("L1.mlp.up+L0.attn.v",),
}
"""By family: whole modules, rows and columns of fused ones, and heads; (in, out) weights too."""


@pytest.mark.parametrize(
    ("family", "location"), [(name, one) for name, all_ in LOCATIONS.items() for one in all_]
)
def test_an_adapter_gives_the_logits_of_the_tuned_model(
    family: str, location: str, tmp_path: Path
) -> None:
    base = save_tiny(tmp_path / "tiny", family)
    (tmp_path / "edits.json").write_text(json.dumps(edit_rows()))
    words = ["edit", "--model", str(base), "--edits", str(tmp_path / "edits.json"), "--limit", "6"]
    words += ["--location", location, "--recipe", "lora", "--lr", "3e-2", "--epochs", "3"]
    words += ["--output", str(tmp_path / "edited"), "--adapter", str(tmp_path / "adapter")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code in {0, 3}, done.output
    adapted = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), tmp_path / "adapter"
    ).eval()
    tuned = AutoModelForCausalLM.from_pretrained(tmp_path / "edited", dtype=torch.float32).eval()
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    ids = torch.arange(12).reshape(2, 6) + 3
    with torch.no_grad():
        wanted, found, before = (model(ids).logits for model in (tuned, adapted, plain))
    assert (wanted - before).abs().max() > 1e-3, "it learned something"
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_only_low_rank_changes_are_adapters(tmp_path: Path) -> None:
    words = ["edit", "--location", "L1.mlp", "--adapter", str(tmp_path / "a"), "--output", "o"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "--adapter needs low-rank factors: give --recipe lora, not full" in done.stderr
