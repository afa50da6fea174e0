"""Synthetic results of scans: of parts, heads, token roles and single prompts."""

import random
from dataclasses import replace
from math import exp, nan

import report_factory as factory

from locscope.records import Descriptor, ScanResult, ScanScore, TokenMap
from locscope.report.data.inputs import ReportInputs

ROLES = ("first subject", "middle subject", "last subject", "first after", "further", "last")
TOKENS = (
    "The",
    " capital",
    " of",
    " the",
    " Republic",
    " of",
    " Slo",
    "venia",
    " is",
    "\n",
    " the",
)
SUBJECT = (4, 5, 6, 7)
EDITS = tuple(f"e{n}" for n in range(40))


def descriptor(name: str, title: str, sign: int = 1) -> Descriptor:
    note = f"what {title.lower()} says of a location; bright: much"
    return Descriptor(name, title, note, f"a paper on {title}", f"locscope.scans.{name}:scan", sign)


def score(variant: str, layer: int, part: str, value: float, **more) -> ScanScore:
    bounds = {"low": value - 0.02, "high": value + 0.03, "count": 38}
    return ScanScore(variant, layer, part, value, **(bounds | more))


def result(name: str, title: str, scores, sign: int = 1, **more) -> ScanResult:
    given = {"settings": "same-length subject swap; logit difference", "edits": EDITS} | more
    return ScanResult(
        descriptor(name, title, sign), tuple(scores), len(EDITS), 38, 0, 12.3, **given
    )


def near(layer: int, centre: float, width: float = 2.5) -> float:
    return exp(-(((layer - centre) / width) ** 2))


def token_map(part: str, layers: int) -> TokenMap:
    centres = {"block": 2, "mlp": 4, "attn": 8}
    values = tuple(
        tuple(
            0.6 * near(layer, centres[part]) * (index == 7) + 0.5 * near(layer, 9) * (index == 10)
            + 0.01 * ((layer * 7 + index * 3) % 5)
            for index in range(len(TOKENS))
        )
        for layer in range(layers)
    )  # fmt: skip
    return TokenMap("e3", "indirect effect", part, TOKENS, SUBJECT, " Ljubljana", values)


def causal(layers: int = 10) -> ScanResult:
    """Locations, roles and one prompt, of states, MLPs and attention."""
    scores = []
    for part, centre in (("block", 2), ("mlp", 4), ("attn", 8)):
        for layer in range(layers):
            strength = 0.4 * near(layer, centre)
            scores.append(score("indirect effect", layer, part, strength))
            for i, role in enumerate(ROLES):
                there = strength * (0.9 if role == "last subject" else 0.1 * (i + 1) / 6)
                scores.append(score("indirect effect", layer, part, there, role=role))
    maps = tuple(token_map(part, layers) for part in ("block", "mlp", "attn"))
    notes = ("average total effect 0.412 (0.361 to 0.468): what corrupting takes, over 38 facts",
             "2 edits were left out: their subject is not in the prompt")  # fmt: skip
    return result("causal-tracing", "Causal tracing", scores, maps=maps, notes=notes)


def heads(
    name: str = "head-ablation", layers: int = 10, count: int = 8, variants=("zero", "mean")
) -> ScanResult:
    """Scores of heads with both signs, and of attention as their sum."""
    draw = random.Random(name)
    scores = []
    for variant in variants:
        for layer in range(layers):
            single = [draw.gauss(0, 0.03) + 0.2 * (draw.random() < 0.04) for _ in range(count)]
            scores.append(score(variant, layer, "attn", sum(single)))
            scores += [score(variant, layer, "attn", v, head=h) for h, v in enumerate(single)]
    return result(name, name.replace("-", " ").capitalize(), scores)


def parts(name: str, layers: int, named, variants=("",), signed=False, sign=1) -> ScanResult:
    """Scores of parts alone."""
    draw = random.Random(name)
    scores = [
        score(variant, layer, part, draw.random() * near(layer, 5, 5) - 0.3 * signed)
        for variant in variants
        for layer in range(layers)
        for part in named
    ]
    return result(name, name.replace("-", " ").capitalize(), scores, sign)


def nothing() -> ScanResult:
    """A scan that could use no request."""
    found = result("probe", "Probe", (), notes=("the model knows none of the old answers",))
    return replace(found, usable=0, settings="")


def unsure(layers: int) -> ScanResult:
    """A scan of which one place was not measured."""
    found = parts("logit-lens", layers, ("block",), signed=True)
    return replace(found, scores=(replace(found.scores[0], score=nan), *found.scores[1:]))


def all_scans(layers: int = 10, count: int = 8) -> tuple[ScanResult, ...]:
    """As many scans as there are, with several variants."""
    paper = factory.PAPER_PARTS
    return (
        causal(layers),
        heads("attribution-patching", layers, count, ("gradient", "integrated", "AtP*")),
        parts("weight-gradient", layers, paper, ("norm", "relative norm", "taylor", "fisher")),
        heads("head-ablation", layers, count, ("zero", "mean", "resample")),
        heads("head-gradient", layers, count, ("zero",)),
        parts("mlp-ablation", layers, ("mlp",), ("zero", "mean"), signed=True),
        parts("knowledge-neurons", layers, ("mlp",)),
        heads("ships", layers, count, ("shift",)),
        heads("sahara", layers, count, ("angle", "group")),
        heads("lofit-heads", layers, count, ("norm",)),
        parts("stealth-dimension", layers, ("mlp",)),
        nothing(),
        unsure(layers),
        heads("direct-logit-attribution", layers, count, ("logits",)),
        parts("dropout-kl", layers, paper, sign=-1),
        parts("step-forecast", layers, paper, ("score", "gain"), signed=True),
        parts("depth-rule", layers, paper),
        parts("random", layers, paper),
    )


def scan_run(**changes) -> ReportInputs:
    """A run of `locscope scan`."""
    command = "locscope scan --scans all --model demo"
    run = replace(factory.run(), verb="scan", edit_count=40, command=command)
    given = {
        "run": run,
        "recommendation": None,
        "scans": all_scans(),
        "trials": (),
        "scorecard": None,
    }
    return factory.inputs(**(given | changes))
