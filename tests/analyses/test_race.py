"""The page of the race counts as one would by hand; blind blocks change next to nothing."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # analyses/ is not part of the installed package

from analyses.race_parts.contest import REVERSED, Entry  # noqa: E402
from analyses.race_parts.models import SEEN, made, with_blind_blocks  # noqa: E402
from analyses.race_parts.report import page  # noqa: E402
from locscope.models.aliases import resolve  # noqa: E402
from locscope.models.hub import locate  # noqa: E402

RACE = Entry("demo", 0, "race", "L8.mlp", 1e-3, 0.8, True, 100, 1e10, 5.0, (0.8, 0.6), (True, True))


def entries() -> list[Entry]:
    found = []
    for seed, (race, sweep, random) in enumerate(
        ((0.7, 0.71, 0.5), (0.7, 0.7, 0.7), (0.6, 0.7, 0.3))
    ):
        one = replace(RACE, seed=seed, scores_r=(race, race))
        found += [
            one,
            replace(one, strategy=REVERSED),
            replace(one, strategy="sweep", scores_r=(sweep, sweep), flops=1e11, seconds=100.0),
            replace(
                one,
                strategy="random",
                scores_r=(random, random),
                location="L1.attn",
                kept=(True, False),
            ),
        ]
    return found


def test_regret_margin_and_cost_are_as_by_hand() -> None:
    text = page(entries())
    assert "demo, 3 seeds: median regret +0.0100 (mean +0.0367, standard error 0.0318)" in text
    assert "largest +0.100; the sweep's location in 3; 10.0% of its operations" in text
    assert "5.0% of its time" in text
    row = "| demo | random | 3 | +0.167 | too few seeds | +0.417 | too few seeds | 2 | 1.00 "
    assert row in text
    many = [replace(one, seed=seed) for seed in range(5) for one in entries()[:4]]
    assert "| demo | random | 5 | +0.200 | +0.200 to +0.200 |" in page(many)
    assert "median difference on T +0.0000, the same choice in 3" in text
    assert "| demo | random | L1.attn (3) | 3 of 6 |" in text


def test_rows_of_different_code_are_not_compared() -> None:
    mixed = [replace(one, code="a" if one.strategy == "race" else "b") for one in entries()]
    text = page(mixed)
    assert "median regret" not in text
    assert "| demo | random | 3 |" not in text
    assert "Of 3 seeds some rows are of another state of the code" in text
    assert "another state" not in page(entries())


def test_directories_are_taken_as_they_are(tmp_path: Path) -> None:
    assert made("some/model+b", tmp_path) == "some/model+b"
    assert made("demo", tmp_path) == "demo"


def test_blind_blocks_are_there_and_change_next_to_nothing(tmp_path: Path) -> None:
    source = locate(resolve("demo"))
    target = with_blind_blocks(source, tmp_path / "model", 2)
    plain = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    blind = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32)
    assert blind.config.num_hidden_layers == plain.config.num_hidden_layers + 2
    for block in list(blind.model.layers)[-2:]:
        assert not block.input_layernorm.weight[SEEN:].any()
    ids = torch.arange(5, 45)[None]
    with torch.no_grad():
        one, two = plain(ids).logits.log_softmax(-1), blind(ids).logits.log_softmax(-1)
    assert float((one.exp() * (one - two)).sum(-1).mean()) < 1e-3
    assert (tmp_path / "model" / "neutral.txt").exists()
