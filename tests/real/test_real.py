"""What holds on a real pretrained model, where it is: `make real` brings it (marked `real`)."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from locscope.edits import read_edits
from locscope.evaluation.exact_match import ROUNDING
from locscope.forward.blocks import run_blocks
from locscope.forward.head import logits
from locscope.locations import Location
from locscope.models.gguf import packaged
from locscope.models.load import load
from locscope.models.parts import slices

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(packaged("smollm2") is None, reason="no SmolLM2 here: make real"),
]
SOME = 8
"""Edits that are asked, spread over all of them."""


@pytest.fixture(scope="module")
def loaded() -> Any:
    """SmolLM2, dequantised when it is first read."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load("smollm2", device="cpu")


@torch.no_grad()
def test_blocks_from_any_layer_give_the_models_own_logits(loaded: Any):
    ids = torch.tensor([loaded.tokenizer("The capital of France is Paris.")["input_ids"]])
    wanted = loaded.model(ids, use_cache=False).logits
    for layer in (1, 15, 29):
        hidden = run_blocks(loaded.model, ids, 0, None, layer)
        found = logits(loaded.model, run_blocks(loaded.model, ids, layer, hidden))
        most = ROUNDING[torch.float32] * float(wanted.abs().max())
        assert float((found - wanted).abs().max()) <= most


@torch.no_grad()
def test_it_knows_the_facts_that_are_edited_and_their_neighbours(loaded: Any):
    edits = read_edits("facts").edits
    some = edits[:: max(1, len(edits) // SOME)]
    pairs = [(edit.prompt, edit.old) for edit in some]
    pairs += [(probe.prompt, probe.answer) for edit in some for probe in edit.neighbours[:1]]
    for prompt, answer in pairs:
        ids = loaded.tokenizer(f"{prompt} {answer}", return_tensors="pt")["input_ids"]
        start = len(loaded.tokenizer(prompt)["input_ids"])
        best = loaded.model(ids, use_cache=False).logits[0, start - 1 : -1].argmax(-1)
        assert best.tolist() == ids[0, start:].tolist(), (prompt, answer)


def test_the_gradient_of_a_tuned_part_is_that_of_the_whole_forward(loaded: Any):
    model, layer = loaded.model, 22
    ids = torch.tensor([loaded.tokenizer("The capital of France is Rome.")["input_ids"]])
    (piece,) = slices(model, Location.at(layer, "mlp.down"))
    weight = model.get_parameter(piece.name).requires_grad_(True)
    with torch.no_grad():
        entering = run_blocks(model, ids, 0, None, layer)
    scores = (
        model(ids, use_cache=False).logits,
        logits(model, run_blocks(model, ids, layer, entering)),
    )
    losses = [F.cross_entropy(one[0, :-1].float(), ids[0, 1:]) for one in scores]
    wanted, found = (torch.autograd.grad(loss, weight)[0] for loss in losses)
    weight.requires_grad_(False)
    assert float((found - wanted).norm() / wanted.norm()) <= 1e-5
