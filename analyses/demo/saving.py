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
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
)

from analyses.demo import abilities, neutral

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "locscope" / "models" / "demo"
EDITS = ROOT / "locscope" / "edits" / "demo.json"


def save(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path, seed: int
) -> None:
    """Write everything but the card; the model given is rounded to bfloat16 in place."""
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_json(folder / "abilities.json", [asdict(item) for item in abilities.sample(seed)])
    lines = "\n".join(neutral.held_out(seed))
    (folder / "neutral.txt").write_text(lines + "\n", encoding="utf-8")


def load(folder: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    """Return the saved model in float32, and its tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def write_json(path: Path, content: object) -> None:
    """Write indented UTF-8 JSON with a newline at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
