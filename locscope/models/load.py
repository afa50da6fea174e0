"""From a model's name to the model in memory; and what is known of it before it is.

Plain Hugging Face throughout: the object loaded here is the one that is tuned and saved.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from locscope.errors import UsageError
from locscope.models.aliases import Source, name_of, resolve
from locscope.models.checkpoint import (
    Checkpoint,
    Look,
    digest,
    read_checkpoint,
    stored_dtype,
)
from locscope.models.hub import locate
from locscope.models.inspection import (
    TORCH,
    embeddings,
    finite_look,
    outline,
    read_model,
    read_tokenizer,
    refuse_not_finite,
    refuse_stops,
    try_forward,
)
from locscope.models.parts import check_family, grid, head_counts
from locscope.models.plain_errors import plain_errors, quiet
from locscope.models.streaming.blocks import Dtypes, computed_in, stream
from locscope.models.streaming.way import (
    Offload,
    free_bytes,
    is_streamed,
    room_for_blocks,
    tail_fits,
)
from locscope.models.structure.names import check_device, check_dtype
from locscope.records import ModelInfo

IN_MEMORY = "in memory"
"""The name of a model that was not loaded by one."""
ACTIVATIONS = 8.0 * 2**30
"""Bytes that activations may take on the device, where nobody says."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Loaded:
    """A model ready for use: eval mode, nothing requires a gradient; the tokenizer as it came.

    `directory` is where its files lie.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    info: ModelInfo
    directory: Path | None


def load(
    name: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    trust_remote_code: bool = False,
    offload: Offload = "auto",
    activations: float = ACTIVATIONS,
) -> Loaded:
    """Loads the model that a name leads to: demo, a directory, an alias or a hub id.

    `device` auto is cuda where there is one; `dtype` auto is float32 on the CPU, elsewhere as
    stored; `offload` says whether its blocks are streamed, beside so many bytes of `activations`.
    Everything is checked before weights are read. Raises UsageError where the model cannot be used,
    OutOfMemory where it does not fit.
    """
    target = pick_device(device)
    source = resolve(name)
    checkpoint = read_checkpoint(locate(source))
    directory = checkpoint.directory
    planned = _planned(name, source, checkpoint, dtype, target, trust_remote_code)
    chosen = planned.info.dtype
    to = DTYPES[chosen]
    stored = loaded_dtype(checkpoint, to)
    streamed = is_streamed(planned.model, offload, target, to, stored)
    full = f"model '{name}' does not fit on {target}: try --dtype bfloat16, or --offload all"
    with quiet(), plain_errors(f"cannot load the weights in '{directory}'", full):
        model = read_model(checkpoint, stored if streamed else to, trust_remote_code)
        if streamed:
            # As it is now: what is held later is no longer free.
            room = room_for_blocks(model, free_bytes(target), to, activations)
            stream(model, target, (stored, to), partial(tail_fits, offload, room))
        else:
            nn.Module.to(model, target)
    model.requires_grad_(False)
    # Rows are padded on the right, which causal attention never reads. Without a pad token the
    # model does not warn of inputs that look padded.
    model.config.pad_token_id = None
    model.eval()
    weights = _ends(model, (stored, to)) if streamed else model.named_parameters()
    refuse_not_finite(f"'{directory}'", weights, chosen)
    try_forward(directory, model, planned.tokenizer, chosen)
    check_family(model)
    return replace(planned, model=model, info=replace(planned.info, device=str(model.device)))


def in_memory(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Loaded:
    """A model that is in memory already, as it is: its dtype is the one it is tuned and saved in.

    It is put into eval mode, and nothing of it requires a gradient afterwards. Raises UsageError
    where its family is not supported, or a weight is not finite.
    """
    # For their errors alone, before all weights are hashed.
    check_family(model.eval())
    refuse_not_finite("memory", model.named_parameters(), str(model.dtype).removeprefix("torch."))
    config = model.config.to_dict()
    # All bytes: there are no files of which a digest of headers would tell the model.
    total = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, parameter in sorted(model.named_parameters()):
        total.update(name.encode())
        total.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    model.requires_grad_(False)
    dtype = str(model.dtype).removeprefix("torch.")
    info = _described(
        IN_MEMORY, IN_MEMORY, model, dtype=dtype, stored=dtype, digest=total.hexdigest()[:16]
    )
    return Loaded(model.eval(), tokenizer, info, None)


def peek(
    name: str, *, device: str = "auto", dtype: str = "auto", trust_remote_code: bool = False
) -> ModelInfo:
    """The information that `load` gives, with device `meta`: weights are counted, not read.

    Raises UsageError as `load` does.
    """
    how = {"device": device, "dtype": dtype}
    return plan(name, **how, trust_remote_code=trust_remote_code).info


def plan(
    name: str, *, device: str = "auto", dtype: str = "auto", trust_remote_code: bool = False
) -> Loaded:
    """What `load` will give, with the model on `meta`: its shapes fit the stored weights.

    Raises UsageError as `load` does, but for large weights that are not finite: they stay unread.
    """
    source = resolve(name)
    checkpoint = read_checkpoint(locate(source))
    target = pick_device(device)
    # While they are read for the digest.
    look = finite_look(f"'{checkpoint.directory}'", stored_dtype(checkpoint))
    return _planned(name, source, checkpoint, dtype, target, trust_remote_code, look)


def pick_device(wanted: str) -> torch.device:
    """The device of that name; `auto` is cuda where there is one, else cpu.

    Raises UsageError for a device that is unknown or not on this machine.
    """
    check_device(wanted)
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type not in _available() or (device.index or 0) >= _available()[device.type]:
        there = ", ".join(_available())
        raise UsageError(f"device '{wanted}' is not on this machine: there is {there}")
    return device


def pick_dtype(wanted: str, device: torch.device, stored: str) -> str:
    """The dtype to compute in; `auto` is float32 on the CPU, else the stored one.

    Raises UsageError for a dtype that is none of `DTYPES`.
    """
    check_dtype(wanted)
    if wanted == "auto":
        return stored if device.type != "cpu" and stored in DTYPES else "float32"
    return wanted


def loaded_dtype(checkpoint: Checkpoint, computed: torch.dtype) -> torch.dtype:
    """The dtype in which a streamed model's weights are mapped: that in which most are stored.

    Where a few are stored in a wider one and all are computed in another than most, it is the
    widest, as Hugging Face would round those few before they are converted.
    """
    most: torch.dtype = getattr(torch, stored_dtype(checkpoint))
    if computed == most:
        return most
    named = {tensor.dtype for tensors in checkpoint.shards.values() for tensor in tensors.values()}
    return reduce(torch.promote_types, [TORCH[name] for name in named if name in TORCH], most)


def _ends(model: PreTrainedModel, dtypes: Dtypes) -> Iterator[tuple[str, Tensor]]:
    """The smallest and the largest number of every tensor, as they are computed in."""
    for name, parameter in model.named_parameters():
        if parameter.numel():
            ends = torch.stack(torch.aminmax(parameter.detach()))
            yield name, ends.to(computed_in(parameter, dtypes))


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Every token id that ends an answer, sorted: generation config, config and tokenizer."""
    config = model.config.get_text_config()
    # Instruction-tuned models often name the end of a turn in one of the three only.
    stated = [
        getattr(model.generation_config, "eos_token_id", None),
        getattr(config, "eos_token_id", None),
        tokenizer.eos_token_id,
    ]
    ids: set[int] = set()
    for value in stated:
        ids.update(value if isinstance(value, (list, tuple)) else [value])
    return tuple(sorted(n for n in ids if n is not None and n >= 0))


