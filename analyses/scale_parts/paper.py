"""Tables on paper: seconds, bytes and devices of large shapes, from what one H100 step took."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from analyses.scale_parts.cost import (
    Batch,
    Shape,
    graph_bytes,
    prefix_flops,
    step_flops,
    stream_bytes,
    tuned_bytes,
)

SHAPES = (
    Shape("8B", 32, 4096, 14_336, 32, 8, 128_256),
    Shape("72B", 80, 8192, 29_568, 64, 8, 152_064),
    Shape("405B", 126, 16_384, 53_248, 128, 8, 128_256),
)
"""Llama 3 8B, Qwen2.5 72B, Llama 3.1 405B."""


class Device(NamedTuple):
    """Published figures of one device: dense bfloat16 operations a second, bytes, bytes a second
    of its link to the host."""

    name: str
    peak: float
    memory: float
    link: float


H100 = Device("H100 80GB SXM", 989.4e12, 80e9, 64e9)
DEVICES = (H100, Device("H200 141GB SXM", 989.4e12, 141e9, 64e9))
"""NVIDIA's data sheets: H100 and H200 SXM, PCIe 5.0 x16 in one direction."""
STEP_SECONDS, STEP_BATCH, STEP_LAYER = 0.0668, Batch(2400, 400), 22
WHOLE_SECONDS, FILL_SECONDS, WHOLE_EDITS = 17.6, 0.8, 1000
"""Measured on an H100: a step of the 8B shape at L22.mlp.down on 100 rows, a whole edit of so many
rows in 25 epochs, and the filling of the prefix cache within it."""
ROW, ROW_SCORED, BATCH, EPOCHS, ASKED = 24, 4, 100, 25, 4
"""Tokens of an edit's row, of them scored; rows of a batch; epochs; rows of an edit's questions."""
TRIALS = 190
"""Of a search of the bundled model (`reports/LOG.md`); of a larger one, more layers are tried."""
DISK = 5e9
"""Bytes a second that a fast disk is taken to read: an assumption."""
GB, BF16 = 1e9, 2
DEPTHS = (0.25, 0.5, 0.75)


def rate() -> float:
    """Operations a second of an 8B step on an H100, as measured."""
    return step_flops(SHAPES[0], STEP_BATCH, STEP_LAYER) / STEP_SECONDS


def share() -> float:
    """The share of the published peak that this is, taken for larger shapes and other devices."""
    return rate() / H100.peak


def edit_seconds(shape: Shape, edits: int, layer: int, device: Device = H100) -> float:
    """A whole edit: the prefix once, and 25 epochs of steps."""
    batch = Batch(edits * ROW, edits * ROW_SCORED)
    work = prefix_flops(shape, batch.tokens, layer) + EPOCHS * step_flops(shape, batch, layer)
    return work / (share() * device.peak)


def on_h100() -> list[str]:
    """The other end that was measured, and how far the same constant tells the rest of it."""
    fill = prefix_flops(SHAPES[0], WHOLE_EDITS * ROW, STEP_LAYER) / rate()
    whole = edit_seconds(SHAPES[0], WHOLE_EDITS, STEP_LAYER)
    return [
        *("", "## The large end", ""),
        f"An 8B step at L{STEP_LAYER}.mlp.down on {BATCH} rows took {1000 * STEP_SECONDS:.1f} ms "
        f"on an H100: {rate() / 1e12:.0f} TFLOP/s, {share():.0%} of the published "
        f"{H100.peak / 1e12:.0f}. From that one number: filling the prefix cache for "
        f"{WHOLE_EDITS:,} edits {fill:.2f} s (measured: {FILL_SECONDS}), the whole edit of 25 "
        f"epochs {whole:.1f} s (measured: {WHOLE_SECONDS}). What share of the peak larger shapes "
        "and an H200 reach was not measured: the same one is taken for all.",
    ]


def on_paper() -> list[str]:
    """All tables that are computed."""
    return [*_by_layer(), *_by_width(), *_by_edits(), *_by_devices(), *_streamed()]


def _layer(shape: Shape, depth: float) -> int:
    return round(shape.layers * depth)


def memory(shape: Shape, edits: int, depth: float) -> dict[str, float]:
    """Bytes on the device of an edit in bfloat16, by what they are of."""
    tokens, layer = edits * ASKED * ROW, _layer(shape, depth)
    return {
        "weights": shape.weights * BF16,
        "tuned": tuned_bytes(shape, BF16),
        "graph": graph_bytes(shape, min(edits, BATCH) * ROW, layer, BF16),
        "stream": stream_bytes(shape, tokens, BF16),
    }


