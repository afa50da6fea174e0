"""A recommendation as configuration of other tools: a table, one file each.

An export is a function from a recommendation and its context to a file's text, or to the reason why
the tool cannot express this location. A new one is one file here and one entry in `EXPORTS`.
"""

from dataclasses import dataclass
from pathlib import Path

from locscope.errors import unknown
from locscope.integrations.exports.about import About, Export
from locscope.plugins import function_of
from locscope.records import Recommendation
from locscope.runs.files import explained, write_atomic

__all__ = [
    "EXPORTS",
    "About",
    "Export",
    "ExportFormat",
    "exported",
    "write_exports",
]

FOLDER = "exports"
README = "README.txt"


@dataclass(frozen=True)
class ExportFormat:
    """The tool that an export is for: `file` is its path in the folder, `source` documents the
    tool's keys, `function` is `module:name`, imported when it is used.
    """

    name: str
    title: str
    file: str
    source: str
    function: str


EXPORTS: dict[str, ExportFormat] = {
    "peft": ExportFormat(
        "peft",
        "PEFT, a LoRA configuration",
        "peft/adapter_config.json",
        "peft.LoraConfig",
        "locscope.integrations.exports.peft:export",
    ),
    "easyedit": ExportFormat(
        "easyedit",
        "EasyEdit, hyperparameters of FT",
        "easyedit.yaml",
        "zjunlp/EasyEdit, easyeditor/models/ft/ft_hparams.py and hparams/FT",
        "locscope.integrations.exports.easyedit:export",
    ),
    "llama_factory": ExportFormat(
        "llama_factory",
        "LLaMA-Factory, freeze tuning",
        "llama_factory.yaml",
        "hiyouga/LLaMA-Factory, src/llamafactory/hparams/finetuning_args.py (FreezeArguments)",
        "locscope.integrations.exports.llama_factory:export",
    ),
    "axolotl": ExportFormat(
        "axolotl",
        "axolotl, full fine-tuning with all else frozen",
        "axolotl.yaml",
        "axolotl-ai-cloud/axolotl, docs/config-reference (unfrozen_parameters)",
        "locscope.integrations.exports.axolotl:export",
    ),
    "trl": ExportFormat(
        "trl",
        "TRL, supervised fine-tuning with LoRA",
        "trl.yaml",
        "huggingface/trl, trl/trainer/model_config.py and sft_config.py",
        "locscope.integrations.exports.trl:export",
    ),
    "torchtune": ExportFormat(
        "torchtune",
        "torchtune, LoRA in every layer",
        "torchtune.yaml",
        "pytorch/torchtune, recipes/configs/llama3/8B_lora_single_device.yaml",
        "locscope.integrations.exports.torchtune:export",
    ),
}


def exported(name: str, recommendation: Recommendation, about: About) -> Export:
    """The recommendation for one tool; raises UsageError where there is no such export."""
    if name not in EXPORTS:
        raise unknown("export", name, EXPORTS)
    return function_of(EXPORTS[name].function)(recommendation, about)


def write_exports(
    folder: Path, recommendation: Recommendation, about: About, *, first: str = ""
) -> tuple[Path, ...]:
    """Writes all supported exports into ``exports/`` of a run folder, and a README on all of them;
    returns the paths.

    `first` is the first line of the README.
    """
    home = folder / FOLDER
    made = {name: exported(name, recommendation, about) for name in EXPORTS}
    written = []
    with explained(f"write {home}"):
        for name, export in made.items():
            path = home / EXPORTS[name].file
            path.parent.mkdir(parents=True, exist_ok=True)
            if export.text:
                write_atomic(path, export.text)
                written.append(path)
            else:
                # A search that goes on may recommend another location than the file there is for.
                path.unlink(missing_ok=True)
        write_atomic(home / README, _readme(recommendation, made, first))
    return (*written, home / README)


def _readme(rec: Recommendation, made: dict[str, Export], first: str) -> str:
    lines = [f"{rec.best.location} for other tools.", *([first] if first else [])]
    for name, export in made.items():
        entry = EXPORTS[name]
        if export.text:
            lines.append(f"{entry.file}: {entry.title}. {export.note}")
        else:
            lines.append(f"{entry.title}: not written, as {export.reason}.")
    return "\n\n".join(lines) + "\n"
