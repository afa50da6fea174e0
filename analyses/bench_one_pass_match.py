"""Strict exact match in one pass against Hugging Face's `generate`, on edited models.

    python -m analyses.bench_one_pass_match --output reports/one_pass_match.md

All edits of the bundled model, several edited models (locations x rates), float32 and bfloat16. A
row is decided in one pass, or found too close and sent to decoding; `generate` is the judge of
both.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from locscope.evaluation.questions import Question, ask
from locscope.forward.decoding import TextGenerator
from locscope.locations import Location
from locscope.models.parts import slices
from locscope.progress import Silent
from locscope.records import Recipe
from locscope.settings import SearchSettings
from locscope.tuning.breadth_first import tune
from locscope.tuning.master_weights import temporarily_trainable
from locscope.tuning.trial import stored_dtype
from locscope.workflows.early.edits import load_edits
from locscope.workflows.workspace import (
    Workspace,
    open_model,
    open_workspace,
    text_generator_of,
)

CASES = (("L3.mlp", 1e-3), ("L6.mlp.down", 3e-3), ("L8.mlp", 1e-3), ("L9.block", 1e-3))
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Row:
    """What became of the edits of one model in one dtype."""

    dtype: str
    location: str
    edits: int
    exact: int
    decoded: int
    differ_decided: int
    differ_decoded: int


def main() -> None:
    """Runs all cases and writes the table."""
    args = _parse()
    rows = [row for dtype in DTYPES for row in _rows(dtype, args.limit)]
    text = _table(rows)
    args.output.write_text(text, encoding="utf-8")
    print(text)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=int, default=None, help="edits (all)")
    parser.add_argument("--output", type=Path, default=Path("reports/one_pass_match.md"))
    return parser.parse_args()


def _rows(dtype: str, limit: int | None) -> list[Row]:
    settings = SearchSettings(dtype=dtype, limit=limit)
    edits = load_edits(settings)
    workspace = open_workspace(settings, open_model(settings), edits, Silent())
    return [_case(workspace, dtype, *case) for case in CASES]


def _case(workspace: Workspace, dtype: str, name: str, lr: float) -> Row:
    model, location = workspace.loaded.model, Location.parse(name)
    questions = [one.target for one in workspace.suite.edits]
    rows = tuple(row for one in workspace.suite.edits for row in one.training)
    workspace.prefix_cache.enter(location.lowest)
    with temporarily_trainable(
        model, slices(model, location), stored_dtype(workspace.loaded)
    ) as masters:
        tune(workspace.prefix_cache, masters, rows, Recipe(lr=lr, batch=32, epochs=15), seed=0)
        text_generator = text_generator_of(workspace.loaded)
        answers = ask(text_generator, workspace.prefix_cache, questions)
        truth = [_generated(text_generator, question) for question in questions]
    pairs = list(zip(answers, truth, strict=True))
    return Row(
        dtype=dtype,
        location=name,
        edits=len(pairs),
        exact=sum(truth),
        decoded=sum(answer.decoded for answer, _ in pairs),
        differ_decided=sum(a.strict != t for a, t in pairs if not a.decoded),
        differ_decoded=sum(a.strict != t for a, t in pairs if a.decoded),
    )


@torch.no_grad()
def _generated(text_generator: TextGenerator, question: Question) -> bool:
    """Whether `generate` gives exactly the target's tokens and then a stop token."""
    ids = torch.tensor([question.prompt])
    out = text_generator.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=len(question.ids) + 1,
        eos_token_id=list(text_generator.stops),
        pad_token_id=text_generator.stops[0],
    )[0, ids.shape[1] :].tolist()
    return tuple(out[:-1]) == question.ids and out[-1] in text_generator.stops


def _table(rows: Sequence[Row]) -> str:
    lines = [
        "# Strict exact match in one pass against `generate`",
        "",
        "`python -m analyses.bench_one_pass_match`",
        "",
        "| dtype | tuned | edits | exact | sent to decoding | differ, decided in one pass | "
        "differ, decoded |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.dtype} | {r.location} | {r.edits} | {r.exact} | {r.decoded} | {r.differ_decided} | "
        f"{r.differ_decoded} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
