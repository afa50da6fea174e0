"""The commands: where each is, what its help says, and the examples at the end of its page."""

from typing import NamedTuple

FINDING, USING, DATA = "locscope.cli.finding", "locscope.cli.using", "locscope.cli.data"
DELTAS, CACHES = "locscope.cli.deltas", "locscope.cli.caches"
ELSEWHERE = (
    "Options can stand in a YAML file (--settings) or in the environment, --batch-size as "
    "LOCSCOPE_BATCH_SIZE. What is written here wins, then the environment, then the file."
)


class Page(NamedTuple):
    """The module whose `commands` have a command, its sentence of help, and its examples."""

    module: str
    help: str
    examples: tuple[str, ...]

    def epilog(self, settings: bool) -> str:
        """What stands below the options; with `settings`, where else these can be said."""
        # Not read as markup: brackets would be.
        lines = [f"  {example}".replace("[", r"\[") for example in self.examples]
        title = "Examples:" if len(lines) > 1 else "Example:"
        return "\n\n".join([title, *lines, *([ELSEWHERE] if settings else [])])


COMMANDS = {
    "search": Page(
        FINDING,
        "Search the layer configuration to fine-tune, with held-out evidence for it.",
        (
            "locscope search --output runs/first",
            "locscope search --model llama-3-8b --edits my-edits.jsonl --budget 2h",
        ),
    ),
    "scan": Page(
        FINDING,
        "Scan the untouched model: where do localisation methods see these facts?",
        ("locscope scan --scans cheap --limit 40 --output runs/scans",),
    ),
    "check": Page(
        FINDING,
        "Say what was read, whether it can be used, and what a search needs and takes.",
        ("locscope check --edits my-edits.jsonl", "locscope check --model llama-3-8b"),
    ),
    "convert": Page(
        DATA,
        "Write edits of any known layout as our own JSONL, without a model.",
        ("locscope convert counterfact.json --output edits.jsonl",),
    ),
    "edit": Page(
        USING,
        "Tune one location on all edits and save the edited model.",
        (
            "locscope edit --config runs/first --output runs/edited",
            "locscope edit --location L6.mlp.down --lr 5e-4 --output runs/by-hand",
        ),
    ),
    "evaluate": Page(
        USING,
        "Measure an edited model on its edits and against its base.",
        ("locscope evaluate --model runs/edited --format json",),
    ),
    "apply": Page(
        DELTAS,
        "Put deltas of `edit --delta` on a model, and save the result.",
        ("locscope apply edits.safetensors --output runs/edited",),
    ),
    "revert": Page(
        DELTAS,
        "Take deltas off a model again, and save the result.",
        ("locscope revert edits.safetensors --model runs/edited --output runs/base",),
    ),
    "report": Page(
        USING,
        "Draw the report of a run again from its records, or compare several runs.",
        ("locscope report runs/first", "locscope report runs/first runs/second"),
    ),
    "list": Page(
        USING,
        "List what there is: models, edits, scans, measures, strategies, ...",
        ("locscope list", "locscope list scans"),
    ),
    "cache": Page(
        CACHES,
        "List or clear what is kept from one command to the next.",
        ("locscope cache list", "locscope cache clear prefix"),
    ),
}
"""By name, in the order of help."""
