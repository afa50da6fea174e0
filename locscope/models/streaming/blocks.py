"""Blocks whose weights are brought to the device when they run, and let go behind it.

The weights of such a model stay where Hugging Face maps the checkpoint's files into memory: read
from the disk when they are used, in the dtype that they are stored in, in pages that the system may
take back at any time. A block that runs has copies of them on the device, in the dtype that is
computed in. A pass that keeps gradients recomputes each block on its way back, as gradient
checkpointing does, so that no graph holds the copies of more than one block.

Some weights are held on the device beside the embeddings and the head: those that are tuned, and
the blocks from the tuned one on, where they fit.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from locscope.errors import UsageError
from locscope.models.parts import blocks, family_of
from locscope.models.streaming.ahead import Brought, ReadAhead
from locscope.models.streaming.way import lowest_held

Dtypes = tuple[torch.dtype, torch.dtype]
"""The dtype in which weights are stored and the one in which they are computed. Those that Hugging
Face keeps in another one are left as they are."""
Fits = Callable[[int], bool]
"""Whether so many bytes of blocks may be held on the device."""


@final
class Streaming:
    """The streamed blocks of a model, and which of their weights are held on the device."""

    def __init__(
        self, model: PreTrainedModel, device: torch.device, dtypes: Dtypes, fits: Fits
    ) -> None:
        self.device, self._dtypes, self._fits = device, dtypes, fits
        family = family_of(model)
        self._path = f"{family.owner}.{family.layers}"
        self._parameters = [dict(block.named_parameters()) for block in blocks(model)]
        self._mapped = [{n: p.data for n, p in own.items()} for own in self._parameters]
        self._held: frozenset[str] = frozenset()
        self._wanted: dict[str, frozenset[str]] = {}
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._ahead = ReadAhead(self._bring, len(self._parameters))

    def weights(self, layer: int) -> Mapping[str, Tensor]:
        """The weights of a block that are not held, by name within it, on the device."""
        own = self._parameters[layer]
        if all(self._name(layer, name) in self._held for name in own):
            return {}
        return self._ahead.get(layer)

    def hold(self, what: str, names: Iterable[str]) -> None:
        """Holds the parameters of these names in the model, and no more those held as `what`."""
        self._wanted[what] = frozenset(names)
        self._settle()

    def hold_tail(self, layer: int) -> None:
        """Holds the blocks from this one on where they fit."""
        names = [self._name(n, name) for n in self._from(layer) for name in self._parameters[n]]
        self.hold("tail", names if self._fits(self.tail_bytes(layer)) else ())

    def let_go(self) -> None:
        """Holds nothing: every parameter is the mapped one again, and is read anew."""
        self._wanted.clear()
        self._settle()
        self._ahead.clear()

    @property
    def held_from(self) -> int:
        """The lowest layer whose tail is held; the number of layers where none is."""
        itemsize = self._dtypes[1].itemsize
        sizes = [itemsize * sum(p.numel() for p in own.values()) for own in self._parameters]
        return lowest_held(sizes, self._fits)

    def mapped(self, names: Collection[str]) -> dict[str, Tensor]:
        """The parameters of these names in the model as they are stored, of its blocks."""
        return {
            full: tensor
            for layer, own in enumerate(self._mapped)
            for name, tensor in own.items()
            if (full := self._name(layer, name)) in names
        }

    def tail_bytes(self, layer: int) -> int:
        """Bytes that the blocks from this one on take in the dtype that is computed in."""
        own = (p for n in self._from(layer) for p in self._parameters[n].values())
        return sum(parameter.numel() for parameter in own) * self._dtypes[1].itemsize

    def _settle(self) -> None:
        wanted = self._names() & frozenset().union(*self._wanted.values())
        if wanted == self._held:
            return
        self._ahead.clear()
        for layer, own in enumerate(self._parameters):
            for name, parameter in own.items():
                full, mapped = self._name(layer, name), self._mapped[layer][name]
                if full in self._held - wanted:
                    parameter.data = mapped
                elif full in wanted - self._held:
                    # Copied even where nothing is converted: what is mapped stays as it is stored.
                    parameter.data = self._computed(mapped, self.device, copy=True)
        self._held = wanted

    def _bring(self, layer: int) -> Brought:
        mapped = self._mapped[layer]
        wanted = [name for name in mapped if self._name(layer, name) not in self._held]
        if self._copies is None:
            # A mapped weight that is right as it is runs from where it is.
            return Brought({name: self._computed(mapped[name], self.device) for name in wanted})
        with torch.no_grad(), torch.cuda.stream(self._copies):
            # Only from pinned memory does a copy go on beside the work.
            pinned = {name: mapped[name].pin_memory() for name in wanted}
            moved = {n: p.to(self.device, non_blocking=True) for n, p in pinned.items()}
            weights = {name: self._computed(weight, self.device) for name, weight in moved.items()}
            done = torch.cuda.Event()
            done.record(self._copies)
        return Brought(weights, done)

    def _computed(self, weight: Tensor, device: torch.device, *, copy: bool = False) -> Tensor:
        return weight.to(device, computed_in(weight, self._dtypes), copy=copy)

    def _name(self, layer: int, name: str) -> str:
        return f"{self._path}.{layer}.{name}"

    def _names(self) -> frozenset[str]:
        return frozenset(self._name(n, x) for n in self._from(0) for x in self._parameters[n])

    def _from(self, layer: int) -> range:
        return range(layer, len(self._parameters))


@final
class _StreamedForward:
    """The forward of a block that is streamed; it stands in the block's own place."""

    def __init__(self, block: nn.Module, layer: int, streaming: Streaming) -> None:
        self.block, self.layer, self.streaming = block, layer, streaming
        self.places = {
            name: (block.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2])
            for name, _ in block.named_parameters()
        }

    def __call__(self, hidden: Tensor, *args: Any, **more: Any) -> Any:
        wanted = hidden.requires_grad or any(p.requires_grad for p in self.block.parameters())
        if torch.is_grad_enabled() and wanted:
            return checkpoint(
                self._run, hidden, *args, use_reentrant=False, preserve_rng_state=False, **more
            )
        return self._run(hidden, *args, **more)

    def _run(self, hidden: Tensor, *args: Any, **more: Any) -> Any:
        with self._holding(self.streaming.weights(self.layer)):
            return type(self.block).forward(self.block, hidden, *args, **more)

    @contextmanager
    def _holding(self, weights: Mapping[str, Tensor]) -> Iterator[None]:
        """The block with these weights, in modules that may by now be wrapped in others."""
        own = {name: self.places[name] for name in weights}
        before = {name: module._parameters[leaf] for name, (module, leaf) in own.items()}
        try:
            for name, (module, leaf) in own.items():
                module._parameters[leaf] = weights[name]  # pyright: ignore
            yield
        finally:
            for name, (module, leaf) in own.items():
                module._parameters[leaf] = before[name]


