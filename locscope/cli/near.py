"""Words that people write for options and commands, and what they mean by them."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from locscope.locations import location_meant, part_meant

OPTIONS = {
    **dict.fromkeys(("model-name", "model-path", "model-name-or-path", "pretrained"), "model"),
    **dict.fromkeys(("model-args", "checkpoint", "hf-model", "m"), "model"),
    **dict.fromkeys(("data", "dataset", "data-path", "input", "facts", "file", "edit"), "edits"),
    **dict.fromkeys(("n", "max-samples", "num-edits", "count", "max-edits", "samples"), "limit"),
    **dict.fromkeys(("layer", "layers", "where", "module", "target"), "locations"),
    **dict.fromkeys(("part", "components", "target-modules", "modules"), "parts"),
    **dict.fromkeys(("scan", "method", "methods", "scanner"), "scans"),
    **dict.fromkeys(("out", "o", "output-dir", "output-path", "out-dir", "folder"), "output"),
    **dict.fromkeys(("learning-rate", "rate", "learning_rate", "eta"), "lr"),
    **dict.fromkeys(("bs", "batch", "per-device-train-batch-size"), "batch-size"),
    **dict.fromkeys(("epoch", "num-epochs", "num-train-epochs", "steps", "num-steps"), "epochs"),
    **dict.fromkeys(("gpu", "cuda", "accelerator"), "device"),
    **dict.fromkeys(("precision", "torch-dtype", "fp16", "bf16"), "dtype"),
    **dict.fromkeys(("config", "yaml", "config-file", "setting"), "settings"),
    **dict.fromkeys(("bounds", "constraint"), "bound"),
    **dict.fromkeys(("weights",), "weight"),
    **dict.fromkeys(("random-seed", "random-state"), "seed"),
    **dict.fromkeys(("json", "output-format", "as-json"), "format"),
    **dict.fromkeys(("force", "overwrite", "restart", "no-resume"), "fresh"),
    **dict.fromkeys(("continue",), "resume"),
    **dict.fromkeys(("dry", "plan", "estimate", "simulate"), "dry-run"),
    **dict.fromkeys(("silent", "q", "no-progress"), "quiet"),
    **dict.fromkeys(("recipe", "method-recipe"), "recipes"),
    **dict.fromkeys(("time", "timeout", "time-limit", "max-time"), "budget"),
    **dict.fromkeys(("logger", "report-to", "wandb"), "tracker"),
    **dict.fromkeys(("template", "chat-template", "chat"), "prompt-format"),
    **dict.fromkeys(("trust-code", "allow-code", "remote-code"), "trust-remote-code"),
    **dict.fromkeys(("push", "hub", "push-to-hf", "upload"), "push-to-hub"),
    **dict.fromkeys(("task", "benchmarks", "benchmark"), "tasks"),
}
"""By what is written, the option that is meant where the command has it."""
ONE_OF = {"locations": "location", "recipes": "recipe"}
"""The option of a command that takes one, by that of a command that takes several."""
EXAMPLES = {"--locations": "L22.mlp.down", "--location": "L22.mlp.down", "--parts": "mlp.down"}
"""A value of options whose values other tools write in another way."""
COMMANDS = {
    **dict.fromkeys(("run", "find", "locate", "optimize", "tune-search"), "search"),
    **dict.fromkeys(("trace", "localize", "localise", "causal-trace"), "scan"),
    **dict.fromkeys(("validate", "verify", "info", "inspect", "estimate"), "check"),
    **dict.fromkeys(("tune", "train", "finetune", "fine-tune", "apply", "ft"), "edit"),
    **dict.fromkeys(("eval", "test", "measure", "score", "benchmark"), "evaluate"),
    **dict.fromkeys(("ls", "show", "models", "scans", "measures"), "list"),
    **dict.fromkeys(("compare", "plot", "draw", "html"), "report"),
    **dict.fromkeys(("import", "export", "read"), "convert"),
}
"""By what is written, the command that is meant."""


def options_meant(written: str, there: Iterable[str]) -> list[str]:
    """The options (with their dashes) that an unknown one may stand for, the likeliest first.

    >>> options_meant("--part", ["--parts", "--share"])
    ['--parts']
    """
    there = list(there)
    name = written.lstrip("-").partition("=")[0].lower().replace("_", "-")
    word = OPTIONS.get(name, name)
    known = (f"--{one}" for one in (word, ONE_OF.get(word, word), _plain(name)))
    named = [one for one in dict.fromkeys(known) if one in there]
    return named[:1] or get_close_matches(f"--{name}", there, n=3, cutoff=0.6)


def with_value(option: str, written: str, words: Sequence[str]) -> str:
    """An option that is meant, with the value that was written for the unknown one, as it is
    written here; with an example where that cannot be told.

    >>> with_value("--locations", "--layers", ["--layers", "4-7,22"])
    '--locations L4-7.block,L22.block'
    >>> with_value("--locations", "--layers", ["--layers"])
    '--locations, as --locations L22.mlp.down'
    """
    if option not in EXAMPLES:
        return option
    meaning = part_meant if option == "--parts" else _joined
    meant = [meaning(value) for value in _value_of(written, words).split(",")]
    if not all(meant):
        return f"{option}, as {option} {EXAMPLES[option]}"
    return f"{option} {('+' if option == '--location' else ',').join(meant)}"


def command_meant(written: str, there: Mapping[str, object]) -> str:
    """The command that an unknown one may stand for; empty where none is near."""
    word = written.lower()
    near = get_close_matches(word, list(there), n=1, cutoff=0.6)
    return COMMANDS.get(word) or (near[0] if near else "")


def dashed(arguments: Iterable[str]) -> list[str]:
    """The arguments with dashes in place of underscores in names of options, as `--batch_size`."""
    found, rest = list[str](), iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        known = name.startswith("--") and len(name) > 2 and name[2:3] != "_"
        found.append(f"{name.replace('_', '-')}{equals}{value}" if known else argument)
        if argument == "--":
            return [*found, *rest]
    return found


def _joined(text: str) -> str:
    """The location that a text means; empty where one of its joined pieces means none."""
    pieces = [location_meant(piece) for piece in text.split("+")]
    return "+".join(pieces) if all(pieces) else ""


def _value_of(written: str, words: Sequence[str]) -> str:
    """What stands behind an option, after a space or `=`; empty where nothing does."""
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == written.partition("=")[0]:
            following = "".join(words[number + 1 : number + 2])
            return value if equals or following.startswith("-") else following
    return ""


def _plain(name: str) -> str:
    """A name without what is often put before it."""
    for start in ("no-", "with-", "use-", "set-"):
        name = name.removeprefix(start)
    return name
