"""Synthetic records of a search on a 10-layer model with the paper's five parts."""

import random
from math import exp, nan

from locscope.locations import PAPER_PARTS, Location
from locscope.records import (
    Contender,
    Deployment,
    Descriptor,
    Edit,
    EditOutcome,
    Epoch,
    FitPoint,
    LayerPart,
    Margin,
    Measure,
    ModelInfo,
    Recipe,
    Recommendation,
    RunInfo,
    ScanResult,
    ScanScore,
    ScanVerdict,
    Scorecard,
    StageCost,
    Trial,
    TrialRecord,
)
from locscope.report.data.inputs import ReportInputs

LAYERS = 10
BROKEN = "perplexity_ratio 1.2 is above 1.05"
COMMAND = "locscope search --model demo --edits demo --seed 0"
PROTOCOLS = {
    "reliability": "normalised match of the greedy answer, raw prompt",
    "reliability_strict": "arg-max at every target position and then a stop token",
    "generalization": "normalised match, rephrased prompts, raw",
    "locality": "answer span equal to the untouched model's own, at most 10 tokens",
    "perplexity_ratio": "pooled, tuned over untouched, 200 neutral texts",
    "kl": "KL(untouched || tuned), nats per token, 200 neutral texts",
    "retention": "ability set, relative to untouched, corrected for chance",
}
BEFORE = {"reliability": 0.0, "generalization": 0.0, "locality": 1.0, "perplexity_ratio": 1.0}


def model(layers: int = LAYERS) -> ModelInfo:
    grid = tuple(
        LayerPart(Location.at(layer, part), layer, part, 50_000)
        for layer in range(layers)
        for part in PAPER_PARTS
    )
    digest = "c0ffee123456"
    return ModelInfo(
        "demo", "demo", "llama", layers, 128, 8, 4, 2048, 2_100_000, "float32", "float32", "cpu",
        digest, grid,
    )  # fmt: skip


