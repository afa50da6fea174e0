"""The paper's tables on a tiny model: runs, resumes, says what is not at hand."""

import json
import sys
from math import isnan, nan
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from families import save_tiny

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # analyses/ is not part of the installed package

from analyses import reproduce_locft  # noqa: E402
from analyses.locft_parts import capability, published  # noqa: E402
from analyses.locft_parts.capability import Capability, measured  # noqa: E402
from locscope.execution import local  # noqa: E402
from locscope.locations import Location  # noqa: E402
from locscope.models.load import load  # noqa: E402
from locscope.models.parts import slices, take  # noqa: E402
from locscope.records import TrialRecord  # noqa: E402
from locscope.runs.store import iterate  # noqa: E402
from locscope.tuning.trial import run_trial  # noqa: E402
from locscope.workflows.workspace import open_model  # noqa: E402

TOWNS = ("Oslo", "Lima", "Rome", "Bern")


@pytest.fixture(scope="module")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("m") / "tiny", "llama")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = [
        {
            "subject": f"land{i}",
            "src": f"What is the capital of land{i}?",
            "rephrase": f"land{i} has which capital?",
            "alt": TOWNS[i % 4],
            "pred": "Po",
            "answers": ["Po"],
            "loc": f"nq question: which river is in place{i}",
            "loc_ans": "Po",
        }
        for i in range(8)
    ]
    (folder / "zsre_3k.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture
def call(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the script with further arguments; its exit code."""

    def run(*arguments: str) -> int:
        fixed = ["--data", str(data), "--keep", str(tmp_path / "keep"), "--sets", "zsre"]
        fixed += ["--output", str(tmp_path / "page.md"), "--no-capability"]
        monkeypatch.setattr(sys, "argv", ["reproduce_locft", *fixed, *arguments])
        try:
            reproduce_locft.main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return run


def test_a_tiny_model_is_swept_and_goes_on_from_its_records(
    call, tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--models", f"{tiny_dir}", "--parts", "mlp.down,attn", "--sweep-edits", "6")
    assert call(*arguments) == 0
    page = (tmp_path / "page.md").read_text()
    assert "| tiny | zsre | 8 | L2.mlp.down | 0.0005 |" in page
    assert "L2.mlp.down, the paper's location: reliability rank" in page
    assert "| layer: generalization | attn | mlp.down |" in page
    assert "Capability not measured: not asked for." in page
    swept = list(iterate(tmp_path / "keep" / "tiny-zsre-sweep", "trial", TrialRecord))
    assert len(swept) == 6
    assert {(r.trial.recipe.batch, r.trial.recipe.epochs) for r in swept} == {(100, 25)}
    assert {len(r.trial.edits) for r in swept} == {6}
    one = swept[0]
    grid = page.split("| layer: reliability")[1].splitlines()
    row = next(line for line in grid if line.startswith(f"| {one.trial.location.lowest} |"))
    assert f"{100 * one.measure('reliability').value:.2f}" in row

    (tmp_path / "keep" / "tiny-zsre-sweep" / "records" / f"trial-{one.trial.id}.json").unlink()
    ran: list[str] = []

    def counted(workspace, trial, objective):
        ran.append(trial.id)
        return run_trial(workspace, trial, objective)

    monkeypatch.setattr(local, "run_trial", counted)
    assert call(*arguments) == 0
    assert ran == [one.trial.id]


def test_weights_or_data_that_are_not_at_hand_are_named(
    call, tiny_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert call("--models", "llama-3-8b", "--what", "main") == 2
    said = capsys.readouterr().err
    assert "LLaMA-3-8B-Instruct: model 'meta-llama/Meta-Llama-3-8B-Instruct' is not on this" in said
    assert "nothing was run" in said
    assert call("--models", str(tiny_dir), "--what", "main", "--sets", "counterfact") == 2
    assert "counterfact_3k.json" in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()


def test_weights_from_a_directory_stand_beside_the_published_figures(
    call, tmp_path: Path, data: Path
) -> None:
    from families import tiny, tiny_tokenizer

    tiny("llama", num_hidden_layers=23).save_pretrained(tmp_path / "deep")
    tiny_tokenizer().save_pretrained(tmp_path / "deep")
    deep = f"llama-3-8b={tmp_path / 'deep'}"
    assert call("--models", f"{deep},qwen2.5-7b", "--what", "main", "--edits", "4") == 0
    page = (tmp_path / "page.md").read_text()
    (row,) = [line for line in page.splitlines() if "| 4 | L22.mlp.down |" in line]
    assert "/ 98.97" in row
    assert "/ 75.83" in row
    assert "not measured / 57.04" in row
    assert "- Qwen2.5-7B-Instruct: model 'Qwen/Qwen2.5-7B-Instruct' is not on this machine" in page
    assert "| UltraEdit | LLaMA-3-8B-Instruct | zsre | 34.90 | 22.70 | 55.90 | 0.22 |" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sets", "zrse"), "unknown edit set 'zrse': did you mean zsre"),
        (("--what", "mian"), "did you mean main"),
        (("--parts", "mlp.gate"), "unknown part of the sweep"),
        (("--models", "lama=x"), "unknown model of the paper 'lama'"),
        (("--layers", "3,x"), "'x' is no layer"),
    ],
)
def test_what_is_unknown_is_refused(call, arguments, words, capsys) -> None:
    assert call(*arguments) == 2
    assert words in capsys.readouterr().err


def test_a_location_that_is_not_in_the_model_is_named(call, tiny_dir: Path, capsys) -> None:
    assert call("--models", f"llama-3-8b={tiny_dir}", "--what", "main") == 2
    assert "the model has no layer 22" in capsys.readouterr().err


def test_a_model_that_memory_ends_is_named_and_the_page_has_the_others(
    call, tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[bool] = []

    def opened(settings):
        if settings.model != str(tiny_dir):
            pages.append((tmp_path / "page.md").exists())
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return open_model(settings)

    monkeypatch.setattr(reproduce_locft, "open_model", opened)
    assert call("--models", f"{tiny_dir},llama-3-8b", "--what", "main") == 0
    page = (tmp_path / "page.md").read_text()
    assert "| tiny | zsre | 8 |" in page
    assert "LLaMA-3-8B-Instruct: memory ran out" in page
    assert pages == [True]


def test_an_error_of_ours_is_no_reason_to_go_on(
    call, tiny_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(settings):
        raise KeyError("a mistake")

    monkeypatch.setattr(reproduce_locft, "open_model", broken)
    with pytest.raises(KeyError, match="a mistake"):
        call("--models", f"{tiny_dir}", "--what", "main")


def fake_lm_eval(monkeypatch: pytest.MonkeyPatch, evaluate) -> None:
    top, models, inner = ModuleType("lm_eval"), ModuleType("m"), ModuleType("h")
    top.simple_evaluate = evaluate  # type: ignore[attr-defined]
    inner.HFLM = lambda pretrained, tokenizer: SimpleNamespace(model=pretrained)  # type: ignore
    for name, module in (("", top), (".models", models), (".models.huggingface", inner)):
        monkeypatch.setitem(sys.modules, f"lm_eval{name}", module)


def test_capability_is_asked_of_the_tuned_weights_which_are_given_back(
    tiny_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(str(tiny_dir))
    (piece,) = slices(loaded.model, Location.parse("L1.mlp.down"))
    weight = loaded.model.get_parameter(piece.name)
    before, wanted = weight.clone(), torch.ones_like(take(weight, piece))
    seen = []

    def evaluate(model, tasks, limit):
        seen.append(bool((model.model.get_parameter(piece.name) == 1).all()))
        shares = {"mmlu": {"acc,none": 0.5}, "gsm8k": {"exact_match,strict-match": 0.25}}
        return {"results": {**shares, "wmt16-de-en": {"bleu,none": 30.0}}}

    fake_lm_eval(monkeypatch, evaluate)
    found = measured(loaded, {piece: wanted}, published.SWEEP_TASKS, 7)
    assert seen == [True]
    assert torch.equal(weight, before)
    assert found.tasks == {"gsm8k": 25.0, "mmlu": 50.0, "wmt16-de-en": 30.0}
    assert found.mean == 35.0
    assert found.sample == 7


def test_a_task_that_cannot_be_read_is_a_problem_and_not_an_end(
    tiny_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(**_):
        raise ConnectionError("no network\nat all")

    fake_lm_eval(monkeypatch, evaluate)
    found = measured(load(str(tiny_dir)), {}, ("mmlu",))
    assert found.problem == "lm-eval: no network"
    assert isnan(found.mean)


def test_capability_comes_into_the_tables(
    call, tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fake(loaded, changes, tasks, sample):
        asked.append(next(iter(changes)).name)
        return Capability(dict.fromkeys(tasks, 40.0), "", sample)

    monkeypatch.setattr("analyses.locft_parts.running.measured", fake)
    monkeypatch.setattr("analyses.locft_parts.running.there", lambda: True)
    arguments = ["--models", str(tiny_dir), "--parts", "mlp.down", "--layers", "0,2"]
    monkeypatch.setattr("sys.argv", [])
    old = reproduce_locft._parse

    def with_capability():
        args = old()
        args.no_capability = False
        return args

    monkeypatch.setattr(reproduce_locft, "_parse", with_capability)
    assert call(*arguments) == 0
    assert len(asked) == 3
    page = (tmp_path / "page.md").read_text()
    assert "40.00 / –" in page
    assert "| layer: capability | mlp.down |" in page
    assert call(*arguments) == 0
    assert len(asked) == 3


def test_published_figures_are_those_of_the_paper() -> None:
    assert published.published("qwen2.5-7b", "counterfact").generalization == 11.77
    assert isnan(published.published("gpt2", "zsre").reliability)
    assert len(published.MAIN) == 9
    names = {model.name for model in published.MODELS}
    assert {one.model for one in (*published.MAIN, *published.RIVALS)} == names
    assert set(published.MAIN_TASKS) | set(published.SWEEP_TASKS) == set(capability.METRICS)
    assert isnan(Capability({}, "x").mean)
    assert published.Figures("", "", "", nan, nan).capability is not None
