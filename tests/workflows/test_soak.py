"""Thousands of trials in one process: nothing grows, nothing stays, the weights are those it began
with."""

import gc
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

import locscope
from locscope.records import Trial

SMALL = {
    **{"limit": 12, "parts": ("mlp.down",), "quarters": False, "audit": 0, "thorough": False},
    **{"controls": 1, "repetitions": 1, "validations": 1, "epochs": 1},
}
KINDS = (
    *(("L2.mlp.down", "full"), ("L6.mlp.down", "lora"), ("L4.attn", "lofit")),
    *(("L1-2.mlp", "full"), ("L7.attn.h3", "full"), ("L3.mlp.up", "half")),
)
"""Locations and recipes that take turns, so that the prefix cache moves and every way of tuning is
begun and ended."""
GROWTH = 0.05
"""By what share the memory of the process may grow, of what it is after the first tenth."""
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class Held:
    """What a process holds: resident memory (bytes), open files, threads, and hooks of a model."""

    resident: int
    files: int
    threads: int
    hooks: int

    def __str__(self) -> str:
        return f"{self.resident >> 20} MiB, {self.files} files, {self.threads} threads"


def held(model: nn.Module) -> Held:
    gc.collect()
    status = Path("/proc/self/status").read_text().splitlines()
    resident = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS"))
    files = len(list(Path("/proc/self/fd").iterdir()))
    hooks = sum(len(getattr(m, name)) for m in model.modules() for name in HOOKS)
    hooks += sum(len(p._backward_hooks or {}) for p in model.parameters())
    return Held(resident, files, threading.active_count(), hooks)


def many(experiment: locscope.Experiment, count: int) -> Iterator[Trial]:
    edits = experiment.first(2)
    for seed in range(count):
        location, kind = KINDS[seed % len(KINDS)]
        quick = seed % 4 != 0
        yield experiment.trial(
            location, 1e-3, edits=edits, seed=seed, quick=quick, kind=kind, epochs=1
        )


def soak(folder: Path, count: int) -> None:
    """Runs so many trials of the bundled model one after the other, and looks after each tenth."""
    with locscope.open_experiment(output=folder, **SMALL) as experiment:
        model = experiment.model.model
        before = {name: value.clone() for name, value in model.state_dict().items()}
        seen: list[Held] = []
        for done, trial in enumerate(many(experiment, count), start=1):
            (record,) = experiment.run([trial])
            assert record.status
            if done % (count // 10) == 0:
                seen.append(held(model))
        after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert {(one.files, one.threads, one.hooks) for one in seen} == {
        (seen[0].files, seen[0].threads, 0)
    }
    growth = max(one.resident for one in seen) / seen[0].resident - 1
    assert growth < GROWTH, f"grew by {growth:.1%}: {', '.join(map(str, seen))}"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="it reads what a process holds")
@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_two_thousand_trials_in_one_process(tmp_path: Path) -> None:
    soak(tmp_path / "run", 2000)