def run(status: str = "done", layers: int = LAYERS, seed: int = 0) -> RunInfo:
    settings = {"model": "demo", "edits": "demo", "strategy": "grid", "objective": "balanced"}
    versions = {"locscope": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"}
    stages = (
        StageCost("scan gradient", 1.9, 1, 0),
        StageCost("sweep", 131.2, 50, 0),
        StageCost("finalists", 42.0, 9, 3),
        StageCost("reporting on T", 71.5, 20, 0),
    )
    notes = ("2 edits were left out: their target is empty after tokenisation.",)
    return RunInfo(
        1, "search", status, settings, "5e771465", seed, versions, model(layers), "demo",
        "ed175e75", 240, notes, stages, COMMAND, "2026-01-02T03:04:05+00:00",
    )  # fmt: skip


def measures(reliability, generalization, locality, ratio, kl, retention) -> tuple[Measure, ...]:
    values = {
        "reliability": reliability,
        "reliability_strict": reliability - 0.02,
        "generalization": generalization,
        "locality": locality,
        "perplexity_ratio": ratio,
        "kl": kl,
        "retention": retention,
    }
    return tuple(
        Measure(name, v, 120, PROTOCOLS[name], v - 0.03, v + 0.03, BEFORE.get(name, nan))
        for name, v in values.items()
    )


def trial(
    location="L6.mlp.down",
    lr=1e-3,
    score=0.9,
    split="S",
    rung="sweep",
    seed=0,
    status="done",
    ratio=1.02,
    edits=("e0", "e1", "e2"),
    violated=(),
    outcomes=(),
    **values,
) -> TrialRecord:
    given = {"reliability": score, "generalization": score, "locality": score} | values
    found = measures(ratio=ratio, kl=(ratio - 1) / 2, retention=0.98, **given)
    if status != "done":
        found, score = (), nan
    epochs = tuple(Epoch(4 * exp(-n / 3), 4, n // 6) for n in range(12))
    at = Location.parse(location)
    return TrialRecord(
        Trial(at, Recipe(lr, 30), edits, split, rung, seed, "c0ffee", "ed175e"),
        status, score, "balanced", found, outcomes, epochs, (f"{location}.weight",), 50_000,
        1.3, 0, 2.4, 1e11, violated,
    )  # fmt: skip


def sweep_trials(layers: int = LAYERS) -> tuple[TrialRecord, ...]:
    draw = random.Random(0)
    ease = {"block": 0.95, "attn": 0.7, "mlp": 0.93, "mlp.up": 0.85, "mlp.down": 1.0}
    harm = {"block": 1.6, "attn": 0.25, "mlp": 0.4, "mlp.up": 0.12, "mlp.down": 0.05}
    records = []
    for layer in range(layers):
        for part in PAPER_PARTS:
            near = exp(-(((layer - 6) / 4) ** 2))
            score = min(0.99, ease[part] * (0.35 + 0.6 * near) + draw.uniform(-0.04, 0.04))
            ratio = 1 + harm[part] * (1.2 - near) * draw.uniform(0.5, 1.5)
            if (layer, part) == (0, "block"):
                ratio = 4.1e5
            if (layer, part) in {(1, "attn"), (9, "mlp.up")}:
                continue
            bad = (layer, part) == (3, "mlp")
            records.append(
                trial(
                    f"L{layer}.{part}",
                    4e-4 * (1 + layer / 10),
                    score,
                    status="loss not finite at epoch 2" if bad else "done",
                    ratio=ratio,
                    violated=(BROKEN,) if ratio > 1.05 else (),
                    reliability=min(1, score + 0.06),
                    generalization=score - 0.03,
                )
            )
    return tuple(records)


FINALISTS = ("L6.mlp.down", "L7.mlp.down", "L6.mlp")


def finalist_trials() -> tuple[TrialRecord, ...]:
    return tuple(
        trial(location, lr, 0.93 - 0.02 * index - abs(step) * 0.08, rung="rates", edits=EDITS,
              ratio=1.02 + 0.03 * (step + 1), violated=(BROKEN,) if step > 0 else ())
        for index, location in enumerate(FINALISTS)
        for step, lr in ((-1, 2e-4), (0, 6e-4), (1, 1.8e-3))
    )  # fmt: skip


EDITS = tuple(f"e{n}" for n in range(24))


def edits() -> tuple[Edit, ...]:
    return tuple(Edit(e, f"The capital of country {e} is", "Ljubljana") for e in EDITS)


def outcome(edit: str, fails: bool, breaks: bool) -> EditOutcome:
    return EditOutcome(
        edit,
        0.0 if fails else 1.0,
        0.0 if fails else 1.0,
        0.5 if fails else 1.0,
        0.5 if breaks else 1.0,
        "Paris" if fails else "",
        ("The capital of Germany is",) if breaks else (),
    )


def report_trials() -> tuple[TrialRecord, ...]:
    return tuple(
        trial(
            "L6.mlp.down",
            6e-4,
            0.9 + 0.01 * seed,
            split="T",
            rung="report",
            seed=seed,
            edits=EDITS,
            outcomes=tuple(
                outcome(e, n in (3, 4 + seed), n in (3, 7)) for n, e in enumerate(EDITS)
            ),
        )
        for seed in range(5)
    )


def _at(text: str) -> Location | str:
    return text if " " in text else Location.parse(text)


def contender(role, location, score, spread=0.03, **more) -> Contender:
    """As measured on T, 24 edits at a time; its score on S is 0.01 above that."""
    more = {"edits": len(EDITS)} | more
    singles = tuple(score + spread * (n - 2) / 3 for n in range(5))
    return Contender(
        role, _at(location), Recipe(6e-4, 30), (f"model.{location}.weight",), 49_152, score + 0.01,
        score, score - spread, score + spread, singles,
        measures(score + 0.05, score - 0.04, score, 1.02, 0.011, 0.98), **more,
    )  # fmt: skip


def deployment(score=0.88, **more) -> Deployment:
    """The recommended location on all 240 edits, at a batch that was halved."""
    fits = tuple(
        FitPoint(
            Location.parse("L6.mlp.down"), lr, batch, fit, ratio, (BROKEN,) if ratio > 1.05 else ()
        )
        for lr, batch, fit, ratio in (
            (6e-4, 60, 0.84, 1.01),
            (1.8e-3, 60, 0.9, 1.2),
            (6e-4, 30, 0.87, 1.02),
        )
    )
    given = {
        "location": Location.parse("L6.mlp.down"),
        "recipe": Recipe(6e-4, 30),
        "parameters": ("model.L6.mlp.down.weight",),
        "parameter_count": 49_152,
        "edits": 240,
        "given": 240,
        "score": score,
        "low": score - 0.02,
        "high": score + 0.02,
        "measures": measures(score + 0.05, score - 0.04, score, 1.03, 0.011, 0.98),
        "violated": (),
        "trial": "7ea1",
        "fits": fits,
    } | more
    return Deployment(**given)


def recommendation(tie=False, met=True, missed=(), **more) -> Recommendation:
    given = {
        "sentence": "Tune L6.mlp.down at learning rate 0.0006: on all 240 edits reliability "
        "93.0%. Held out: score 0.920 on 24 edits at a time.",
        "contenders": (
            contender("recommended", "L6.mlp.down", 0.92, score_v=0.91),
            contender("runner-up", "L7.mlp.down", 0.90, score_v=0.9),
            contender("depth-rule", "L5.mlp.down", 0.81, violated=(BROKEN,)),
            contender("random", "L2.attn", 0.42, spread=0.09),
        ),
        "deployment": deployment(),
        "reason": "best of the finalists on S and V (0.915 over 3 trials)",
        "notes": ("score 0.880 on 240 edits and 0.920 held out, on 24 at a time",),
        "margins": (
            Margin("runner-up", Location.parse("L7.mlp.down"), 0.02, 0.004, 0.05),
            Margin("depth-rule", Location.parse("L5.mlp.down"), 0.11, 0.07, 0.15),
            Margin("random", Location.parse("L2.attn"), 0.5, 0.42, 0.58),
        ),
    } | more
    return Recommendation(
        score_name="harmonic(reliability, generalization, locality)", objective="balanced",
        tie=tie, met=met, missed=missed, model="demo", model_hash="c0ffee123456",
        edits="demo", edits_hash="ed175e75", seed=0, version="0.1.0", **given,
    )  # fmt: skip


def scan(layers: int = LAYERS) -> ScanResult:
    descriptor = Descriptor(
        "gradient",
        "Weight gradient",
        "How much the edits' loss pulls at the weights; high means the edits want to change them.",
        "one backward pass",
        "locscope.scans.gradient:scan",
    )
    draw = random.Random(1)
    scores = [
        ScanScore(variant, layer, part, sign * draw.uniform(0.2, 1) * (layer + shift) * 1e-2)
        for variant, sign, shift in (("norm", 1, 1), ("signed", 1, -4))
        for layer in range(layers)
        for part in PAPER_PARTS
    ]
    scores[7] = ScanScore("norm", 1, "mlp", nan)
    return ScanResult(descriptor, tuple(scores), 240, 238, 0, 1.9)


def verdict(scan: str, variant: str, said: str, within: float, **more) -> ScanVerdict:
    given = {
        "sentence": f"{said}: {within} within a part",
        "count": 47,
        "within": within,
        "within_low": within - 0.1,
        "within_high": within + 0.1,
        "added": within / 4,
        "added_low": within / 4 - 0.05,
        "added_high": within / 4 + 0.05,
        "p_within": 0.01,
        "p_added": 0.02,
        "regret_1": 0.06,
    }
    return ScanVerdict(scan, variant, said, **(given | more))


def scorecard() -> Scorecard:
    return Scorecard(
        "harmonic mean of reliability, at a first look at every candidate",
        (
            verdict(
                "depth", "later is better", "predicts, but no more than depth", 0.44, added=nan
            ),
            verdict("gradient", "signed", "cannot tell", 0.05),
            verdict("gradient", "norm", "predicts here", 0.41, resampled=True),
            verdict("random", "any order", "does not", nan),
        ),
        locations=47,
        edits=30,
        groups=24,
        violated=2,
        outcome_reliability=0.91,
        looks_full=0.8,
        looks_full_low=0.6,
        looks_full_high=0.9,
        full_count=12,
        notes=("2 of 47 locations broke a bound: last, worth 0",),
    )


def inputs(**changes) -> ReportInputs:
    """A whole search that went well; `changes` replace fields."""
    fields = {
        "run": run(),
        "recommendation": recommendation(),
        "scans": (scan(),),
        "trials": sweep_trials() + finalist_trials() + report_trials(),
        "scorecard": scorecard(),
        "edits": edits(),
    }
    return ReportInputs(**(fields | changes))
