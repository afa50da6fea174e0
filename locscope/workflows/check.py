"""`check`: what was read, what can be trained, what it will take, before anything heavy.

What `edit` can use is in order here; what a search needs besides stands in a line of its own.
"""

from collections.abc import Sequence
from functools import partial

import torch

from locscope.edits import EditSet, read_edits, settled
from locscope.edits.checks import find_conflicts
from locscope.evaluation.limits import refuse_unreadable
from locscope.evaluation.measures import THOROUGH
from locscope.locations import Location
from locscope.models.load import DTYPES, Loaded, pick_device, plan
from locscope.models.parts import slices
from locscope.models.streaming.way import (
    block_bytes,
    free_bytes,
    in_words,
    is_streamed,
    lowest_held,
    room_for_blocks,
    tail_fits,
)
from locscope.records import Edit, ModelInfo, default_batch
from locscope.scoring.bounds import boundable
from locscope.scoring.objectives import refuse_unmeasurable
from locscope.selection.candidates import depth_rule
from locscope.settings import SearchSettings
from locscope.settings.base import warn_of_code
from locscope.workflows.dry_run.memory import from_shapes, weights_at
from locscope.workflows.early.edits import Parted, split_edits
from locscope.workflows.edit_files import (
    UNSETTLED,
    CheckResult,
    Line,
    about_conflicts,
    about_edits,
    search_line,
    tried,
)
from locscope.workflows.search.estimate import locations_tried, search_flops, tokens_of
from locscope.workflows.search.plan import check_parts

GIB = 1 << 30
GOOD_RATE = {"cpu": 3e10, "cuda": 1e14}
"""Operations a second that small batches reach, for a first guess of the time."""


def check(settings: SearchSettings, found: EditSet | None = None) -> CheckResult:
    """Reads edits, unless they were `found`, and the model's shape (not its weights), and estimates
    a search."""
    warn_of_code(settings.model, settings.trust_remote_code)
    planned = plan(
        settings.model,
        device=settings.device,
        dtype=settings.dtype,
        trust_remote_code=settings.trust_remote_code,
    )
    info = planned.info
    check_parts(settings, info)
    for location in settings.locations:
        # For its error where the model lacks a layer, part or head of it.
        slices(planned.model, Location.parse(location))
    if found is None:
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
        *_estimate(planned, found, settings),
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
    # Parted where it can be: what only one side has cannot be measured in a search.
    parted, lacking = tried(len(found.edits), partial(split_edits, settings, found))
    sides = _sides(parted) if parted else [found.edits]
    refuse_unmeasurable(settings.full_objective, _askable(sides))
    return lacking


def _sides(split: Parted) -> list[Sequence[Edit]]:
    edits, parts = split.edit_set.edits, split.parts
    return [[edits[i] for i in side] for side in (parts.select, parts.report)]


def _askable(sides: Sequence[Sequence[Edit]]) -> frozenset[str]:
    """Names of the measures that every side has something for, as far as the edits tell."""
    can = frozenset(boundable()) - THOROUGH
    for edits in sides:
        if not any(edit.rephrases for edit in edits):
            can -= {"generalization", "rephrase_probability"}
        if not any(edit.neighbours for edit in edits):
            can -= {"locality", "locality_span", "neighbour_kept"}
            can -= {"neighbour_accuracy", "format_leakage"}
    return can


def _about_model(info: ModelInfo, settings: SearchSettings) -> list[Line]:
    tried = [cell for cell in info.grid if cell.part in settings.parts]
    locations = locations_tried(info, settings)
    sizes = ", ".join(
        f"{cell.part} {cell.parameters:,}" for cell in tried if cell.layer == tried[0].layer
    )
    return [
        Line("model", f"{info.source}: {info.family}, {info.layers} layers, width {info.width}"),
        Line("weights", f"{info.parameters:,}, stored {info.stored}, computed in {info.dtype}"),
        Line("parts", ", ".join(info.parts)),
        Line("candidates", f"{len(locations)} locations; weights a layer: {sizes or 'none'}"),
    ]


def _estimate(planned: Loaded, found: EditSet, settings: SearchSettings) -> list[Line]:
    """Memory and time of a search, from shapes alone."""
    info, tokens = planned.info, tokens_of(found.edits)
    batch = settings.batch_size or default_batch(len(found.edits))
    located_at = locations_tried(info, settings)
    largest = max(weights_at(info, location) for location in located_at)
    device = pick_device(settings.device).type
    budget, on_cpu = settings.device_memory * GIB, device == "cpu"
    held = held_on_device(planned, settings)
    sizes = from_shapes(planned, tokens, largest, batch, budget, held, on_cpu=on_cpu)
    layers = {location.lowest for location in located_at}
    total = sum(sizes.values())
    shares = ", ".join(f"{name} {size / GIB:.2f}" for name, size in sizes.items())
    rate = GOOD_RATE.get(device, GOOD_RATE["cpu"])
    work = (
        f"about {flops:.1e} operations, {_time(flops / rate)} on {device}, with a {strategy}"
        for strategy, flops in search_flops(info, found, settings).items()
    )
    return [
        Line("runs", in_words(planned.model, DTYPES[info.dtype].itemsize, layers, held)),
        Line("memory", f"about {total / GIB:.2f} GiB: {shares}"),
        Line("work", f"{'; '.join(work)} (search --dry-run tells it better)"),
    ]


def held_on_device(planned: Loaded, settings: SearchSettings) -> int | None:
    """The layer from which on the tail would be held on the device; None where the model would not
    be streamed."""
    model, wanted, device = planned.model, settings.offload, pick_device(settings.device)
    dtype, stored = DTYPES[planned.info.dtype], getattr(torch, planned.info.stored)
    if not is_streamed(model, wanted, device, dtype, stored):
        return None
    room = room_for_blocks(model, free_bytes(device), dtype, settings.device_memory * GIB)
    return lowest_held(block_bytes(model, dtype.itemsize), partial(tail_fits, wanted, room))


def _time(seconds: float) -> str:
    for limit, unit in ((3600, "h"), (60, "min")):
        if seconds >= limit:
            return f"{seconds / limit:.1f} {unit}"
    return f"{seconds:.0f} s"
