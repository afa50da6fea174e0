"""Streamed blocks compute what blocks in memory do, forward and backward; what is held is told."""

import copy
from contextlib import nullcontext

import pytest
import torch
from families import ALL, save_tiny, tiny
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from locscope.errors import UsageError
from locscope.forward.blocks import run_blocks
from locscope.forward.head import logits
from locscope.interp.hooked_model import hooked_model_of
from locscope.models.load import load
from locscope.models.parts import Slice
from locscope.models.save import put_changes
from locscope.models.streaming.blocks import hold, hold_tail, refuse_copy, stream, streaming_of

CPU = torch.device("cpu")
IDS = torch.tensor([[3, 17, 42, 99, 5, 81], [9, 8, 7, 6, 5, 4]])
DOWN = "model.layers.1.mlp.down_proj.weight"


def both(family: str, fits: int = 0) -> tuple[PreTrainedModel, PreTrainedModel]:
    """A model that is stored in bfloat16 and computed in float32: in memory, and streamed."""
    stored = ALL[family]().requires_grad_(False)
    for parameter in stored.parameters():
        parameter.data = parameter.data.bfloat16()
    whole = copy.deepcopy(stored)
    for parameter in whole.parameters():
        parameter.data = parameter.data.float()
    stream(stored, CPU, (torch.bfloat16, torch.float32), lambda size: size <= fits)
    return whole, stored


def gradients(model: PreTrainedModel, names: list[str]) -> list[Tensor]:
    hold(model, "tuned", names)
    weights = [model.get_parameter(name).requires_grad_(True) for name in names]
    loss = logits(model, run_blocks(model, IDS)).log_softmax(-1)[..., 7].sum()
    found = torch.autograd.grad(loss, weights)
    for weight in weights:
        weight.requires_grad_(False)
    return list(found)


@pytest.mark.parametrize("family", ALL)
def test_a_streamed_model_computes_what_one_in_memory_does(family: str) -> None:
    whole, streamed = both(family)
    with torch.no_grad():
        assert torch.equal(run_blocks(streamed, IDS), run_blocks(whole, IDS))
        middle = [run_blocks(model, IDS, stop=2) for model in (whole, streamed)]
        assert torch.equal(*middle)
        assert torch.equal(*(run_blocks(model, IDS, 2, middle[0]) for model in (whole, streamed)))
    # A matrix of the middle block, with blocks below and above it streamed.
    names = [name for name, p in whole.named_parameters() if p.dim() == 2 and ".1." in name][-1:]
    (mine,), (theirs,) = gradients(streamed, names), gradients(whole, names)
    assert mine.dtype == torch.float32
    assert theirs.abs().max() > 0
    assert torch.equal(mine, theirs)


