"""The comparison of recipes: its climb over rates, and a small run of it that can be resumed."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from families import save_tiny

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # analyses/ is not part of the installed package

from analyses import masks  # noqa: E402

ROWS = [
    {"prompt": f"The capital of land{i} is", "target": "Oslo", "rephrases": [f"land{i} has"]}
    for i in range(6)
]


def record_at(score: float, violated: tuple[str, ...] = ()) -> SimpleNamespace:
    return SimpleNamespace(score=score, violated=violated)


@pytest.mark.parametrize(
    ("best", "expected"), [(9.0, (3.0, 9.0, 27.0)), (1.0, (1 / 3, 1.0, 3.0)), (0.1, (0.1, 0.3))]
)
def test_rates_go_on_until_the_best_is_inside(best, expected) -> None:
    tried = masks.climbed(
        3.0, lambda lr: SimpleNamespace(lr=lr, score=1 / abs(1 + abs(lr - best)), violated=())
    )
    rates = [one.lr for one in tried]
    assert rates == sorted(rates)
    top = max(tried, key=masks.standing).lr
    assert rates[0] < top < rates[-1]
    assert top == pytest.approx(min(rates, key=lambda lr: abs(lr - best)))
    assert all(any(lr == pytest.approx(one, rel=0.2) for lr in rates) for one in expected)


def test_where_all_rates_break_the_model_lower_ones_are_tried() -> None:
    tried = masks.climbed(1.0, lambda lr: SimpleNamespace(lr=lr, score=0.0, violated=("kl",)))
    assert len(tried) == masks.MOST_RATES + 2
    assert tried[-2].lr == 1.0


def test_a_score_within_the_bounds_comes_first() -> None:
    inside, outside, unknown = record_at(0.1), record_at(0.9, ("kl",)), record_at(float("nan"))
    assert max([outside, inside, unknown], key=masks.standing) is inside


def test_a_small_run_that_is_resumed(tmp_path: Path, monkeypatch, capsys) -> None:
    base, edits = save_tiny(tmp_path / "base", "llama"), tmp_path / "edits.jsonl"
    edits.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    out, keep = tmp_path / "masks.md", tmp_path / "kept"
    args = f"masks --model {base} --edits {edits} --location L1.mlp --recipes full,budget,lofit"
    more = ["--seeds", "1", "--limit", "6", "--keep", str(keep), "--output", str(out)]
    monkeypatch.setattr(sys, "argv", [*args.split(), *more])
    monkeypatch.setattr(masks, "MOST_RATES", 3)
    masks.main()
    text = out.read_text(encoding="utf-8")
    assert text.startswith("# What to tune at L1.mlp")
    table = {line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines()}
    assert {"full", "budget", "lofit"} <= table.keys()
    assert "against full" in text
    kept = {path.name: path.stat().st_mtime_ns for path in keep.iterdir()}
    assert len(kept) == 3 * (3 + 2) + 2
    masks.main()
    assert out.read_text(encoding="utf-8") == text
    assert {path.name: path.stat().st_mtime_ns for path in keep.iterdir()} == kept