def pad_id(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> int:
    """The id to pad with: the tokenizer's pad, else its eos, else 0; the tokenizer stays as it is.

    An id that the model has no embedding for is passed over.
    """
    rows = embeddings(model)
    for value in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if isinstance(value, int) and 0 <= value < rows:
            return value
    return 0


def _available() -> dict[str, int]:
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.mps.is_available())}
    return {name: count for name, count in counts.items() if count}


def _planned(
    name: str,
    source: Source,
    checkpoint: Checkpoint,
    dtype: str,
    device: torch.device,
    trust_remote_code: bool,
    look: Look | None = None,
) -> Loaded:
    """The model on `meta`, its tokenizer and what is known of it, from all but the weights."""
    chosen = pick_dtype(dtype, device, stored_dtype(checkpoint))
    with quiet():
        model = outline(checkpoint, trust_remote_code)
        tokenizer = read_tokenizer(checkpoint.directory, trust_remote_code)
    refuse_stops(checkpoint.directory, model, tokenizer, stop_ids(model, tokenizer))
    stored, total = stored_dtype(checkpoint), digest(checkpoint, look=look)
    info = _described(name, name_of(source), model, dtype=chosen, stored=stored, digest=total)
    return Loaded(model, tokenizer, info, checkpoint.directory)


def _described(
    name: str, source: str, model: PreTrainedModel, *, dtype: str, stored: str, digest: str
) -> ModelInfo:
    config = model.config.get_text_config()
    heads, shared = head_counts(model)
    return ModelInfo(
        name=name,
        source=source,
        family=model.config.model_type,
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=heads,
        key_value_heads=shared,
        vocabulary=config.vocab_size,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dtype=dtype,
        stored=stored,
        device=str(model.device),
        hash=digest,
        grid=grid(model),
    )
