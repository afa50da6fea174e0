"""How to use a recommendation: commands, a settings file and Python, ready to be copied."""

import shlex
from typing import Any

import yaml

from locscope.records import Recipe
from locscope.report.data.inputs import ReportInputs
from locscope.runs.note import absolute
from locscope.runs.private import without_home
from locscope.runs.recommendation import NAME

OUTPUT = "edited-model"
DATA = ("limit", "seed", "conflicts", "neutral", "abilities")
"""Settings of a search, besides model and edits, that say what an edit is of."""
NUMBERS = ("limit", "seed")


def snippets(inputs: ReportInputs) -> tuple[tuple[str, str, str], ...]:
    """Title, note and text of each way to apply the recommendation; none without one."""
    if inputs.recommendation is None or inputs.best is None:
        return ()
    made = inputs.recommendation.deployment or inputs.best
    location, settings = str(made.location), edit_settings(inputs)
    deployed, rest = inputs.recommendation.deployment, ""
    if deployed and deployed.edits < deployed.given:
        rest = f" Of {deployed.given:,} edits the search tuned {deployed.edits:,}, as {NAME} says."
    return (
        (
            "Commands",
            f"In the folder of this report. {NAME} holds model, edits, location and recipe.",
            _commands(settings),
        ),
        (
            "YAML",
            f"As edit.yaml, for `locscope edit --settings edit.yaml --output {OUTPUT}`; put your "
            f"own edits in.{rest}",
            f"# {location}, as recommended by locscope\n"
            + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True),
        ),
        ("Python", "In the folder of this report.", _python(settings)),
    )


def edit_settings(inputs: ReportInputs) -> dict[str, Any]:
    """The settings of `locscope edit` that say the recommended location and its recipe."""
    recommendation, given = inputs.recommendation, inputs.run.settings
    if recommendation is None or inputs.best is None:
        return {}
    made = recommendation.deployment or inputs.best
    said = {name: given[name] for name in DATA if given.get(name, "None") != "None"}
    data = {name: int(text) if name in NUMBERS else text for name, text in said.items()}
    return {
        "model": without_home(inputs.run.model.name),
        "edits": without_home(absolute(given.get("edits", inputs.run.edits))),
        **data,
        "location": str(made.location),
        **_recipe(recommendation.recipe),
    }


def _recipe(recipe: Recipe) -> dict[str, Any]:
    whole = {"lr": recipe.lr, "batch_size": recipe.batch, "epochs": recipe.epochs}
    if recipe.kind != "full":
        whole["recipe"] = recipe.kind
    if recipe.prefixes:
        whole["prefixes"] = recipe.prefixes
    return {**whole, "prompt_format": recipe.prompt_format}


def _commands(settings: dict[str, Any]) -> str:
    model = _quoted(settings["model"])
    where = f"--location {settings['location']} --lr {settings['lr']!r}"
    return "\n".join(
        (
            f"locscope edit --config {NAME} --output {OUTPUT}",
            # Of the edits that it was tuned on, which the model has a note of.
            f"locscope evaluate --model {OUTPUT}",
            "",
            "# the same location and rate on edits of your own",
            f"locscope edit --model {model} --edits my_edits.jsonl {where} "
            f"--batch-size {settings['batch_size']} --output {OUTPUT}",
        )
    )


def _quoted(path: str) -> str:
    # A tilde within quotes is no home folder to a shell.
    home = "~/" if path.startswith("~/") else ""
    return home + shlex.quote(path.removeprefix(home))


def _python(settings: dict[str, Any]) -> str:
    given = {k: v for k, v in settings.items() if k not in ("model", "edits", "location", "lr")}
    names = ", ".join(f"{name}={value!r}" for name, value in given.items() if name in _SHOWN)
    return "\n".join(
        (
            "import locscope",
            "",
            f"model, edits = {settings['model']!r}, {settings['edits']!r}",
            f'edited = locscope.edit(model, edits, config="{NAME}")',
            "print(edited.measures)",
            f'edited.save("{OUTPUT}")',
            "",
            "# the same location and rate on edits of your own",
            "edited = locscope.edit(",
            f'    model, "my_edits.jsonl", location="{settings["location"]}",',
            f"    lr={settings['lr']!r}, {names},",
            ")",
        )
    )


_SHOWN = ("batch_size", "epochs", "recipe", "prefixes", "prompt_format")
