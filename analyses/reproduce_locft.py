"""LocFT-BF's location sweep and main table, run again wherever the weights are at hand.

    python -m analyses.reproduce_locft --data DIR --output reports/reproduce_locft.md

DIR holds the paper's samples of edits (zsre_3k.json, counterfact_3k.json, wikibigedit_3k.json, from
the repository ICT-STAR/LocFT). `--models llama-3-8b,qwen2.5-7b` takes some of the paper's models,
`--models llama-3-8b=PATH` its weights from a directory, `--models PATH` any other model, at the
depth that LLaMA's location has. Every trial is kept in `--keep`: the same command goes on where it
was ended. Capability is measured where lm-eval is installed (and its data sets can be read). The
page is written after each model, if anything was run. The sweep of a model of 32 layers is 160
trials: `--parts`, `--layers` and `--sweep-edits` make it less, and `--what main` leaves it out.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from analyses.locft_parts import published as paper
from analyses.locft_parts.report import Main, Sweep, page
from analyses.locft_parts.running import Job, run
from locscope.cli.listener import listener
from locscope.errors import LocscopeError, UsageError, ran_out_of_memory, unknown
from locscope.locations import PAPER_PARTS, Location, paper_location
from locscope.models.load import Loaded
from locscope.models.parts import slices
from locscope.progress import Progress
from locscope.settings import EditSettings, settings_of
from locscope.workflows.workspace import open_model

WHAT = ("main", "sweep")
FAILED = 2
"""Exit code where something asked for is unknown, or nothing could be run."""


@dataclass(frozen=True)
class Asked:
    """A model of the paper, or another one, and where its weights are."""

    model: paper.PaperModel
    source: str


@dataclass(frozen=True)
class Tried:
    """What could be run, and in sentences what could not."""

    found: tuple[Main | Sweep, ...]
    missing: tuple[str, ...]


def main() -> None:
    """Runs what can be run and writes the page; exit code 2 where nothing could."""
    args, progress = _parse(), listener()
    try:
        asked = _checked(args)
    except UsageError as error:
        sys.exit(_said(str(error)))
    tried = Tried((), ())
    for one in asked:
        more = _model(args, one, progress)
        for line in more.missing:
            progress.say(f"not run: {line}")
        tried = Tried((*tried.found, *more.found), (*tried.missing, *more.missing))
        # After each model: one of them takes hours.
        _write(args.output, tried)
    if not tried.found:
        sys.exit(_said("nothing was run, see above; no page was written"))
    print(args.output.read_text(encoding="utf-8"))


def _write(path: Path, tried: Tried) -> None:
    """The page, where there is anything to say on it."""
    if not tried.found:
        return
    mains = [one for one in tried.found if isinstance(one, Main)]
    sweeps = [one for one in tried.found if isinstance(one, Sweep)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(mains, sweeps, tried.missing), encoding="utf-8")


def _said(line: str) -> int:
    print(f"reproduce_locft: {line}", file=sys.stderr)
    return FAILED


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = ",".join(model.name for model in paper.MODELS)
    parser.add_argument("--data", type=Path, required=True, help="directory of edit files")
    parser.add_argument("--models", default=names, help="aliases, alias=directory, or directories")
    parser.add_argument("--sets", default=",".join(paper.FILES), help="edit sets of the main table")
    parser.add_argument("--what", default=",".join(WHAT), help="main, sweep, or both")
    parser.add_argument("--edits", type=int, default=paper.MAIN_EDITS)
    parser.add_argument("--sweep-edits", type=int, default=paper.SWEEP_EDITS)
    parser.add_argument("--layers", default="", help="of the sweep, with commas between (all)")
    parser.add_argument("--parts", default=",".join(PAPER_PARTS), help="of the sweep")
    parser.add_argument("--lr", type=float, help="rate of Adam (the paper's of each model)")
    parser.add_argument("--lm-sample", type=int, help="items of each of lm-eval's tasks (all)")
    parser.add_argument("--no-capability", action="store_true", help="leave lm-eval out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32", help="the paper's code computes in float32")
    parser.add_argument("--keep", type=Path, default=Path("runs/reproduce_locft"))
    parser.add_argument("--output", type=Path, default=Path("reports/reproduce_locft.md"))
    return parser.parse_args()


def _checked(args: argparse.Namespace) -> list[Asked]:
    """The models asked for; a UsageError names what is unknown."""
    known = (("table", args.what, WHAT), ("edit set", args.sets, paper.FILES))
    for kind, given, names in (*known, ("part of the sweep", args.parts, PAPER_PARTS)):
        for name in given.split(","):
            if name not in names:
                raise unknown(kind, name, names)
    _layers(args)
    return [_asked(name) for name in args.models.split(",")]


def _layers(args: argparse.Namespace) -> list[int] | None:
    """The layers of the sweep, None for all; a UsageError where they are no numbers."""
    texts = [text.strip() for text in args.layers.split(",") if text.strip()]
    for text in texts:
        if not text.isdecimal():
            raise UsageError(f"--layers {args.layers}: '{text}' is no layer; write 0,8,16")
    return [int(text) for text in texts] or None


def _asked(text: str) -> Asked:
    name, _, source = text.partition("=")
    known = {model.name: model for model in paper.MODELS}
    if name in known:
        return Asked(known[name], source or name)
    if source:
        raise unknown("model of the paper", name, known)
    return Asked(paper.PaperModel(Path(name).name, name, "", 5e-4), name)


def _model(args: argparse.Namespace, one: Asked, progress: Progress) -> Tried:
    """All that is asked of one model, which is gone from memory afterwards."""
    try:
        loaded = open_model(_settings(args, one, paper.SWEEP_SET, None))
    except Exception as error:
        return Tried((), (f"{one.model.title}: {_reason(error)}",))
    one = replace(one, model=_placed(one.model, loaded))
    found: list[Main | Sweep] = []
    missing: list[str] = []
    for what, edits in _tables(args):
        try:
            job = _job(args, one, loaded, what, edits)
            folder = args.keep / f"{Path(one.model.name).name}-{edits}-{what}"
            outcomes = run(job, loaded, folder, progress)
        except Exception as error:
            missing.append(f"{one.model.title}, {what}, {edits}: {_reason(error)}")
            continue
        swept = Sweep(one.model, edits, outcomes)
        found.append(swept if what == "sweep" else Main(one.model, edits, outcomes[0]))
    return Tried(tuple(found), tuple(missing))


def _reason(error: Exception) -> str:
    """Why something was not run; an error that is nobody's fault but ours is raised again."""
    if isinstance(error, LocscopeError):
        return str(error)
    if ran_out_of_memory(error):
        return "memory ran out"
    raise error


