"""The prefix cache: the residual stream entering a layer, kept for all packed texts.

Everything below the lowest tuned layer is frozen, so for fixed texts its output never changes.
The stream is packed as the texts are, on the device while the budget allows, else on the host,
else in a file. Every round of trials begins at low layers again, so copies of it at layers that
were entered stay on the host, and it goes on from the nearest.
"""

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from locscope.errors import LocscopeError, ran_out_of_memory
from locscope.forward.batching import packed
from locscope.forward.blocks import run_blocks
from locscope.forward.packed import NO_LABEL, PackedTokens
from locscope.models.streaming.blocks import streaming_of


@dataclass(frozen=True)
class Batch:
    """Token rows, padded on the right, on the model's device.

    `scored` marks the positions that predict an answer token or the row's final label, `labels`
    holds what they should predict (NO_LABEL where there is none). `flat` has the real tokens'
    positions in the packed rows, `places` those in the flattened batch, `answers` those in it that
    are scored and have a label. `last` is where each row's last token is.
    """

    ids: Int[Tensor, "batch seq"]
    real: Bool[Tensor, "batch seq"]
    scored: Bool[Tensor, "batch seq"]
    labels: Int[Tensor, "batch seq"]
    flat: Int[Tensor, " tokens"]
    places: Int[Tensor, " tokens"]
    answers: Int[Tensor, " answers"]
    last: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Budget:
    """Bytes that cached activations may take on the device and on the host; beyond: a file."""

    device: int = 8 << 30
    host: int = 8 << 30


COPIES = 8
"""Copies of the stream take at most one part in so many of the host's budget."""
ON_CPU = 512
"""Tokens of a batch on a CPU, at most: its products are as fast from some hundreds on, and smaller
batches of rows of like length have less padding."""
HEAVY = 4
"""About as much as a token of a scan weighs that keeps its graph."""
NOT_RESERVED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""Numbers of errors of file systems that reserve no room; there it is written."""
BLOCK = 1 << 24


@final
class PrefixCache:
    """The residual stream entering `layer` for every token of the packed texts.

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
        """Goes to the given layer: only the blocks from the nearest copy on are run."""
        nearest = max((copy for copy in self._copies if copy <= layer), default=0)
        if layer < self.layer or nearest > self.layer:
            self._restore(nearest)
        if layer == self.layer:
            return
        stream = self._stream if self._stream is not None else self._allocate()
        # Of a streamed model block by block, so that each is brought once for all texts.
        streamed = streaming_of(self.model) is not None
        try:
            for stop in range(self.layer + 1, layer + 1) if streamed else (layer,):
                self._advance(stream, stop)
                self.layer, self._stream = stop, stream
        except BaseException:
            # Some rows have advanced already, so the stream is of no single layer any more.
            self._restore(0)
            raise
        self._copy()

    def release(self) -> None:
        """Frees the stream and its copies, for another prefix cache that works meanwhile."""
        self._restore(0)
        self._copies.clear()

    def _restore(self, layer: int) -> None:
        """The stream as it was at a layer of which there is a copy, or none at layer 0."""
        self.layer, self._stream = 0, None
        if layer:
            # Set only once there was memory for it: a trial that fails here is tried again.
            stream = self._allocate().copy_(self._copies[layer])
            self.layer, self._stream = layer, stream

    def _copy(self) -> None:
        """Keeps a copy of the stream; without room, those copies go that save the fewest layers."""
        assert self._stream is not None
        size, room = self._stream.nbytes, self.budget.host // COPIES
        if size > room:
            return
        self._copies[self.layer] = self._stream.to("cpu", copy=True)
        while size * len(self._copies) > room:
            layers = sorted(self._copies)
            saved = {layer: layer - below for below, layer in pairwise([0, *layers])}
            del self._copies[min(layers, key=saved.__getitem__)]

    @torch.no_grad()
    def _advance(self, stream: Float[Tensor, "tokens width"], layer: int) -> None:
        for rows in self.batches(range(len(self.packed))):
            batch = self.batch(rows)
            hidden = run_blocks(self.model, batch.ids, self.layer, self.hidden(batch), layer)
            tokens = hidden.flatten(0, 1)[batch.places]
            stream[batch.flat.to(stream.device)] = tokens.to(stream.device)

    @property
    def tokens_of_a_batch(self) -> int:
        """Tokens that a pass over the texts takes at once: no more than pay."""
        on_cpu = self.model.device.type == "cpu"
        return min(self.tokens_at_once, ON_CPU) if on_cpu else self.tokens_at_once

    @property
    def tokens_of_a_scan(self) -> int:
        """Tokens that a scan takes at once, each as heavy as `Holds` says."""
        return min(self.tokens_at_once, HEAVY * self.tokens_of_a_batch)

    def batches(self, rows: Sequence[int]) -> Iterator[list[int]]:
        """These rows in batches of like length, as a pass over them goes."""
        return chunks(self.packed.lengths, rows, self.tokens_of_a_batch)

    def batch(self, rows: Sequence[int]) -> Batch:
        """The given packed rows, padded."""
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
        with _folder() as folder:
            path = folder / "stream"
            _reserve(path, size)
            flat = torch.from_file(str(path), shared=True, size=shape[0] * width, dtype=dtype)
        return flat.view(shape)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for a file of the cache. Raises LocscopeError where the disk has no room for it."""
    where = tempfile.gettempdir()
    try:
        with tempfile.TemporaryDirectory(prefix="locscope-prefix-") as folder:
            yield Path(folder)
    except OSError as error:
        if ran_out_of_memory(error):
            raise
        raise LocscopeError(
            f"no room for cached activations in {where} ({error.strerror or error}): what was done "
            "before is kept; make room there, set TMPDIR to another disk, or give more "
            "--host-memory"
        ) from error


def _reserve(path: Path, size: int) -> None:
    """Takes the room on the disk at once: a mapped file that the disk has no block for kills the
    process when it is written, past every error."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, size)
                return
            except OSError as error:
                if error.errno not in NOT_RESERVED:
                    raise
        for start in range(0, size, BLOCK):
            file.write(bytes(min(BLOCK, size - start)))


def chunks(
    lengths: Int[Tensor, " rows"], rows: Sequence[int], tokens_at_once: int
) -> Iterator[list[int]]:
    """The rows in batches of like length, each of at most that many tokens with padding."""
    yield from packed(rows, lengths.tolist(), tokens_at_once)


def pad(packed: PackedTokens, rows: Sequence[int], device: torch.device) -> Batch:
    """The given packed rows as one right-padded batch on the device."""
    index = torch.as_tensor(list(rows))
    starts, lengths = packed.offsets[index], packed.lengths[index]
    position = torch.arange(int(lengths.max()))[None]
    real = position < lengths[:, None]
    flat = (starts[:, None] + position)[real]
    ids = torch.zeros(real.shape, dtype=torch.long)
    ids[real] = packed.ids[flat]
    labels = torch.full_like(ids, NO_LABEL)
    labels[:, :-1] = torch.where(real[:, 1:], ids[:, 1:], NO_LABEL)
    labels[torch.arange(len(index)), lengths - 1] = packed.finals[index]
    scored = real & (position >= packed.answers[index][:, None] - 1)
    # Indices, not masks: indexing by a mask makes a GPU wait until it has been counted.
    places = real.flatten().nonzero()[:, 0]
    answers = (scored & (labels != NO_LABEL)).flatten().nonzero()[:, 0]
    columns = (ids, real, scored, labels, flat, places, answers, lengths - 1)
    return Batch(*(column.to(device) for column in columns))
