"""The prefix cache: the residual stream entering a layer, kept for all packed texts.

Everything below the lowest tuned layer is frozen, so for fixed texts its output never changes.
The stream is packed as the texts are: on the device while the budget and what is free there allow,
else on the host (in pinned memory where a GPU reads it), else in a file. Every round of trials
begins at low layers again, so copies of it at layers that were entered stay on the host, and it
goes on from the nearest; or from a file that an earlier run kept, where files are kept.
"""

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
from locscope.forward.prefix_files import PrefixFiles, reserve
from locscope.models.streaming.blocks import streaming_of
from locscope.models.streaming.way import free_bytes


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
    """Bytes that cached activations may take on the device and on the host; beyond: a file.

    `kept` is how many may stay in files of the user's cache for runs to come; 0 keeps none.
    """

    device: int = 8 << 30
    host: int = 8 << 30
    kept: int = 0


COPIES = 8
"""Copies of the stream take at most one part in so many of the host's budget."""
ON_CPU = 512
"""Tokens of a batch on a CPU, at most: its products are as fast from some hundreds on, and smaller
batches of rows of like length have less padding."""
HEAVY = 4
"""About as much as a token of a scan weighs that keeps its graph."""


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
        self._files = PrefixFiles(model, packed, self.budget.kept) if self.budget.kept else None

    def enter(self, layer: int) -> None:
        """Goes to the given layer: only the blocks from the nearest copy or file on are run."""
        nearest = max((copy for copy in self._copies if copy <= layer), default=0)
        if layer < self.layer or nearest > self.layer:
            self._restore(nearest)
        if self._files is not None:
            self._read(self._files, layer)
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
        if self._files is not None:
            self._files.write(layer, self.tokens_of_a_batch, stream)

    def _read(self, files: PrefixFiles, layer: int) -> None:
        """Goes on to the highest layer up to this one that has a file, where that is sound."""
        tokens = self.tokens_of_a_batch
        while (at := files.nearest(layer, self.layer, tokens)) > self.layer:
            stream = self._stream if self._stream is not None else self._allocate()
            if files.read(at, tokens, stream):
                self.layer, self._stream = at, stream
                self._copy()
                return
            # The stream holds a part of the file; that is gone, so another one is looked for.
            self._restore(max((copy for copy in self._copies if copy <= layer), default=0))

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
        """Tokens that a scan takes at once, each as heavy as `batching.tokens_worth` says."""
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
        tokens = _gathered(self._stream, batch.flat, self.model.device)
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
        host, on_gpu = torch.device("cpu"), self.model.device.type == "cuda"
        tiers = ((self.budget.device, self.model.device, False), (self.budget.host, host, on_gpu))
        for room, device, pinned in (*tiers, (self.budget.host, host, False)):
            if size > min(room, free_bytes(device)):
                continue
            try:
                return torch.empty(shape, dtype=dtype, device=device, pin_memory=pinned)
            except (MemoryError, RuntimeError) as error:
                # What is free may be in pieces, or be taken by now: the next one may have room.
                if not ran_out_of_memory(error):
                    raise
        # The mapping outlives the file's name, so nothing is left on the disk, whatever happens.
        with _folder() as folder:
            path = folder / "stream"
            reserve(path, size)
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


def _gathered(
    stream: Float[Tensor, "all width"], flat: Int[Tensor, " tokens"], device: torch.device
) -> Float[Tensor, "tokens width"]:
    """Those rows of the stream, on the device."""
    flat = flat.to(stream.device)
    if not stream.is_pinned():
        return stream[flat].to(device)
    # Pinned too, so that the copy does not wait; torch keeps it until the device has read it.
    taken = torch.empty(len(flat), stream.shape[1], dtype=stream.dtype, pin_memory=True)
    return torch.index_select(stream, 0, flat, out=taken).to(device, non_blocking=True)


def chunks(
    lengths: Int[Tensor, " rows"], rows: Sequence[int], tokens_at_once: int
) -> Iterator[list[int]]:
    """The rows in batches of like length, each of at most that many tokens with padding."""
    # Of these rows alone: a step takes a few of as many as there are, and there are many steps.
    own = lengths[torch.as_tensor(list(rows), dtype=torch.long)].tolist()
    yield from packed(rows, dict(zip(rows, own, strict=True)), tokens_at_once)


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