@pytest.mark.parametrize("family", ["gpt2", "gemma3", "deepseek", "gptoss"])
def test_a_model_from_files_is_the_same_streamed(
    family: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = save_tiny(tmp_path_factory.mktemp("model"), family)
    model = ALL[family]()
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16()
    model.save_pretrained(folder)
    if family == "gemma3":
        # Its embeddings are scaled by a number that is rounded to the dtype in which it is loaded.
        with pytest.raises(UsageError, match=r"\(model.embed_tokens.embed_scale depends on it\)"):
            load(str(folder), dtype="float32", offload="all")
    for dtype in ("bfloat16",) if family == "gemma3" else ("float32", "bfloat16"):
        found = [load(str(folder), dtype=dtype, offload=way) for way in ("never", "prefix", "all")]
        with torch.no_grad():
            outs = [one.model(input_ids=IDS).logits for one in found]
        assert torch.equal(outs[0], outs[1])
        assert torch.equal(outs[0], outs[2])
        assert len({one.info for one in found}) == 1, "nothing else is told of it"
        assert len({one.model.dtype for one in found}) == 1


def test_decoding_with_a_cache_and_a_graph_that_is_kept_for_nothing() -> None:
    whole, streamed = both("llama")
    found = []
    for model in (whole, streamed):
        cache = DynamicCache(config=model.config)
        with torch.no_grad():
            run_blocks(model, IDS[:, :4], cache=cache)
            found.append(run_blocks(model, IDS[:, 4:], cache=cache))
    assert torch.equal(*found)


def test_a_gpu_copies_from_pinned_memory_and_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of a GPU, with a device that is the CPU: what is done, and in which order."""
    whole, streamed = both("llama")
    done: list[str] = []

    class Event:
        def record(self, stream: object) -> None:
            done.append(f"recorded on {stream}")

    class Current:
        def wait_event(self, event: object) -> None:
            assert isinstance(event, Event)
            done.append("waited for")

    def pinned(self: Tensor) -> Tensor:
        done.append("pinned")
        return self.clone()

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: Current())
    monkeypatch.setattr(Tensor, "pin_memory", pinned)
    monkeypatch.setattr(Tensor, "record_stream", lambda *_: done.append("kept"))
    monkeypatch.setattr(streaming_of(streamed), "_copies", "its own stream")
    with torch.no_grad():
        assert torch.equal(run_blocks(streamed, IDS), run_blocks(whole, IDS))
    names = [name for name, p in whole.named_parameters() if p.dim() == 2 and ".1." in name][-1:]
    (mine,), (theirs,) = gradients(streamed, names), gradients(whole, names)
    assert torch.equal(mine, theirs)
    first = done.index("recorded on its own stream")
    assert set(done[:first]) == {"pinned"}
    weights = len(list(whole.model.layers[0].parameters()))
    assert done.count("waited for") * weights >= done.count("kept") > 3 * weights


def test_only_what_is_asked_for_is_held() -> None:
    _, model = both("llama", fits=tail_of(tiny("llama"), 2))
    stored = {name: p.data_ptr() for name, p in model.named_parameters()}

    def held() -> set[str]:
        now = {name: p for name, p in model.named_parameters() if p.data_ptr() != stored[name]}
        assert all(p.dtype == torch.float32 for p in now.values())
        return {name.partition(".mlp")[0].partition(".self")[0] for name in now}

    hold(model, "tuned", [DOWN])
    assert held() == {"model.layers.1"}
    hold_tail(model, 2)
    assert {name.split(".")[2] for name in held()} == {"1", "2"}
    hold(model, "tuned", [])
    assert {name.split(".")[2] for name in held()} == {"2"}
    hold_tail(model, 1)
    assert held() == set(), "two blocks do not fit"
    streaming = streaming_of(model)
    assert streaming is not None
    assert streaming.held_from == 2
    # Nothing that was held is written back: what is mapped is as it is stored.
    hold(model, "tuned", [DOWN])
    model.get_parameter(DOWN).data.zero_()
    hold(model, "tuned", [])
    assert model.get_parameter(DOWN).abs().max() > 0


def test_what_is_put_into_a_streamed_model_lasts() -> None:
    whole, streamed = both("llama")
    values = torch.randn(whole.get_parameter(DOWN).numel()).bfloat16()
    hold(streamed, "tuned", [DOWN])
    for model in (whole, streamed):
        put_changes(model, {Slice(DOWN, None, (), len(values)): values})
    hold(streamed, "tuned", [])
    with torch.no_grad():
        assert torch.equal(run_blocks(streamed, IDS), run_blocks(whole, IDS))


def test_what_needs_the_whole_model_says_so() -> None:
    _, streamed = both("llama")
    with pytest.raises(UsageError, match="needs the whole model on the device"):
        hooked_model_of(streamed)
    with pytest.raises(UsageError, match="inplace=True"):
        refuse_copy(streamed)


def tail_of(model: PreTrainedModel, layer: int) -> int:
    """Bytes of the blocks from a layer on, in float32."""
    every = list(model.model.layers)[layer:]
    return 4 * sum(p.numel() for block in every for p in block.parameters())
