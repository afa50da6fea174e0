"""A recommendation in the words of other tools: a table, one file each.

An export is a function from a recommendation, and what is about it, to a file's text or to the
reason why the tool cannot say this location. A new one is one file here and one entry in `EXPORTS`.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from locscope.errors import unknown
from locscope.integrations.exports.about import About, Export, Names, Unsupported
from locscope.records import Recommendation
from locscope.runs.files import explained, write_atomic

__all__ = [
    "EXPORTS",
    "About",
    "Export",
    "Format",
    "Names",
    "Unsupported",
    "exported",
    "write_exports",
]

FOLDER = "exports"
README = "README.txt"


@dataclass(frozen=True)
class Format:
    """The tool that an export is for: `file` is where it goes, `source` tells of the tool's keys.

    `function` is `module:name`, imported when it is used.
    """

    name: str
    title: str
    file: str
    source: str
    function: str


EXPORTS: dict[str, Format] = {
    "peft": Format(
        "peft",
        "PEFT, a LoRA configuration",
        "peft/adapter_config.json",
        "peft.LoraConfig",
        "locscope.integrations.exports.peft:export",
    ),
    "easyedit": Format(
        "easyedit",
        "EasyEdit, hyperparameters of FT",
        "easyedit.yaml",
        "zjunlp/EasyEdit, easyeditor/models/ft/ft_hparams.py and hparams/FT",
        "locscope.integrations.exports.easyedit:export",
    ),
    "llama_factory": Format(
        "llama_factory",
        "LLaMA-Factory, freeze tuning",
        "llama_factory.yaml",
        "hiyouga/LLaMA-Factory, src/llamafactory/hparams/finetuning_args.py (FreezeArguments)",
        "locscope.integrations.exports.llama_factory:export",
    ),
}


def exported(name: str, recommendation: Recommendation, about: About) -> Export | Unsupported:
    """The recommendation for one tool; a UsageError lists the tools where `name` is none."""
    if name not in EXPORTS:
        raise unknown("export", name, EXPORTS)
    module, _, function = EXPORTS[name].function.partition(":")
    return getattr(import_module(module), function)(recommendation, about)


def write_exports(
    folder: Path, recommendation: Recommendation, about: About, *, first: str = ""
) -> tuple[Path, ...]:
    """Writes what can be said into ``exports/`` of a run folder, and a README of all; their paths.

    What an earlier recommendation left there and this one cannot say is removed. `first` is a line
    to begin the README with.
    """
    home = folder / FOLDER
    made = {name: exported(name, recommendation, about) for name in EXPORTS}
    written = []
    with explained(f"write {home}"):
        for name, one in made.items():
            path = home / EXPORTS[name].file
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(one, Export):
                write_atomic(path, one.text)
                written.append(path)
            else:
                path.unlink(missing_ok=True)
        write_atomic(home / README, _readme(recommendation, made, first))
    return (*written, home / README)


def _readme(rec: Recommendation, made: dict[str, Export | Unsupported], first: str) -> str:
    lines = [f"{rec.best.location} for other tools.", *([first] if first else [])]
    for name, one in made.items():
        entry = EXPORTS[name]
        if isinstance(one, Export):
            lines.append(f"{entry.file}: {entry.title}. {one.note}")
        else:
            lines.append(f"{entry.title}: not written, as {one.reason}.")
    return "\n\n".join(lines) + "\n"
