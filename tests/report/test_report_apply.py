"""What the page says first, and the snippets that people copy: each is read by what it is for."""

import ast
from dataclasses import replace

import report_factory as factory
import yaml
from typer.testing import CliRunner

from locscope.api.changing import edit
from locscope.cli.app import app
from locscope.locations import Location
from locscope.report.data.page.answers import answers, headline, site_in_words
from locscope.report.data.page.apply import edit_settings, snippets
from locscope.settings import EditSettings, settings_of


def test_where_how_for_what_with_what_effect_and_how_sure():
    inputs = factory.inputs()
    assert headline(inputs) == "Tune L6.mlp.down at learning rate 0.0006"
    said = dict(answers(inputs))
    assert said == {
        "Where": "L6.mlp.down: the down projection of the MLP of layer 6 (of 0 to 9); "
        "49.2k weights, 2.34% of the model",
        "How": "Full tuning, learning rate 0.0006, batch 30, at most 25 epochs",
        "For": "240 edits of demo, all tuned at once",
        "What it does": "New answer given 93.0% (was 0.0%), after a rephrase 84.0% (was 0.0%), "
        "neighbours kept 88.0%, perplexity of other text × 1.030.",
        "How sure": "Held out, score 0.920 [0.890, 0.950] on 24 edits at a time; against the "
        "runner-up L7.mlp.down: better (+0.020); against the depth-rule L5.mlp.down: better "
        "(+0.110); against L2.attn: better (+0.500).",
    }
    assert headline(factory.inputs(recommendation=None)) == ""
    assert answers(factory.inputs(recommendation=None)) == ()


def test_sites_in_words():
    head, several = Location.parse("L4.attn.h3+L0-2.attn.q").sites
    assert site_in_words(head, 8) == "head 3 of attention of layer 4 (of 0 to 7)"
    assert site_in_words(several, 8) == (
        "the query projection of attention of layers 0 to 2 (of 0 to 7)"
    )


def test_the_yaml_is_read_as_settings_of_edit():
    made = factory.deployment(edits=100)
    inputs = factory.inputs(recommendation=factory.recommendation(deployment=made))
    (_, note, text) = snippets(inputs)[1]
    assert "Of 240 edits the search tuned 100" in note
    given = yaml.safe_load(text)
    settings = settings_of(EditSettings, given)
    assert (settings.location, settings.lr, settings.batch_size) == ("L6.mlp.down", 6e-4, 30)
    assert given == edit_settings(inputs)


def test_data_of_the_run_stand_in_the_yaml_and_no_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/somebody/else")
    run = replace(
        factory.run(),
        settings={"edits": "/somebody/else/e.json", "limit": "60", "neutral": "None", "seed": "3"},
    )
    run = replace(run, model=replace(run.model, name="/somebody/else/m"))
    found = edit_settings(factory.inputs(run=run))
    assert (found["model"], found["edits"], found["limit"], found["seed"]) == (
        "~/m", "~/e.json", 60, 3
    )  # fmt: skip
    assert "neutral" not in found
    commands = snippets(factory.inputs(run=run))[0][2]
    assert "--model ~/m " in commands


def test_commands_have_options_that_there_are():
    help_of = lambda verb: CliRunner().invoke(app, [verb, "--help"]).output  # noqa: E731
    lines = [line.split() for line in snippets(factory.inputs())[0][2].splitlines()]
    for _, verb, *words in (line for line in lines if line and line[0] == "locscope"):
        page = help_of(verb)
        assert [word for word in words if word.startswith("--") and word not in page] == []


def test_the_python_calls_what_there_is():
    text = snippets(factory.inputs())[2][2]
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    edits = [c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr == "edit"]
    own = set(edit.__kwdefaults__ or ()) | set(EditSettings.model_fields)
    assert len(edits) == 2
    assert all({keyword.arg for keyword in call.keywords} <= own for call in edits)
    assert snippets(factory.inputs(recommendation=None)) == ()
