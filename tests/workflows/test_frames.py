"""How deep the code is: own frames between `locscope search` and the optimiser's step."""

import traceback
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import locscope
from locscope.cli.app import app

MOST = 8
"""Own frames at a step, whichever stage asked for it; the one that reads options is among them."""
PACKAGE = Path(locscope.__file__).parent


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, ...]]:
    """Filled with the names of own functions that lead to a step, from the outermost."""
    seen: set[tuple[str, ...]] = set()
    step = torch.optim.Adam.step

    def noted(self: torch.optim.Adam, *args: object, **kwargs: object) -> object:
        frames = [f for f in traceback.extract_stack() if PACKAGE in Path(f.filename).parents]
        # Python 3.12 has no frames of comprehensions any more.
        frames = [f for f in frames if f.name != "<listcomp>"]
        seen.add(tuple(f"{Path(f.filename).stem}.{f.name}" for f in frames))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", noted)
    return seen


def test_few_own_frames_lead_from_the_command_to_a_step(
    stacks: set[tuple[str, ...]], tiny_dir: Path, edits_file: Path, tmp_path: Path
) -> None:
    options = [
        "--model",
        str(tiny_dir),
        "--edits",
        str(edits_file),
        "--output",
        str(tmp_path / "r"),
    ]
    options += ["--parts", "mlp.down", "--no-quarters", "--no-thorough", "--audit", "0"]
    options += ["--epochs", "2", "--repetitions", "1", "--validations", "1", "--controls", "1"]
    result = CliRunner().invoke(app, ["search", *options])
    assert result.exit_code in (0, 3), result.output
    assert any("select.select" in stack for stack in stacks)
    assert any("fit.deploy" in stack for stack in stacks)
    assert max(map(len, stacks)) <= MOST, max(stacks, key=len)
