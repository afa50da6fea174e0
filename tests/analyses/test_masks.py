"""The comparison of recipes: its climb over rates, and a small run of it that can be resumed."""

import json
import sys
from pathlib import Path

from families import save_tiny

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # analyses/ is not part of the installed package

from analyses import masks  # noqa: E402

ROWS = [
    {"prompt": f"The capital of land{i} is", "target": "Oslo", "rephrases": [f"land{i} has"]}
    for i in range(12)
]


def test_a_small_run_that_is_resumed(tmp_path: Path, monkeypatch, capsys) -> None:
    base, edits = save_tiny(tmp_path / "base", "llama"), tmp_path / "edits.jsonl"
    edits.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    out, keep = tmp_path / "masks.md", tmp_path / "kept"
    args = f"masks --model {base} --edits {edits} --location L1.mlp --recipes full,budget,lofit"
    more = ["--seeds", "1", "--limit", "12", "--keep", str(keep), "--output", str(out)]
    monkeypatch.setattr(sys, "argv", [*args.split(), *more])
    masks.main()
    text = out.read_text(encoding="utf-8")
    assert text.startswith("# What to tune at L1.mlp")
    table = {line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines()}
    assert {"full", "budget", "lofit"} <= table.keys()
    assert "against full" in text
    kept = {path: path.stat().st_mtime_ns for path in keep.rglob("trial-*.json")}
    assert len(kept) >= 3 * 3 + 2
    masks.main()
    assert out.read_text(encoding="utf-8") == text
    assert {path: path.stat().st_mtime_ns for path in keep.rglob("trial-*.json")} == kept
