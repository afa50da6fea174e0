"""`check`: what was read, what can be trained, what it will take, before anything heavy.

What `edit` can use is in order here; what a search needs besides stands in a line of its own.
"""

from collections.abc import Sequence

from locscope.edits import EditSet, read_edits, settled
from locscope.edits.checks import find_conflicts
from locscope.edits.enough import why_too_few
from locscope.errors import UsageError
from locscope.evaluation.limits import refuse_unreadable
from locscope.evaluation.measures import THOROUGH
from locscope.locations import Location
from locscope.models.load import pick_device, plan
from locscope.models.names import require
from locscope.records import Edit, ModelInfo, default_batch
from locscope.scoring.bounds import BOUNDABLE
from locscope.scoring.objectives import refuse_unmeasurable
from locscope.selection.candidates import depth_rule, located
from locscope.settings import SearchSettings
from locscope.settings.base import warn_of_code
from locscope.tuning.trial_cost import forward_flops, step_flops
from locscope.workflows.early.edits import Parted, split_edits
from locscope.workflows.early.precheck import check_parts
from locscope.workflows.edit_files import (
    UNSETTLED,
    CheckResult,
    Line,
    about_conflicts,
    about_edits,
    search_line,
)

GIB = 1 << 30
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
TOKENS_PER_CHARACTER = 0.3
"""A rough figure for English text and common tokenizers; used before any tokenizer is loaded."""
RATES, CONTENDERS = 3, 4
"""Learning rates of a location, and what is measured on T: with runner-up and two rules."""
GOOD_RATE = {"cpu": 3e10, "cuda": 1e14}
"""Operations a second that small batches reach, for a first guess of the time."""


def check(settings: SearchSettings) -> CheckResult:
    """Reads edits and the model's shape (not its weights) and estimates a search."""
    warn_of_code(settings.model, settings.trust_remote_code)
    planned = plan(
        settings.model,
        device=settings.device,
        dtype=settings.dtype,
        trust_remote_code=settings.trust_remote_code,
    )
    info = planned.info
    check_parts(settings, info.family, info.parts)
    for site in (
        site for location in settings.locations for site in Location.parse(location).sites
    ):
        require(site, info.family, info.layers, info.parts, info.heads)
    found = read_edits(settings.edits, limit=settings.limit, seed=settings.seed)
    refuse_unreadable(planned.model, planned.tokenizer, found.edits, settings.prompt_format)
    conflicts = len(find_conflicts(found.edits))
    blocked = bool(conflicts) and settings.conflicts is None
    if not blocked:
        found = settled(found, settings.conflicts)
    lacking = f"a search {UNSETTLED}" if blocked else _lacking(found, settings)
    lines = (
        *_about_model(info, settings),
        *about_edits(found),
        *about_conflicts(conflicts, settings),
        _edit_line(info, blocked),
        search_line(lacking, len(found.edits), settings.share),
        *_estimate(info, found.edits, settings),
    )
    return CheckResult(not blocked, not lacking, lines)


def _edit_line(info: ModelInfo, blocked: bool) -> Line:
    location = depth_rule(info)
    able = f"can tune all of them at a location of your choice, as edit --location {location}"
    return Line("edit", f"edit {UNSETTLED}" if blocked else able)


def _lacking(found: EditSet, settings: SearchSettings) -> str:
    """What a search needs that these edits do not have; empty where it would start.

    A UsageError where a bound, or all that the objective goes by, cannot be measured with them.
    """
    lacking = why_too_few(len(found.edits))
    try:
        sides = _sides(split_edits(settings, found))
    except UsageError as error:
        sides = [found.edits]
        lacking = lacking or f"a search needs edits that it can split: {error}"
    refuse_unmeasurable(settings.full_objective, _askable(sides))
    return lacking


def _sides(split: Parted) -> list[Sequence[Edit]]:
    edits, parts = split.edit_set.edits, split.parts
    return [[edits[i] for i in side] for side in (parts.select, parts.report)]


