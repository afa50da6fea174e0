"""Slow and obvious: one text at a time through the plain model, autograd, torch's own hooks."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from locscope.models.families import FAMILIES
from locscope.models.parts import slices, take
from locscope.records import LayerPart

Named = Mapping[str, Tensor]


def gradients(model: PreTrainedModel, loss) -> dict[str, Tensor]:
    """The gradient of `loss()` for every parameter of the model's layers."""
    layers = FAMILIES[model.config.model_type].owner, FAMILIES[model.config.model_type].layers
    named = {n: p for n, p in model.named_parameters() if n.startswith(".".join(layers) + ".")}
    for parameter in named.values():
        parameter.requires_grad_(True)
    found = torch.autograd.grad(loss(), list(named.values()))
    for parameter in named.values():
        parameter.requires_grad_(False)
    return dict(zip(named, found, strict=True))


def at(model: PreTrainedModel, place: LayerPart, values: Named) -> Tensor:
    """The elements of a place out of tensors shaped like the parameters, end to end."""
    pieces = slices(model, place.location)
    return torch.cat([take(values[piece.name], piece).double() for piece in pieces])


def answer_loss(
    model: PreTrainedModel, ids: Sequence[int], answer: int, final: int = -1, pads: int = 0
) -> Tensor:
    """Negative log-probability of `ids[answer:]` (and of `final` behind it), summed; `pads` tokens
    of padding stand on the left, or on the right where it is negative."""
    left, right = [2] * max(pads, 0), [2] * max(-pads, 0)
    tokens = torch.tensor([[*left, *ids, *right]])
    mask = torch.tensor([[0] * len(left) + [1] * len(ids) + [0] * len(right)])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    out = model(input_ids=tokens, attention_mask=mask, position_ids=positions, use_cache=False)
    wanted = [*ids[answer:], *([final] if final >= 0 else [])]
    first = len(left) + answer - 1
    logits = out.logits[0, first : first + len(wanted)]
    return F.cross_entropy(logits, torch.tensor(wanted), reduction="sum")


def mean_of(found: Sequence[Named]) -> dict[str, Tensor]:
    return {name: sum(one[name] for one in found) / len(found) for name in found[0]}


def forecast(
    model: PreTrainedModel,
    place: LayerPart,
    fitting: Sequence[Named],
    rephrases: Sequence[Sequence[Named]],
    neighbours: Sequence[Sequence[Named]],
) -> tuple[Tensor, Tensor]:
    """Gain and damage of every scored edit, from gradients of all texts, each edit's own list."""
    s = at(model, place, mean_of(fitting)).sign()
    gain = [torch.stack([s @ at(model, place, g) for g in some]).mean() for some in rephrases]
    damage = [
        torch.stack([(s @ at(model, place, g)) ** 2 for g in some]).mean() for some in neighbours
    ]
    return torch.stack(gain), torch.stack(damage)


class Gates:
    """Multipliers of units by kind and layer, to be set, differentiated or left at 1."""

    def __init__(self, model: PreTrainedModel) -> None:
        family, config = FAMILIES[model.config.model_type], model.config
        blocks = model.get_submodule(f"{family.owner}.{family.layers}")
        self.modules = {
            (kind, i): block.get_submodule(family.leaves[part])
            for i, block in enumerate(blocks)
            for kind, part in (("up", "mlp.up"), ("down", "mlp.down"), ("heads", "attn.o"))
        }
        self.drops = {}
        for i, block in enumerate(blocks):
            own = ("down", "heads") if model.config.model_type != "gemma2" else ()
            for kind, name in zip(("mlp_out", "attn_out"), own, strict=False):
                self.drops[kind, i] = self.modules[name, i]
            if not own:
                self.drops["attn_out", i] = block.post_attention_layernorm
                self.drops["mlp_out", i] = block.post_feedforward_layernorm
        width, hidden = config.hidden_size, 48
        sizes = {"up": hidden, "down": width, "heads": config.num_attention_heads}
        self.values = {
            (kind, i): torch.ones(sizes[kind], dtype=model.dtype) for kind, i in self.modules
        }


@contextmanager
def gated(gates: Gates, noise) -> Iterator[None]:
    """Plain forward hooks that gate units and then drop; `noise(kind, layer)` is (seq, width)."""
    with ExitStack() as stack:
        for (kind, i), module in gates.modules.items():
            gate = gates.values[kind, i]
            if kind == "heads":

                def before(_, args, gate=gate):
                    (z,) = args
                    return ((z.unflatten(-1, (len(gate), -1)) * gate[:, None]).flatten(-2),)

                stack.enter_context(_removing(module.register_forward_pre_hook(before)))
            else:
                hook = module.register_forward_hook(lambda _m, _a, out, gate=gate: out * gate)
                stack.enter_context(_removing(hook))
        for (kind, i), module in gates.drops.items():
            hook = module.register_forward_hook(
                lambda _m, _a, out, kind=kind, i=i: out * noise(kind, i).to(out)
            )
            stack.enter_context(_removing(hook))
        yield


@contextmanager
def _removing(handle) -> Iterator[None]:
    yield
    handle.remove()


def divergence(
    model: PreTrainedModel, gates: Gates, text: Sequence[int], noise, pads: int = 0
) -> Tensor:
    """0.1 KL(first || second) of one text; `noise(which, kind, layer)` is (tokens, width)."""
    left, right = max(pads, 0), max(-pads, 0)
    tokens = torch.tensor([[2] * left + list(text) + [2] * right])
    mask = torch.tensor([[0] * left + [1] * len(text) + [0] * right])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    said = []
    for which in (0, 1):

        def wide(kind: str, layer: int, which: int = which) -> Tensor:
            return F.pad(noise(which, kind, layer), (0, 0, left, right))

        with gated(gates, wide):
            out = model(
                input_ids=tokens, attention_mask=mask, position_ids=positions, use_cache=False
            )
        said.append(out.logits[0, left : left + len(text)].log_softmax(-1))
    return 0.1 * (said[0].exp() * (said[0] - said[1])).sum()


def importances(model, text: Sequence[int], noise, pads: int = 0) -> dict[tuple[str, int], Tensor]:
    """|dL/dg| per token of one text, for every unit."""
    gates = Gates(model)
    for gate in gates.values.values():
        gate.requires_grad_(True)
    loss = divergence(model, gates, text, noise, pads)
    found = torch.autograd.grad(loss, list(gates.values.values()))
    return {key: g.abs() / len(text) for key, g in zip(gates.values, found, strict=True)}