def _placed(model: paper.PaperModel, loaded: Loaded) -> paper.PaperModel:
    """The model with a location: another than the paper's has it by relative depth."""
    if model.location:
        return model
    return replace(model, location=str(paper_location("llama", loaded.info.layers)))


def _tables(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Each table with an edit set."""
    wanted = args.what.split(",")
    rows = [("main", name) for name in args.sets.split(",") if "main" in wanted]
    return [*rows, *([("sweep", paper.SWEEP_SET)] if "sweep" in wanted else [])]


def _job(args: argparse.Namespace, one: Asked, loaded: Loaded, what: str, edits: str) -> Job:
    """A UsageError where a location is not in this model."""
    sweep = what == "sweep"
    locations = _grid(args, loaded) if sweep else (one.model.location,)
    for location in locations:
        slices(loaded.model, Location.parse(location))
    tasks = paper.SWEEP_TASKS if sweep else paper.MAIN_TASKS
    return Job(
        what=what,
        settings=_settings(args, one, edits, args.sweep_edits if sweep else args.edits),
        locations=locations,
        lr=args.lr or one.model.lr,
        tasks=() if args.no_capability else tasks,
        sample=args.lm_sample,
    )


def _settings(args: argparse.Namespace, one: Asked, edits: str, limit: int | None) -> EditSettings:
    wanted = {
        "model": one.source,
        "edits": str(args.data / paper.FILES[edits]),
        "limit": limit,
        "seed": args.seed,
        "conflicts": "last",
        "device": args.device,
        "dtype": args.dtype,
        "batch_size": paper.BATCH,
        "epochs": paper.EPOCHS,
    }
    return settings_of(EditSettings, wanted)


def _grid(args: argparse.Namespace, loaded: Loaded) -> tuple[str, ...]:
    """Every layer with each of the paper's five parts, as far as asked for."""
    layers, parts = _layers(args), args.parts.split(",")
    return tuple(
        str(Location.at(layer, part))
        for layer in (range(loaded.info.layers) if layers is None else layers)
        for part in parts
    )


if __name__ == "__main__":
    main()
