"""Does a search run through on the published edit sets? A smoke test: it says no more than that.

    python -m analyses.smoke --data DIR

DIR holds zsre_3k.json, counterfact_3k.json and wikibigedit_3k.json, as LocFT's repository has them.
The bundled model knows next to nothing of what they ask about, so an exit code of 3 (nothing kept
the bounds) is a result like another. Run folders lie in --work, where a search goes on; the page is
reports/smoke.md.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

from locscope.records import Recommendation, Scorecard
from locscope.runs.store import read_record

FILES = ("zsre_3k.json", "counterfact_3k.json", "wikibigedit_3k.json")
FINISHED = (0, 3)
WRITTEN = ("recommendation.yaml", "scorecard.json", "report.html", "trials.parquet")


@dataclass(frozen=True)
class Ran:
    """A search of one file: its exit code, wall seconds, and what it left behind."""

    file: str
    code: int
    seconds: float
    missing: tuple[str, ...]
    found: Recommendation | None
    card: Scorecard | None

    @property
    def through(self) -> bool:
        """Whether it ended as a search does, and wrote all that it shall."""
        return self.code in FINISHED and not self.missing


def main() -> None:
    """Searches with every file and writes the page; exit code 1 where one did not run through."""
    args = _parse()
    ran = [_search(args, args.data / name) for name in FILES]
    text = page(ran, args)
    args.output.write_text(text, encoding="utf-8")
    print(text)
    sys.exit(0 if all(one.through for one in ran) else 1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--arguments", default="", help="more arguments of the search")
    parser.add_argument("--work", type=Path, default=Path("runs/smoke"))
    parser.add_argument("--output", type=Path, default=Path("reports/smoke.md"))
    return parser.parse_args()


def _search(args: argparse.Namespace, file: Path) -> Ran:
    folder = args.work / file.stem
    words = ["search", "--model", args.model, "--edits", str(file), "--limit", str(args.limit)]
    words += ["--conflicts", "last", "--output", str(folder), *args.arguments.split()]
    began = time.perf_counter()
    code = subprocess.run([sys.executable, "-m", "locscope", *words], check=False).returncode
    return Ran(
        file=file.name,
        code=code,
        seconds=time.perf_counter() - began,
        missing=tuple(name for name in WRITTEN if not (folder / name).exists()),
        found=read_record(folder, "recommendation", "final", Recommendation),
        card=read_record(folder, "scorecard", "final", Scorecard),
    )


def page(ran: Sequence[Ran], args: argparse.Namespace) -> str:
    """What ran through, and what it said."""
    more = f" --arguments '{args.arguments}'" if args.arguments else ""
    return "\n".join(
        [
            "# Searches of the published edit sets (a smoke test)",
            "",
            f"`python -m analyses.smoke --data DIR --model {args.model} --limit {args.limit}"
            f"{more}`: {args.limit} edits of each file. The model knows next to nothing of what "
            "they ask about: the table says that the files run through, no more.",
            "",
            "| file | ran through | exit code | scans judged | s, last start | what it said |",
            "|---|---|---|---|---|---|",
            *map(_row, ran),
            "",
        ]
    )


def _row(one: Ran) -> str:
    through = "yes" if one.through else f"no: without {', '.join(one.missing) or 'a clean end'}"
    rows = one.card.verdicts if one.card else ()
    judged = len({row.scan for row in rows if not isnan(row.within)})
    said = one.found.sentence if one.found else "nothing"
    return f"| {one.file} | {through} | {one.code} | {judged} | {one.seconds:.0f} | {said} |"


if __name__ == "__main__":
    main()
