"""Writes the demo's folder: weights in bfloat16, tokenizer, abilities, neutral text."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from analyses.demo import abilities, neutral

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "locscope" / "models" / "demo"
EDITS = ROOT / "locscope" / "edits" / "demo.json"
# Keys that say how a tokenizer was loaded, not what it is.
_LOADING = ("is_local", "local_files_only")


def save(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, seed: int
) -> None:
    """Write everything but the card; the model given is rounded to bfloat16 in place."""
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    _save_tokenizer(tokenizer, folder)
    write_json(folder / "abilities.json", [asdict(item) for item in abilities.sample(seed)])
    lines = "\n".join(neutral.held_out(seed))
    (folder / "neutral.txt").write_text(lines + "\n", encoding="utf-8")


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    saved = json.loads(path.read_text(encoding="utf-8"))
    config = {key: value for key, value in saved.items() if key not in _LOADING}
    # The class name that older and newer versions of transformers both know.
    write_json(path, config | {"tokenizer_class": "PreTrainedTokenizerFast"})


def load(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the saved model in float32, and its tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def write_json(path: Path, content: object) -> None:
    """Write indented UTF-8 JSON with a newline at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