def _table(title: str, said: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["", f"## {title} (computed)", "", said, "", "| " + " | ".join(head) + " |"]
    lines.append("|---|" + "---:|" * (len(head) - 1))
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows)]


def _by_layer() -> list[str]:
    rows = []
    for shape in SHAPES:
        for depth in DEPTHS:
            layer, held = _layer(shape, depth), memory(shape, 1000, depth)
            own = sum(held.values()) - held["weights"]
            step = step_flops(shape, STEP_BATCH, layer) / rate()
            cells = (f"{step:.3f}", f"{edit_seconds(shape, 1000, layer):,.0f}", f"{own / GB:.1f}")
            rows.append((f"{shape.name}, L{layer} of {shape.layers}", *cells))
    said = f"`mlp.down`, batches of {BATCH} rows, 25 epochs, one H100 or H200 (of one peak)."
    head = ("shape", "seconds a step", "1,000 edits (s)", "GB beside the weights (no logits)")
    return _table("Against the layer", said, head, rows)


def _by_width() -> list[str]:
    rows = []
    for width in (1024, 2048, 4096, 8192, 16_384):
        shape = Shape(f"{width}", 32, width, round(3.5 * width), width // 128, 8, 128_256)
        held = memory(shape, 1000, 0.75)
        cells = (f"{shape.weights / GB:.1f}", f"{edit_seconds(shape, 1000, 24):,.1f}")
        rows.append(
            (f"{width:,}", *cells, f"{held['weights'] / GB:.0f}", f"{held['tuned'] / GB:.2f}")
        )
    said = "32 blocks, an MLP of 3.5 widths, L24.mlp.down, 1,000 edits."
    head = ("width", "weights (billions)", "edit (s)", "weights (GB)", "of the tuned matrix (GB)")
    return _table("Against the width", said, head, rows)


def _by_edits() -> list[str]:
    rows = []
    for shape in SHAPES:
        for edits in (1000, 10_000, 100_000):
            held = memory(shape, edits, 0.75)
            seconds = edit_seconds(shape, edits, _layer(shape, 0.75))
            rows.append(
                (f"{shape.name}, {edits:,}", f"{seconds / 60:,.1f}", f"{held['stream'] / GB:,.1f}")
            )
    said = (
        f"At 3/4 of the depth, one device. The prefix cache has {ASKED} rows of {ROW} tokens an "
        "edit; beyond `--device-memory` and `--host-memory` (8 GiB each) it lies in a file."
    )
    return _table("Against the edits", said, ("shape, edits", "minutes", "prefix cache (GB)"), rows)


def _by_devices() -> list[str]:
    rows = []
    for shape in SHAPES:
        need = memory(shape, 1000, 0.75)
        beside = sum(need.values()) - need["weights"]
        trial = edit_seconds(shape, 300, _layer(shape, 0.5))
        for device in DEVICES:
            fit = "yes" if need["weights"] + beside < device.memory else "streamed"
            hours = [f"{TRIALS * trial / n / 3600:,.2f}" for n in (1, 8, 64)]
            rows.append((f"{shape.name}, {device.name}", fit, *hours))
    said = (
        f"{TRIALS} trials of 300 edits and 25 epochs at half depth, evaluation apart, a copy of "
        "the model on each device, no loss by waiting. Where the weights do not fit one device the "
        "hours are those of its arithmetic alone: the table below adds what streaming brings."
    )
    head = ("shape, device", "fits one", "hours on 1", "on 8", "on 64")
    return _table("A search against devices", said, head, rows)


def _streamed() -> list[str]:
    rows = []
    for shape in SHAPES[1:]:
        for depth in DEPTHS:
            layer = _layer(shape, depth)
            below, above = (n * shape.block * BF16 for n in (layer, shape.layers - layer))
            cells = (f"{below / DISK:,.0f}", f"{above / GB:,.0f}", f"{2 * above / H100.link:,.1f}")
            step = step_flops(shape, STEP_BATCH, layer) / rate()
            rows.append((f"{shape.name}, L{layer}", *cells, f"{step:,.2f}"))
    said = (
        f"Blocks below the tuned layer are brought once, from a disk of {DISK / GB:.0f} GB/s "
        "(assumed). The tail stays on the device where it fits; else each step brings it twice "
        f"over the link of {H100.link / GB:.0f} GB/s (published) from the host's memory, beside "
        "the arithmetic of the last column: the longer of the two is what a step takes."
    )
    head = (
        "shape, layer",
        "prefix brought (s)",
        "tail (GB)",
        "tail brought a step (s)",
        "step (s)",
    )
    return _table("Models that do not fit", said, head, rows)
