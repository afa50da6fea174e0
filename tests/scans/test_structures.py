"""Scans on mixtures of experts, latent attention and odd layouts: numbers, or refused in a line."""

from dataclasses import replace
from math import isfinite

import pytest
from scan_worlds import SCAN_EDITS, scan_context

from locscope.errors import UsageError
from locscope.models.families import EXPERTS, LATENT
from locscope.models.parts import structures
from locscope.progress import Progress
from locscope.records import ScanOptions, ScanResult
from locscope.runs.store import iterate
from locscope.scans import SCANS
from locscope.scans.run import run_scan
from locscope.workflows.scan import run_scans

FAST = ("deepseek", "opt")
SLOW = (
    "mixtral",
    "qwen2moe",
    "qwen3moe",
    "gptoss",
    "bloom",
    "falcon",
    "falcon-groups",
    "falcon-rw",
)
HAS = {
    **dict.fromkeys(("mixtral", "qwen2moe", "qwen3moe", "gptoss"), (EXPERTS,)),
    "deepseek": (EXPERTS, LATENT),
}
NEED_NO_HOOKS = {"weight-gradient", "probe", "step-forecast", "depth-rule", "random"}


def context_of(family: str):
    return scan_context(family, SCAN_EDITS[:3], options=ScanOptions(samples=2))


@pytest.mark.parametrize(
    "family", [*FAST, *(pytest.param(family, marks=pytest.mark.slow) for family in SLOW)]
)
def test_a_scan_gives_numbers_or_is_refused_in_a_line(family: str) -> None:
    context, refused = context_of(family), dict[str, str]()
    for name in SCANS:
        try:
            result = run_scan(name, context)
        except UsageError as error:
            refused[name] = str(error)
            continue
        assert all(isfinite(score.score) for score in result.scores), name
        # Latent attention has heads that TransformerLens cuts into twice as many.
        assert all(score.head < context.loaded.info.heads for score in result.scores), name
    assert structures(context.loaded.model) == HAS.get(family, ())
    blind = {name for name, entry in SCANS.items() if {*entry.blind} & {*HAS.get(family, ())}}
    assert refused.keys() == blind if family in HAS else not refused.keys() & NEED_NO_HOOKS
    assert all(len(message.splitlines()) == 1 for message in refused.values())


@pytest.mark.parametrize(
    ("family", "name", "words"),
    [
        (
            "deepseek",
            "dropout-kl",
            "mixtures of experts and latent attention, .* deepseek_v3 model",
        ),
        ("deepseek", "sahara", "latent attention, which this deepseek_v3 model has: leave it out"),
        ("gptoss", "step-forecast", "mixtures of experts, .* take --scans weight-gradient"),
    ],
)
def test_a_refusal_names_the_scan_and_what_the_model_has(
    family: str, name: str, words: str
) -> None:
    context = context_of(family)
    with pytest.raises(UsageError, match=f"^{name} cannot read {words}"):
        run_scan(name, context)
    assert "hooked" not in vars(context), "it is refused before anything is made"


def test_a_job_of_several_scans_leaves_it_out_with_a_note(tmp_path) -> None:
    heard: list[str] = []
    context = replace(context_of("mixtral"), progress=_Listener(heard))
    run_scans(context, ("weight-gradient", "dropout-kl"), tmp_path)
    there = {one.descriptor.name: one for one in iterate(tmp_path, "scan", ScanResult)}
    assert there["weight-gradient"].usable == 3
    assert there["dropout-kl"].usable == 0
    assert there["dropout-kl"].notes[0].startswith("dropout-kl cannot read mixtures of experts")
    assert any(line.startswith("dropout-kl was not run: ") for line in heard)


class _Listener(Progress):
    def __init__(self, heard: list[str]) -> None:
        self.heard = heard

    def start(self, stage: str, total: int, share: float = 0.0) -> None: ...

    def advance(self, note: str = "") -> None: ...

    def finish(self, *, failed: bool = False) -> None: ...

    def say(self, line: str) -> None:
        self.heard.append(line)
