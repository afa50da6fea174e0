"""lm-evaluation-harness in process, on a task file of our own and without a network.

Of a small one that answers to the same names (`fake_harness.py`), and, slow, of the real one where
the extra `eval` is installed: it takes 13 s of one core to install and 20 s here.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import fake_harness
import pytest
from families import save_tiny
from towns import edit_rows
from typer.testing import CliRunner

import locscope
from locscope.cli.app import app
from locscope.errors import UsageError
from locscope.integrations import harness

pytestmark = pytest.mark.filterwarnings("ignore")
CHOICES = ["Paris", "Rome", "Oslo"]
TASK = """
task: capitals
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
output_type: {kind}
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
{choice}
metric_list: [{{metric: {metric}}}]
"""


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.slow)])
def tasks(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A folder with a task of twelve questions, and one that is no multiple choice."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "tasks"
    folder.mkdir()
    rows = [
        {"question": f"Town {i} lies near", "choices": CHOICES, "answer": i % 3} for i in range(12)
    ]
    file = folder / "items.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, kind, choice, metric in (
        ("capitals", "multiple_choice", 'doc_to_choice: "{{choices}}"', "acc"),
        ("written", "generate_until", "generation_kwargs: {max_gen_toks: 2}", "exact_match"),
    ):
        text = TASK.format(file=file, kind=kind, choice=choice, metric=metric)
        (folder / f"{name}.yaml").write_text(text.replace("task: capitals", f"task: {name}"))
    if request.param == "fake":
        fake_harness.install(monkeypatch)
    else:
        pytest.importorskip("lm_eval", reason="needs the extra eval")
    harness.manager_of.cache_clear()
    yield folder
    harness.manager_of.cache_clear()


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    base, out = save_tiny(tmp_path / "tiny", "llama"), tmp_path / "edited"
    (tmp_path / "edits.json").write_text(json.dumps(edit_rows()))
    made = locscope.edit(str(base), str(tmp_path / "edits.json"), location="L1.mlp.down", limit=4)
    made.save(out)
    return out


def test_tasks_are_asked_of_both_models(tasks: Path, edited: Path) -> None:
    words = ["evaluate", "--model", str(edited), "--tasks", "capitals", "--task-limit", "9"]
    words += ["--include-path", str(tasks), "--format", "json", "--quiet"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)["measures"]["capitals acc"]
    assert found["count"] == 9
    assert 0 <= found["value"] <= 1
    assert found["low"] < found["value"] < found["high"]
    assert "lm-evaluation-harness 0." in found["protocol"]
    docs = [json.loads(line) for line in (tasks / "items.jsonl").read_text().splitlines()][:9]
    for path, key in ((edited, "value"), (edited.parent / "tiny", "before")):
        loaded = locscope.load_model(str(path))
        alone = fake_harness.accuracy(loaded.model, loaded.tokenizer, docs)
        assert alone == pytest.approx(found[key])


def test_a_sample_of_a_task_is_what_a_search_retains(tasks: Path, tmp_path: Path) -> None:
    file = harness.abilities_file(tmp_path / "runs", ("capitals",), tasks, 5, 0)
    rows = json.loads(file.read_text())
    assert len(rows) == 5
    assert rows[1] == {
        **{"task": "capitals", "prompt": "Town 1 lies near", "answer": "Rome", "chance": 1 / 3},
    }
    with pytest.raises(UsageError, match="task written is no multiple choice"):
        harness.abilities_file(tmp_path / "runs", ("written",), tasks, 5, 0)


def test_a_search_takes_it_as_its_abilities(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen = []

    def planned(settings: object, *_: object, **__: object) -> None:
        seen.append(settings)
        raise UsageError("seen")

    monkeypatch.setattr("locscope.workflows.search.plan.plan_search", planned)
    words = ["search", "--retain", "capitals", "--include-path", str(tasks)]
    said = CliRunner().invoke(app, [*words, "--retain-samples", "4"])
    assert "seen" in said.stderr, said.output
    assert len(json.loads(seen[0].abilities.read_text())) == 4
    (tmp_path / "a.json").write_text("[]")
    said = CliRunner().invoke(app, [*words, "--abilities", "a.json"])
    assert said.exit_code == 2
    assert "not both" in said.stderr


def test_an_unknown_task_gets_near_names(tasks: Path) -> None:
    with pytest.raises(UsageError, match="unknown task 'capitels': did you mean capitals"):
        harness.manager_of(("capitels",), tasks)


def test_without_the_harness_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lm_eval.tasks", None)
    harness.manager_of.cache_clear()
    said = CliRunner().invoke(app, ["search", "--retain", "mmlu"])
    assert said.exit_code == 2
    assert "pip install 'locscope[eval]'" in said.stderr
