"""Does the race choose as well as a full sweep, and better than chance and the depth rule?

    python -m analyses.race --models demo,gpt2,neox --seeds 20
    python -m analyses.race --models demo --seeds 20 --against sweep

Every seed draws its own split. Each strategy chooses on S; its location and rate are tuned afresh
on parts of T and measured there. `gpt2` and `neox` are models of our own, trained first for half an
hour; `demo+3` is the bundled one with three blind blocks on top (`race_parts/models.py`). Random
gets as many operations as the race took. `--ranges` adds quarters of the layers and pairs of them
to the candidates, as a search does by itself; `--bound-margin 0` chooses up to the bounds. Finished
trials lie in --work, so that a run that was cut off goes on; rows are added to reports/race.json,
from which reports/race.md is written; a seed that has its rows there is not run again (--again
does).
"""

import argparse
import fcntl
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import locscope
from analyses.race_parts.contest import REVERSED, Entry, contest
from analyses.race_parts.models import made
from analyses.race_parts.report import page
from locscope.runs.files import write_atomic
from locscope.settings import SearchSettings

DEFAULT_MARGIN = SearchSettings().bound_margin
NAMES = {"reversed": REVERSED}
REPORTS = Path(__file__).parents[1] / "reports"
ROWS, PAGE = REPORTS / "race.json", REPORTS / "race.md"


def main() -> None:
    args = _arguments()
    there = _read(ROWS).keys()
    for name in args.models.split(","):
        model, title = made(name, args.work / "models"), _title(name, args)
        for seed in range(args.first, args.first + args.seeds):
            against = [other for other in args.against.split(",") if other]
            wanted = {(title, seed, NAMES.get(other, other)) for other in ("race", *against)}
            if wanted <= there and not args.again:
                continue
            folder = args.work / title.replace(" ", "-") / str(seed)
            with locscope.open_experiment(
                model,
                output=folder,
                seed=seed,
                quarters=args.ranges,
                audit=0,
                repetitions=args.parts,
                thorough=False,
                bound_margin=args.bound_margin,
            ) as lab:
                found = contest(lab, title, against)
            _add(found)
            print(*(f"{e.strategy}: {e.location} {e.score_r:.3f}" for e in found), sep="; ")
    print(PAGE.read_text(encoding="utf-8"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--models",
        default="demo",
        help="demo, demo+N, gpt2, neox, directories",
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--against", default="reversed,random,depth-rule")
    parser.add_argument("--again", action="store_true", help="also seeds that have their rows")
    parser.add_argument("--ranges", action="store_true", help="ranges of layers are candidates too")
    parser.add_argument(
        "--bound-margin", type=float, default=DEFAULT_MARGIN, help="left free below bounds on S"
    )
    parser.add_argument("--parts", type=int, default=2, help="parts of T that choices are tuned on")
    parser.add_argument("--work", type=Path, default=Path("runs/race"))
    return parser.parse_args()


def _title(name: str, args: argparse.Namespace) -> str:
    ranges = " with ranges" if args.ranges else ""
    # As the rows of race.json have it, which are gone on with.
    margin = "" if args.bound_margin == DEFAULT_MARGIN else f" with room {args.bound_margin:g}"
    return f"{Path(name).name}{ranges}{margin}"


def _key(entry: Entry) -> tuple[str, int, str]:
    return entry.model, entry.seed, entry.strategy


def _read(path: Path) -> dict[tuple[str, int, str], Entry]:
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    lists = ("scores_r", "kept")
    found = [Entry(**{**row, **{name: tuple(row[name]) for name in lists}}) for row in rows]
    return {_key(entry): entry for entry in found}


def _add(found: Sequence[Entry]) -> None:
    """Adds rows to those on disk, where other processes may be adding theirs."""
    with (REPORTS / ".race.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        merged = _read(ROWS) | {_key(entry): entry for entry in found}
        entries = [merged[key] for key in sorted(merged)]
        rows = ",\n".join(json.dumps(asdict(entry)) for entry in entries)
        write_atomic(ROWS, f"[\n{rows}\n]\n")
        write_atomic(PAGE, page(entries))


if __name__ == "__main__":
    main()