def _askable(sides: Sequence[Sequence[Edit]]) -> frozenset[str]:
    """Names of the measures that every side has something for, as far as the edits tell."""
    can = frozenset(BOUNDABLE) - THOROUGH
    for edits in sides:
        if not any(edit.rephrases for edit in edits):
            can -= {"generalization", "rephrase_probability"}
        if not any(edit.neighbours for edit in edits):
            can -= {"locality", "locality_span", "neighbour_kept"}
            can -= {"neighbour_accuracy", "format_leakage"}
    return can


def _about_model(info: ModelInfo, settings: SearchSettings) -> list[Line]:
    tried = [one for one in info.grid if one.part in settings.parts]
    locations = located(info, settings.grid, (*settings.locations, depth_rule(info)))
    sizes = ", ".join(
        f"{one.part} {one.parameters:,}" for one in tried if one.layer == tried[0].layer
    )
    return [
        Line("model", f"{info.source}: {info.family}, {info.layers} layers, width {info.width}"),
        Line("weights", f"{info.parameters:,}, stored {info.stored}, computed in {info.dtype}"),
        Line("parts", ", ".join(info.parts)),
        Line("candidates", f"{len(locations)} locations; weights a layer: {sizes or 'none'}"),
    ]


def _estimate(info: ModelInfo, edits: Sequence[Edit], settings: SearchSettings) -> list[Line]:
    """Memory and time of a search, from shapes alone."""
    tokens = _tokens(edits)
    width = info.width * BYTES[info.dtype]
    block = max(one.parameters for one in info.grid)
    weights = info.parameters * BYTES[info.dtype]
    tuned = block * (4 * 4 + BYTES[info.dtype])
    batch = settings.batch_size or default_batch(len(edits))
    logits = 4 * info.vocabulary * 8 * batch
    total = weights + tuned + tokens * width + logits
    flops = _search_flops(info, edits, settings, tokens)
    location = pick_device(settings.device).type
    rate = GOOD_RATE.get(location, GOOD_RATE["cpu"])
    return [
        Line(
            "memory",
            f"about {total / GIB:.2f} GiB: weights {weights / GIB:.2f}, tuned block "
            f"with optimiser {tuned / GIB:.2f}, prefix cache {tokens * width / GIB:.2f}",
        ),
        Line(
            "work",
            f"about {flops:.1e} operations to sweep them, {_time(flops / rate)} on {location}; a "
            "race takes a small part of it (search --dry-run tells)",
        ),
    ]


def _tokens(edits: Sequence[Edit]) -> int:
    texts = [
        text
        for edit in edits
        for text in (
            edit.prompt + edit.target,
            *(rephrase + edit.target for rephrase in edit.rephrases),
            *(n.prompt for n in (*edit.neighbours, *edit.forms, *edit.multihop)),
        )
    ]
    return int(sum(map(len, texts)) * TOKENS_PER_CHARACTER) + 2 * len(texts)


def _search_flops(
    info: ModelInfo, edits: Sequence[Edit], settings: SearchSettings, tokens: int
) -> float:
    """A full run of epochs for every trial of a sweep: too much where tuning stops before."""
    half = settings.share
    own = int(sum(len(e.prompt + e.target) for e in edits) * TOKENS_PER_CHARACTER * half)
    scored = len(edits) * 4 * half
    middle = info.layers // 2
    trial = settings.epochs * step_flops(info, own, int(scored), middle)
    trial += forward_flops(info, int(tokens * half), int(tokens * half), middle)
    count = RATES * len(located(info, settings.grid, (*settings.locations, depth_rule(info))))
    return trial * (count + CONTENDERS * settings.repetitions)


def _time(seconds: float) -> str:
    for limit, unit in ((3600, "h"), (60, "min")):
        if seconds >= limit:
            return f"{seconds / limit:.1f} {unit}"
    return f"{seconds:.0f} s"
