"""Does the race choose as well as a full sweep, and better than chance and the depth rule?

    python -m analyses.race --models demo,demo+3,demo+6,gpt2 --seeds 20
    python -m analyses.race --models demo --seeds 20 --against sweep

Every seed draws its own split. Each strategy chooses on S; its location and rate are tuned afresh
on parts of R and measured there. `demo+3` is the bundled model with three blind blocks on top, so
that its best layers are not in the top quarter; `gpt2` is one of our own, trained first for half an
hour (`race_parts/models.py`). Random gets as many operations as the race took. Finished trials lie
in --work, so that a run that was cut off goes on; rows are added to reports/race.json, from which
reports/race.md is written; a seed that has its rows there is not run again (--again does).
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from analyses.race_parts.contest import REVERSED, Entry, contest
from analyses.race_parts.models import made
from analyses.race_parts.report import page
from locscope.progress import Silent
from locscope.settings import SearchSettings

NAMES = {"reversed": REVERSED}
REPORTS = Path(__file__).parents[1] / "reports"
ROWS, PAGE = REPORTS / "race.json", REPORTS / "race.md"


def main() -> None:
    args = _arguments()
    entries = _read(ROWS)
    for name in args.models.split(","):
        model = made(name, args.work / "models")
        for seed in range(args.first, args.first + args.seeds):
            settings = SearchSettings(
                model=model,
                seed=seed,
                quarters=False,
                audit=0,
                repetitions=args.parts,
                thorough=False,
            )
            against = [other for other in args.against.split(",") if other]
            wanted = {(name, seed, NAMES.get(other, other)) for other in ("race", *against)}
            if wanted <= entries.keys() and not args.again:
                continue
            folder = args.work / name / str(seed)
            found = contest(settings, name, folder, against, Silent())
            entries |= {_key(entry): entry for entry in found}
            _write(entries)
            print(*(f"{e.strategy}: {e.location} {e.score_r:.3f}" for e in found), sep="; ")
    print(PAGE.read_text(encoding="utf-8"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="demo", help="demo, demo+N, gpt2, with commas between")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--against", default="reversed,random,depth-rule")
    parser.add_argument("--again", action="store_true", help="also seeds that have their rows")
    parser.add_argument("--parts", type=int, default=2, help="parts of R that choices are tuned on")
    parser.add_argument("--work", type=Path, default=Path("runs/race"))
    return parser.parse_args()


def _key(entry: Entry) -> tuple[str, int, str]:
    return entry.model, entry.seed, entry.strategy


def _read(path: Path) -> dict[tuple[str, int, str], Entry]:
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    found = [Entry(**{**row, "scores_r": tuple(row["scores_r"])}) for row in rows]
    return {_key(entry): entry for entry in found}


def _write(entries: dict[tuple[str, int, str], Entry]) -> None:
    # Read again: another process may have added rows of its own.
    merged = {**_read(ROWS), **entries}
    rows = [asdict(merged[key]) for key in sorted(merged)]
    ROWS.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")
    PAGE.write_text(page([merged[key] for key in sorted(merged)]), encoding="utf-8")


if __name__ == "__main__":
    main()
