"""Families that no table has: accepted where blocks resume exactly, else refused by the test."""

from pathlib import Path

import pytest
import torch
from families import save_tiny, tiny, tiny_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from locscope.errors import UsageError
from locscope.forward.blocks import run_blocks
from locscope.forward.head import logits
from locscope.locations import Location
from locscope.models import parts
from locscope.models.families import FAMILIES
from locscope.models.load import in_memory, load
from locscope.models.structure import guess as guessing

UNLISTED = {"olmo": {}, "cohere2": {"sliding_window": 4}, "helium": {"head_dim": 8}, "gptj": None}
GPTJ = {"n_embd": 32, "n_layer": 3, "n_head": 4, "rotary_dim": 4, "n_inner": 48}
ENDS = {"bos_token_id": 0, "eos_token_id": 1}
IDS = torch.tensor([[0, 5, 77, 130, 200, 9, 31, 280]])


def unlisted(kind: str) -> PreTrainedModel:
    if kind == "gptj":
        config = AutoConfig.for_model("gptj", vocab_size=300, n_positions=256, **GPTJ, **ENDS)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return AutoModelForCausalLM.from_config(config).float().eval()
    return tiny("llama", model_type=kind, **(UNLISTED[kind] or {}))


@pytest.mark.parametrize("kind", UNLISTED)
@torch.no_grad()
def test_a_family_whose_blocks_resume_exactly_is_accepted(kind: str, tmp_path: Path):
    assert kind not in FAMILIES
    unlisted(kind).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    model = load(str(tmp_path), device="cpu").model
    wanted = model(IDS, use_cache=False).logits
    for layer in (1, 2):
        hidden = run_blocks(model, IDS, 0, None, layer)
        found = logits(model, run_blocks(model, IDS, layer, hidden))
        assert torch.allclose(found, wanted, rtol=0, atol=1e-5)
    assert {"mlp.down", "attn.o", "attn.q", "mlp", "attn", "block"} <= set(parts.parts(model))
    (piece,) = parts.slices(model, Location.parse("L1.attn.q"))
    assert piece.name.endswith("q_proj.weight")


def _beside(model: PreTrainedModel) -> None:
    """A block that reads what the one below it left beside the stream."""
    below, above = parts.blocks(model)[0], parts.blocks(model)[2]
    left: list[torch.Tensor] = []
    below.register_forward_pre_hook(lambda _, given: left.append(given[0].clone()))
    above.register_forward_hook(lambda _, __, out: out + left[-1])


def _another_head(model: PreTrainedModel) -> None:
    model.get_output_embeddings = lambda: torch.nn.Linear(32, 300)


def _both_ways(model: PreTrainedModel) -> None:
    parts.blocks(model)[1].register_forward_hook(lambda _, __, out: out + out.mean(1, keepdim=True))


def _no_mlp(model: PreTrainedModel) -> None:
    for block in parts.blocks(model):
        block.other = block.mlp
        del block.mlp


BROKEN = [
    (_beside, "block 1 does not resume exactly"),
    (_another_head, "the logits are not those of its head"),
    (_both_ways, "tokens behind a text change what is said within it"),
    (_no_mlp, "no MLP is found in its blocks"),
]


@pytest.mark.parametrize(
    ("breaking", "words"), BROKEN, ids=lambda one: getattr(one, "__name__", "")
)
def test_the_test_that_failed_is_named(breaking, words: str):
    model = unlisted("olmo")
    breaking(model)
    guessing._guessed.clear()
    with pytest.raises(UsageError, match=words):
        in_memory(model, tiny_tokenizer())


def test_a_type_that_is_no_language_model_is_refused_before_weights(tmp_path: Path):
    save_tiny(tmp_path, "llama")
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"model_type": "llama"', '"model_type": "vit"'))
    with pytest.raises(
        UsageError,
        match=r"model type 'vit' of .* is not supported: it is none of the \d+ in the table",
    ):
        load(str(tmp_path), device="cpu")
