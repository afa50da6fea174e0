"""Which way a model runs: whole in memory, or with its blocks streamed, by what the device has."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedModel

from locscope.errors import UsageError
from locscope.models.parts import blocks

Offload = Literal["auto", "never", "prefix", "all"]
"""When blocks are streamed: where the weights exceed what the device has free; never; those below
the tuned layer; all of them, those of the tail too, forward and backward."""
MEMORY, PREFIX, TAIL = "in memory", "streamed prefix", "streamed tail"
"""The ways in which a model runs."""
SHARE = 0.9
"""Of what a device has free, the most that weights may take: the rest is for all that is not
counted, as fragments between tensors."""


def is_streamed(
    model: PreTrainedModel,
    wanted: Offload,
    device: torch.device,
    dtype: torch.dtype,
    stored: torch.dtype,
) -> bool:
    """Whether a model runs with its blocks streamed; its tensors may be on `meta`.

    Raises UsageError where that is wanted of one whose layers are computed in several dtypes, and
    those in which they are stored do not tell which.
    """
    if wanted == "never" or (wanted == "auto" and not _exceeds(model, device, dtype, stored)):
        return False
    if dtype not in (torch.float32, stored) and _kept_wide(model, dtype):
        if wanted == "auto":
            return False
        raise UsageError(
            f"--offload {wanted}: some layers of {model.config.model_type} are always computed in "
            "float32, and cannot be told from others; take --dtype float32, or that of its files"
        )
    return True


def lowest_held(sizes: Sequence[int], fits: Callable[[int], bool]) -> int:
    """The lowest layer whose tail is held on the device; the number of layers where none is."""
    count = len(sizes)
    return next((layer for layer in range(count) if fits(sum(sizes[layer:]))), count)


def way(layer: int, held: int | None) -> str:
    """The way in which a model runs when this is the lowest tuned layer: `held` is from where on
    the tail is held, None for a model that is not streamed."""
    if held is None:
        return MEMORY
    return PREFIX if layer >= held else TAIL


def device_bytes(model: PreTrainedModel, itemsize: int, held: int | None) -> dict[str, int]:
    """Bytes of weights on the device, by what they are, at so many a weight."""
    sizes, others = block_bytes(model, itemsize), other_bytes(model, itemsize)
    if held is None:
        return {"weights": sum(sizes) + others}
    moving = 2 * max(sizes)
    return {"embeddings and head": others, "streamed blocks": moving, "tail": sum(sizes[held:])}


def in_words(
    model: PreTrainedModel, itemsize: int, layers: Collection[int], held: int | None
) -> str:
    """Which way a model runs for trials whose lowest layers are these, and what is read for it."""
    if held is None:
        return MEMORY
    sizes = block_bytes(model, itemsize)
    found: list[str] = []
    if whole := [layer for layer in layers if way(layer, held) == PREFIX]:
        read = sum(sizes[: max(whole)])
        found.append(
            f"{PREFIX} for locations from L{min(whole)} on: {_gib(read)} of blocks pass the device "
            "once for all texts"
        )
    if below := [layer for layer in layers if way(layer, held) == TAIL]:
        read = sum(sizes[min(below) :])
        found.append(
            f"{TAIL} for locations from L{min(below)} to L{max(below)}: up to {_gib(read)} of "
            "blocks pass the device in each forward and again in each backward pass"
        )
    return "; ".join(found)


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def tail_fits(wanted: Offload, room: float, size: int) -> bool:
    """Whether blocks of so many bytes are held on a device with that room for blocks."""
    return wanted == "prefix" or (wanted == "auto" and size <= room)


def room_for_blocks(
    model: PreTrainedModel, free: float, dtype: torch.dtype, activations: float
) -> float:
    """Bytes that held blocks may take on a device with so many bytes free: beside activations,
    embeddings, head and the two blocks of which one runs and one is on its way."""
    sizes = block_bytes(model, dtype.itemsize)
    return SHARE * free - activations - other_bytes(model, dtype.itemsize) - 2 * max(sizes)


def block_bytes(model: PreTrainedModel, itemsize: int) -> list[int]:
    """Bytes of every block's weights, at so many a weight."""
    return [itemsize * sum(p.numel() for p in block.parameters()) for block in blocks(model)]


def other_bytes(model: PreTrainedModel, itemsize: int) -> int:
    """Bytes of the weights beside the blocks: embeddings, the last norm, the head."""
    everything = itemsize * sum(parameter.numel() for parameter in model.parameters())
    return everything - sum(block_bytes(model, itemsize))


def free_bytes(device: torch.device) -> float:
    """Bytes that a device has free; infinity where nothing tells."""
    if device.type == "cuda":
        # What torch holds of the device and nothing lies in is free too.
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + held)
    told = Path("/proc/meminfo")
    if device.type != "cpu" or not told.is_file():
        return float("inf")
    lines = dict(line.split(":", 1) for line in told.read_text(encoding="ascii").splitlines())
    return float(lines.get("MemAvailable", "inf").removesuffix("kB")) * 1024


def _exceeds(
    model: PreTrainedModel, device: torch.device, dtype: torch.dtype, stored: torch.dtype
) -> bool:
    """Whether the weights are more than a device takes."""
    if device.type == "cpu" and dtype == stored:
        # They run from where the files are mapped, in pages that the system can take back.
        return False
    size = dtype.itemsize * sum(parameter.numel() for parameter in model.parameters())
    return size > SHARE * free_bytes(device)


def _kept_wide(model: PreTrainedModel, dtype: torch.dtype) -> bool:
    """Whether Hugging Face keeps some layers of the model in float32 beside those of this dtype."""
    strictly = bool(getattr(model, "_keep_in_fp32_modules_strict", None))
    kept = bool(getattr(model, "_keep_in_fp32_modules", None))
    return strictly or (kept and dtype == torch.float16)
