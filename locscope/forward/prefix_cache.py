"""The prefix cache runs once: the residual stream entering a layer, kept for all texts of a sheet.

Everything below the lowest tuned layer is frozen, so for fixed texts its output never changes.
The stream lies packed like the sheet, on the device while the budget allows, else on the host,
else in a file. Rounds of trials start low again and again, so copies of it at layers that were
entered stay on the host, and it goes on from the nearest.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from locscope.forward.batching import packed
from locscope.forward.blocks import run_blocks
from locscope.forward.packed import NO_LABEL, PackedTokens


@dataclass(frozen=True)
class Batch:
    """Rows of a sheet, padded on the right, on the model's device.

    `scored` marks the positions that predict an answer token or the row's final label, `labels`
    holds what they should predict (NO_LABEL where there is none). `places` are those of the real
    tokens in the flattened batch, `answers` those that are scored and have a label: a GPU takes
    what lies there without waiting, as it has to for a mask.
    """

    ids: Int[Tensor, "batch seq"]
    real: Bool[Tensor, "batch seq"]
    scored: Bool[Tensor, "batch seq"]
    labels: Int[Tensor, "batch seq"]
    flat: Int[Tensor, " tokens"]
    places: Int[Tensor, " tokens"]
    answers: Int[Tensor, " answers"]


@dataclass(frozen=True)
class Budget:
    """Bytes that cached activations may take on the device and on the host; beyond: a file."""

    device: int = 8 << 30
    host: int = 8 << 30


COPIES = 8
"""Copies of the stream take at most one part in so many of the host's budget."""


@final
class PrefixCache:
    """The residual stream entering `layer` for every token of a sheet.

    `tokens_at_once` bounds, with padding, what any pass over its texts takes in one batch.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        packed: PackedTokens,
        budget: Budget | None = None,
        tokens_at_once: int = 16384,
    ) -> None:
        self.model = model
        self.packed = packed
        self.tokens_at_once = tokens_at_once
        self.layer = 0
        self.budget = budget or Budget()
        self._stream: Tensor | None = None
        self._copies: dict[int, Tensor] = {}

    def enter(self, layer: int) -> None:
        """Goes to the given layer: only the blocks from the nearest known stream on are run."""
        nearest = max((known for known in self._copies if known <= layer), default=0)
        if layer < self.layer or nearest > self.layer:
            self._restore(nearest)
        if layer == self.layer:
            return
        stream = self._stream if self._stream is not None else self._allocate()
        try:
            self._advance(stream, layer)
        except BaseException:
            # Some rows have advanced already: the next one starts again.
            self._restore(0)
            raise
        self.layer, self._stream = layer, stream
        self._copy()

    def release(self) -> None:
        """Lets go of the stream and its copies: another prefix cache is at work meanwhile."""
        self._restore(0)
        self._copies.clear()

    def _restore(self, layer: int) -> None:
        """The stream as it was at a layer of which there is a copy, or none at layer 0."""
        self.layer, self._stream = 0, None
        if layer:
            # Both are set where there was memory for it, for what fails is tried again.
            stream = self._allocate().copy_(self._copies[layer])
            self.layer, self._stream = layer, stream

    def _copy(self) -> None:
        """Keeps a copy of the stream, in place of those that save the least where room is short."""
        assert self._stream is not None
        size, room = self._stream.nbytes, self.budget.host // COPIES
        if size > room:
            return
        self._copies[self.layer] = self._stream.to("cpu", copy=True)
        while size * len(self._copies) > room:
            layers = sorted(self._copies)
            saved = {one: one - below for below, one in pairwise([0, *layers])}
            del self._copies[min(layers, key=saved.__getitem__)]

    @torch.no_grad()
    def _advance(self, stream: Float[Tensor, "tokens width"], layer: int) -> None:
        for rows in chunks(self.packed.lengths, range(len(self.packed)), self.tokens_at_once):
            batch = self.batch(rows)
            hidden = run_blocks(self.model, batch.ids, self.layer, self.hidden(batch), layer)
            tokens = hidden.flatten(0, 1)[batch.places]
            stream[batch.flat.to(stream.device)] = tokens.to(stream.device)

    def batch(self, rows: Sequence[int]) -> Batch:
        """The given rows of the sheet, padded."""
        return pad(self.packed, rows, self.model.device)

    def hidden(self, batch: Batch) -> Float[Tensor, "batch seq width"] | None:
        """The stream of a batch (zeros in the padding); None at layer 0."""
        if self._stream is None:
            return None
        tokens = self._stream[batch.flat.to(self._stream.device)].to(self.model.device)
        hidden = tokens.new_zeros(batch.ids.numel(), tokens.shape[-1])
        hidden[batch.places] = tokens
        return hidden.view(*batch.ids.shape, -1)

    def final(self, batch: Batch) -> Float[Tensor, "batch seq width"]:
        """Final hidden states of a batch, resumed from the prefix cache; gradients flow."""
        return run_blocks(self.model, batch.ids, self.layer, self.hidden(batch))

    def _allocate(self) -> Float[Tensor, "tokens width"]:
        width, dtype = self.model.config.get_text_config().hidden_size, self.model.dtype
        shape = (self.packed.ids.numel(), width)
        size = shape[0] * width * dtype.itemsize
        if size <= self.budget.device:
            return torch.empty(shape, dtype=dtype, device=self.model.device)
        if size <= self.budget.host:
            return torch.empty(shape, dtype=dtype)
        # The mapping outlives the file's name, so nothing is left on the disk, whatever happens.
        with tempfile.TemporaryDirectory(prefix="locscope-trunk-") as folder:
            path = str(Path(folder) / "stream")
            flat = torch.from_file(path, shared=True, size=shape[0] * width, dtype=dtype)
        return flat.view(shape)


def chunks(
    lengths: Int[Tensor, " rows"], rows: Sequence[int], tokens_at_once: int
) -> Iterator[list[int]]:
    """The rows in batches of like length, each of at most that many tokens with padding."""
    yield from packed(rows, lengths.tolist(), tokens_at_once)


def pad(packed: PackedTokens, rows: Sequence[int], device: torch.device) -> Batch:
    """The given rows of a sheet as one right-padded batch on the device."""
    index = torch.as_tensor(list(rows))
    starts, lengths = packed.offsets[index], packed.lengths[index]
    place = torch.arange(int(lengths.max()))[None]
    real = place < lengths[:, None]
    flat = (starts[:, None] + place)[real]
    ids = torch.zeros(real.shape, dtype=torch.long)
    ids[real] = packed.ids[flat]
    labels = torch.full_like(ids, NO_LABEL)
    labels[:, :-1] = torch.where(real[:, 1:], ids[:, 1:], NO_LABEL)
    labels[torch.arange(len(index)), lengths - 1] = packed.finals[index]
    scored = real & (place >= packed.answers[index][:, None] - 1)
    places = real.flatten().nonzero()[:, 0]
    answers = (scored & (labels != NO_LABEL)).flatten().nonzero()[:, 0]
    found = (ids, real, scored, labels, flat, places, answers)
    return Batch(*(t.to(device) for t in found))
