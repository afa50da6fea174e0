"""Bad input: one clear line, exit code 2, nothing written."""

import json
from pathlib import Path

import pytest
import torch
from families import save_tiny
from typer.testing import CliRunner

from locscope.cli.app import app
from locscope.cli.written import read_settings
from locscope.settings import SearchSettings
from locscope.tuning.recipes import RECIPES

GOOD = [{"prompt": f"a{i} is", "target": "b", "subject": f"s{i}"} for i in range(12)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("m") / "tiny", "llama")


@pytest.fixture
def edits(tmp_path: Path) -> Path:
    path = tmp_path / "edits.json"
    path.write_text(json.dumps(GOOD))
    return path


def refused(arguments: list[str], *expected: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("locscope: ")]
    assert len(lines) == 1
    assert result.stdout == ""
    for words in expected:
        assert words in lines[0]


def test_unknown_model_with_near_names(tmp_path: Path) -> None:
    out = tmp_path / "run"
    refused(["search", "--model", "lama-3-8b", "--output", str(out)], "lama-3-8b", "llama-3-8b")
    assert not out.exists()


def test_directory_without_tokenizer_weights_or_safetensors(model: Path, tmp_path: Path) -> None:
    for name, drop in (("tokenizer", "tokenizer*"), ("weights", "*.safetensors")):
        broken = tmp_path / name
        broken.mkdir()
        for path in model.iterdir():
            if not path.match(drop):
                (broken / path.name).write_bytes(path.read_bytes())
        refused(["search", "--model", str(broken), "--output", str(tmp_path / "r")], name)
    torch.save({}, tmp_path / "weights" / "pytorch_model.bin")
    refused(["search", "--model", str(tmp_path / "weights")], "safetensors")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*GOOD, {"prompt": "x"}], ("row 13", "target")),
        ([*GOOD, {"prompt": "x", "target": ""}], ("row 13", "target")),
        ([{**GOOD[0], "rephrase": ["x"]}], ("rephrase", "rephrases")),
        ([], ("edits.json",)),
    ],
)
def test_bad_fields_are_named(
    rows: list, words: tuple[str, ...], model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "edits.json"
    path.write_text(json.dumps(rows))
    out = tmp_path / "run"
    refused(
        ["search", "--model", str(model), "--edits", str(path), "--output", str(out)],
        str(path),
        *words,
    )
    assert not out.exists()


def test_conflicting_targets(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "edits.json"
    path.write_text(json.dumps([*GOOD, {"prompt": "a1 is", "target": "c"}]))
    refused(["search", "--model", str(model), "--edits", str(path)], "a1 is", "--conflicts")


def test_unreadable_edits(model: Path, tmp_path: Path) -> None:
    refused(["search", "--model", str(model), "--edits", str(tmp_path / "no.json")], "no.json")
    path = tmp_path / "broken.json"
    path.write_text("{ not json")
    refused(["search", "--model", str(model), "--edits", str(path)], "broken.json")


def test_unknown_location_part_and_head(model: Path, edits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    base = ["edit", "--model", str(model), "--edits", str(edits), "--output", str(out)]
    refused([*base, "--location", "L9.mlp"], "L9.mlp", "0..2")
    refused([*base, "--location", "L1.mpl"], "mpl", "mlp.down")
    refused([*base, "--location", "L1.attn.h9"], "h9", "0..3")
    refused([*base, "--location", "layer 3"], "layer 3", "L22.mlp.down")
    refused(base, "--config", "--location")
    assert not out.exists()


def test_unknown_settings_and_values(model: Path, edits: Path, tmp_path: Path) -> None:
    base = ["search", "--model", str(model), "--edits", str(edits)]
    refused([*base, "--prompt-format", "chat"], "chat template")
    file = tmp_path / "s.yaml"
    file.write_text("epohcs: 3\n")
    refused([*base, "--settings", str(file)], "epohcs", "epochs")


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--strategy", "rcae"), ("strategy", "rcae", "race")),
        (("--objective", "capability"), ("objective", "capability", "capability-first")),
        (("--scans", "weight-gradeint"), ("weight-gradeint", "weight-gradient")),
        (("--bound", "perplexity<=1.1"), ("measure", "perplexity", "perplexity_ratio")),
        (("--bound", "locality=0.9"), ("locality=0.9", "retention>=0.9")),
        (("--bound", "locality>=95"), ("locality>=95", "share from 0 to 1")),
        (("--bound", "kl<=low"), ("kl<=low", "perplexity_ratio<=1.05")),
        (("--budget", "15%"), ("budget", "15%", "0.15")),
        (("--budget", "0"), ("budget", "'0'", "90s")),
        (("--budget", "2"), ("budget", "'2'", "2h")),
        (("--budget", "-5m"), ("budget", "-5m")),
        (("--weight", "localty=2"), ("localty", "locality")),
        (("--weight", "locality=0"), ("locality", "above 0")),
        (("--weight", "locality=much"), ("locality", "much")),
        (("--weight", "locality"), ("locality", "=")),
        (("--objective", "capability-first", "--weight", "locality=2"), ("no weights",)),
        (("--locations", "L1.mpl"), ("mpl", "mlp.down")),
        (("--locations", "layer 3"), ("layer 3", "L22.mlp.down")),
        (("--locations", "L2-1.mlp"), ("L2-1.mlp", "first")),
        (("--locations", "L1.mlp,L9.mlp"), ("L9.mlp", "0..2")),
        (("--locations", "L1.attn.h9"), ("h9", "0..3")),
        (("--parts", "mlp,atn"), ("part", "atn", "attn")),
        (("--finalists", "0"), ("finalists", "0")),
        (("--consecutive", "0"), ("consecutive", "0")),
        (("--share", "1.5"), ("share", "1.5")),
        (("--bound-margin", "1"), ("bound_margin", "less than 1")),
        (("--bound-margin", "-0.1"), ("bound_margin", "-0.1")),
        (("--seed", "4294967296"), ("seed", "4294967296", "less than")),
        (("--device-memory", "inf"), ("device_memory", "finite")),
        (("--tracker", "wnadb"), ("tracker", "wnadb", "wandb")),
        (("--recipes", "budget", "--repetitions", "2"), ("budget", "--repetitions 3")),
    ],
)
def test_settings_of_a_search_that_cannot_be(
    arguments: tuple[str, ...],
    words: tuple[str, ...],
    dry: tuple[str, ...],
    model: Path,
    edits: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "run"
    given = ["--model", str(model), "--edits", str(edits), "--output", str(out)]
    refused(["search", *given, *arguments, *dry], *words)
    assert not out.exists()


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        ("retention>=0.9", ("retention", "--abilities")),
        ("multihop>=0.5", ("multihop", "cannot be measured")),
        ("generalization>=0.5", ("generalization", "rephrases")),
    ],
)
def test_a_bound_that_cannot_be_measured(
    bound: str, words: tuple[str, ...], model: Path, edits: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    given = ["--model", str(model), "--edits", str(edits), "--output", str(out)]
    refused(["search", *given, "--bound", bound], *words)
    assert not out.exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("locations: [L99.mlp]", ("L99.mlp", "0..2")),
        ("locations: [L1.attn.h9]", ("h9", "0..3")),
        ("bounds: [multihop>=0.5]", ("multihop", "cannot be measured")),
        ("bounds: [generalization>=0.5]", ("generalization", "rephrases")),
        ("first_step: .inf", ("first_step", "finite")),
    ],
)
def test_a_check_refuses_what_a_search_would(
    line: str, words: tuple[str, ...], model: Path, edits: Path, tmp_path: Path
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(line)
    refused(
        ["check", "--model", str(model), "--edits", str(edits), "--settings", str(file)], *words
    )


def test_a_settings_file_says_all_that_options_say(
    model: Path, edits: Path, tmp_path: Path
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("budget: 0.15\nlocations: [L1.mlp+L0.attn, L0.attn + L1.mlp]\nrecipes: [all]\n")
    read = read_settings(SearchSettings, file, {"model": str(model), "edits": str(edits)})
    assert (read.allowance, read.budget_unit) == (0.15, "share")
    assert read.locations == ("L0.attn+L1.mlp",)
    assert read.recipes == ("all",)
    every = read_settings(SearchSettings, file, {"recipes": ("every",)})
    assert set(every.recipes) == set(RECIPES) - {"full"}


def test_a_check_counts_the_places_that_a_search_tries(model: Path, edits: Path) -> None:
    given = ["--model", str(model), "--edits", str(edits), "--format", "json"]
    said = CliRunner().invoke(app, ["check", *given])
    lines = {line["name"]: line["value"] for line in json.loads(said.stdout)["lines"]}
    tried = CliRunner().invoke(app, ["search", *given, "--dry-run"])
    assert int(lines["candidates"].split()[0]) == sum(json.loads(tried.stdout)["kinds"].values())


def test_unknown_recipe(model: Path, edits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    base = ["edit", "--model", str(model), "--edits", str(edits), "--output", str(out)]
    refused([*base, "--location", "L1.mlp", "--recipe", "lorra"], "recipe", "lorra", "lora")
    assert not out.exists()


@pytest.mark.parametrize(
    ("rows", "more", "words"),
    [
        (GOOD[:9], (), ("at least 10 edits", "edit --location")),
        ([{**row, "subject": "s"} for row in GOOD], (), ("12 edits", "subject")),
        (GOOD, ("--repetitions", "9"), ("different subsets, not 9", "fewer repetitions")),
        (GOOD, ("--limit", "1"), ("at least 10 edits", "there is 1")),
    ],
)
def test_fewer_edits_than_a_split_needs(
    rows: list[dict], more: tuple[str, ...], words: tuple[str, ...], model: Path, tmp_path: Path
) -> None:
    path, out = tmp_path / "edits.json", tmp_path / "run"
    path.write_text(json.dumps(rows))
    given = ["--model", str(model), "--edits", str(path), "--output", str(out)]
    refused(["search", *given, *more], *words)
    refused(["search", *given, *more, "--dry-run"], *words)
    assert not out.exists()


def test_a_folder_that_is_not_ours(model: Path, edits: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    refused(
        ["search", "--model", str(model), "--edits", str(edits), "--output", str(tmp_path)],
        "not a run folder",
    )
    refused(["report", str(tmp_path)], "not a run folder")


def test_unknown_list() -> None:
    refused(["list", "scan"], "scan", "scans")
