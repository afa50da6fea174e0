"""The importance of units, against gates put into the model by hand."""

import pytest
import torch
from torch import nn
from worlds import frozen, prefix_cache_of, world

from locscope.progress import Silent
from locscope.scans.context import ScanContext
from locscope.scans.gradients.dropout_kl import scan
from locscope.tuning.importance import (
    UNITS,
    Importances,
    divergence,
    drawn_by_text,
    gate_slopes,
)
from locscope.tuning.matrices import leaves_of

TEXT = (0, 17, 33, 250, 71, 9)


class Gated(nn.Module):
    """A module of whose input, or of some of whose outputs, every unit is scaled."""

    def __init__(self, module, gate, inputs=False, first=0):
        super().__init__()
        self.module, self.gate, self.inputs, self.first = module, gate, inputs, first

    def forward(self, hidden):
        if self.inputs:
            width = hidden.shape[-1] // len(self.gate)
            return self.module(hidden * self.gate.repeat_interleave(width))
        out = self.module(hidden)
        before = torch.ones(self.first)
        after = torch.ones(out.shape[-1] - self.first - len(self.gate))
        return out * torch.cat([before, self.gate, after])


PLACES = {
    "llama": ("model.layers.1.", "mlp.up_proj", "mlp.down_proj", "self_attn.o_proj"),
    "phi3": ("model.layers.1.", "mlp.gate_up_proj", "mlp.down_proj", "self_attn.o_proj"),
    "gemma2": ("model.layers.1.", "mlp.up_proj", "mlp.down_proj", "self_attn.o_proj"),
    "gpt2": ("transformer.h.1.", "mlp.c_fc", "mlp.c_proj", "attn.c_proj"),
    "gptneox": (
        "gpt_neox.layers.1.",
        "mlp.dense_h_to_4h",
        "mlp.dense_4h_to_h",
        "attention.dense",
    ),
}


@pytest.mark.parametrize("family", PLACES)
def test_slopes_are_those_of_gates(family):
    model = frozen(family).double()
    leaves = {leaf.part: leaf for leaf in leaves_of(model, 1)}
    wanted = [leaves["mlp.up"], leaves["mlp.down"], leaves["attn.o"]]
    draws = drawn_by_text(model)
    mine = [slopes[0] for slopes in gate_slopes(model, [TEXT], wanted, draws)]
    prefix, *names = PLACES[family]
    gates = [torch.ones(len(slope), dtype=torch.float64, requires_grad=True) for slope in mine]
    for i, (name, gate) in enumerate(zip(names, gates, strict=True)):
        fused = family == "phi3" and i == 0
        gated = Gated(model.get_submodule(prefix + name), gate, i == 2, 48 if fused else 0)
        model.set_submodule(prefix + name, gated)
    with divergence(model, [TEXT], draws) as nats:
        theirs = torch.autograd.grad(nats, gates)
    for one, two in zip(mine, theirs, strict=True):
        assert two.abs().max() > 0
        assert float((one - two).norm() / two.norm()) < 1e-5


def test_importance_is_the_positive_part_of_a_squashed_z_score():
    model, packed = frozen("llama"), prefix_cache_of(frozen("llama")).packed
    found = Importances(model, packed, (0, 2)).of([1])
    leaves = {leaf.part: leaf for leaf in leaves_of(model, 1)}
    total = torch.zeros(48)
    for row in (0, 2):
        text = tuple(packed.ids[packed.offsets[row] : packed.offsets[row + 1]].tolist())
        (slopes,) = gate_slopes(model, [text], [leaves["mlp.up"]], drawn_by_text(model))
        total += slopes[0].abs() / len(text)
    z = (total - total.mean()) / total.std(correction=0)
    assert torch.allclose(found[1, "mlp.up"], torch.tanh(z.clamp(min=0)), atol=1e-5)
    assert [len(units) for units in found.values()] == [48, 32, 4]


def test_layers_are_read_once_and_alike_in_any_company():
    model, packed = frozen("llama"), prefix_cache_of(frozen("llama")).packed
    narrow, wide = (Importances(model, packed, (0, 2)) for _ in range(2))
    both, one = wide.of([2, 0]), narrow.of([0])
    assert torch.allclose(both[0, "attn.o"], one[0, "attn.o"], atol=1e-5)
    assert wide.of([0])[0, "attn.o"] is both[0, "attn.o"]
    assert list(both) == [(n, part) for n in (0, 2) for part in UNITS]
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())


def test_without_texts_nothing_is_important():
    model, packed = frozen("gpt2"), prefix_cache_of(frozen("gpt2")).packed
    found = Importances(model, packed, ()).of([1])
    assert not any(units.any() for units in found.values())


def test_it_agrees_with_the_scan_on_which_heads_matter():
    """Other draws of dropout, the same quantity: the scan's heads, before they are squashed."""
    one = world("llama")
    context = ScanContext(
        one.context.loaded, one.suite, one.context.prefix_cache, ("a",), 0, Silent()
    )
    scores = {(s.layer, s.head): s.score for s in scan(context).scores if s.head >= 0}
    packed, rows = one.suite.packed, one.suite.neutral.texts
    mine = []
    for layer in range(3):
        leaf = next(leaf for leaf in leaves_of(one.model, layer) if leaf.part == "attn.o")
        texts = [packed.ids[packed.offsets[row] : packed.offsets[row + 1]] for row in rows]
        texts = [tuple(text.tolist()) for text in texts]
        (slopes,) = gate_slopes(one.model, texts, [leaf], drawn_by_text(one.model))
        lengths = torch.tensor([len(text) for text in texts])
        mine += (slopes.abs() / lengths[:, None]).mean(0).tolist()
    theirs = [10 * scores[layer, head] for layer in range(3) for head in range(4)]
    ratio = sum(mine) / sum(theirs)
    assert 0.5 < ratio < 2