def stream(model: PreTrainedModel, device: torch.device, dtypes: Dtypes, fits: Fits) -> None:
    """Streams the blocks of a model whose weights are mapped; all else of it goes to the device.

    `fits` tells whether so many bytes of its blocks may be held there. Raises UsageError where
    something of the model would have been made otherwise in the dtype that is computed in.
    """
    _refuse_rounded(model, dtypes)
    streaming = Streaming(model, device, dtypes, fits)
    inside = {id(p) for block in blocks(model) for p in block.parameters()}
    for parameter in model.parameters():
        if id(parameter) not in inside:
            parameter.data = parameter.data.to(device, computed_in(parameter.data, dtypes))
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            # What is stored is loaded as weights are; what is computed is float32 as it is.
            stored = name in module.state_dict()
            setattr(
                module, name, buffer.to(device, computed_in(buffer, dtypes) if stored else None)
            )
    for layer, block in enumerate(blocks(model)):
        # Not by `setattr`, which types take for a method that is assigned to.
        vars(block)["forward"] = _StreamedForward(block, layer, streaming)


def _refuse_rounded(model: PreTrainedModel, dtypes: Dtypes) -> None:
    """Raises UsageError where a number that is in no file was rounded to the stored dtype."""
    stored, computed = dtypes
    saved = model.state_dict()
    for name, buffer in model.named_buffers():
        if name not in saved and stored != computed and buffer.dtype == stored != torch.float32:
            dtype = str(stored).removeprefix("torch.")
            raise UsageError(
                f"{model.config.model_type} cannot be streamed in another dtype than its files' "
                f"({name} depends on it): take --dtype {dtype}, or --offload never"
            )


def computed_in(weight: Tensor, dtypes: Dtypes) -> torch.dtype:
    """The dtype in which a weight is computed."""
    stored, computed = dtypes
    return computed if weight.dtype == stored else weight.dtype


def streaming_of(model: PreTrainedModel) -> Streaming | None:
    """The streamed blocks of a model; None where it is whole on its device."""
    for block in blocks(model):
        forward = vars(block).get("forward")
        if isinstance(forward, _StreamedForward):
            return forward.streaming
    return None


def hold(model: PreTrainedModel, what: str, names: Iterable[str]) -> None:
    """Has the parameters of these names on the device, in place of those that were held there as
    `what`, where the model is streamed."""
    if (streaming := streaming_of(model)) is not None:
        streaming.hold(what, names)


def hold_tail(model: PreTrainedModel, layer: int) -> None:
    """Has the blocks from this one on on the device where they fit and the model is streamed."""
    if (streaming := streaming_of(model)) is not None:
        streaming.hold_tail(layer)


def mapped_of(model: PreTrainedModel, names: Collection[str]) -> dict[str, Tensor]:
    """By name, what parameters of a streamed model are copies of; nothing of one in memory."""
    streaming = streaming_of(model)
    return {} if streaming is None else streaming.mapped(names)


def let_go(model: PreTrainedModel) -> None:
    """Holds nothing of a streamed model, so that what is written to its parameters lasts."""
    if (streaming := streaming_of(model)) is not None:
        streaming.let_go()


def refuse_copy(model: PreTrainedModel) -> None:
    """Raises UsageError for a model that is streamed: a copy would be whole in memory."""
    if streaming_of(model) is not None:
        raise UsageError(
            "a copy of a streamed model would take as much memory as the whole of it: give "
            "inplace=True, or load it with offload='never'"
        )


def held_from(model: PreTrainedModel) -> int | None:
    """The lowest layer whose tail is held on the device; None for a model that is not streamed."""
    streaming = streaming_of(model)
    return None if streaming is None else streaming.held_from
