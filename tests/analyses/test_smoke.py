"""The smoke test of the published files, small: what ran through, and what did not."""

import json
import sys
from pathlib import Path

import pytest
from families import save_tiny

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # analyses/ is not part of the installed package

from analyses import smoke  # noqa: E402

ROWS = [
    {
        "subject": f"land{i}",
        "src": f"What is the capital of land{i}?",
        "rephrase": f"land{i} has which capital?",
        "alt": ("Oslo", "Lima", "Rome", "Bern")[i % 4],
        "pred": "Po",
        "answers": ["Po"],
        "loc": f"nq question: which river is in place{i}",
        "loc_ans": "Po",
    }
    for i in range(30)
]
LITTLE = "--no-thorough --epochs 2 --repetitions 2 --audit 3 --parts mlp,attn --scans depth-rule"


def test_a_file_runs_through_and_one_that_cannot_be_read_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_tiny(tmp_path / "base", "llama")
    (tmp_path / "zsre_3k.json").write_text(json.dumps(ROWS), encoding="utf-8")
    out = tmp_path / "smoke.md"
    given = ["--data", str(tmp_path), "--model", str(model), "--limit", "20"]
    given += ["--work", str(tmp_path / "runs"), "--output", str(out), "--arguments", LITTLE]
    monkeypatch.setattr(smoke, "FILES", ("zsre_3k.json", "counterfact_3k.json"))
    monkeypatch.setattr(sys, "argv", ["smoke", *given])
    with pytest.raises(SystemExit) as ended:
        smoke.main()
    assert ended.value.code == 1
    rows = out.read_text(encoding="utf-8").splitlines()
    (there,) = [row for row in rows if row.startswith("| zsre_3k.json")]
    (absent,) = [row for row in rows if row.startswith("| counterfact_3k.json")]
    assert "| yes |" in there
    assert "Tune L" in there
    assert "| no: without recommendation.yaml" in absent
    assert "| 2 |" in absent
