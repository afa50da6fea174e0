"""The hooked model, and the self-test that stands before it."""

from dataclasses import replace

import pytest
import torch
from families import FAMILIES, tiny

from locscope.errors import UsageError
from locscope.forward.blocks import run_blocks
from locscope.forward.head import logits
from locscope.interp import hooked_model as hooked_module
from locscope.interp import linear
from locscope.interp.hooked_model import (
    ACTIVATIONS,
    hook_name,
    hooked_model_of,
    probing,
    recording,
    with_hooks,
)
from locscope.interp.self_test import check_hooked_model

IDS = (0, 7, 30, 99, 200, 41)


def hooked_for(family, **changes):
    model = tiny(family, **changes).requires_grad_(False)
    return model, hooked_model_of(model)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_passes_the_self_test_and_shares_its_weights(family):
    model, hooked = hooked_for(family)
    check_hooked_model(hooked, model, IDS)
    shared = {id(parameter) for parameter in model.parameters()}
    assert shared <= {id(parameter) for parameter in hooked.bridged.parameters()}
    assert not any(point.fwd_hooks for point in hooked.points.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_activations_are_finite_differences(family):
    _, hooked = hooked_for(family)
    ids = torch.tensor([IDS])
    kinds = [kind for kind in ACTIVATIONS if kind not in ("mlp_in", "scores")]
    names = [hook_name(kind, 1) for kind in kinds]
    with probing(hooked, *names) as zeros:
        out = logits(hooked.bridged, run_blocks(hooked.bridged, ids))[0, -1, 5]
    found = torch.autograd.grad(out, [zeros[name] for name in names])
    for name, gradient in zip(names, found, strict=True):
        direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(1))
        ends = []
        for step in (1e-3, -1e-3):
            with torch.no_grad(), with_hooks(hooked, {name: lambda v, d=step * direction: v + d}):
                ends.append(
                    float(logits(hooked.bridged, run_blocks(hooked.bridged, ids))[0, -1, 5])
                )
        slope = (ends[0] - ends[1]) / 2e-3
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=0.03, abs=3e-2), name


def test_hooks_are_gone_after_an_error():
    _, hooked = hooked_for("llama")
    with (
        pytest.raises(ZeroDivisionError),
        recording(hooked, hook_name("z", 0), hook_name("mlp_out", 1)),
    ):
        raise ZeroDivisionError
    assert not any(point.fwd_hooks for point in hooked.points.values())


def test_nested_hooks_on_one_place_work_in_turn():
    _, hooked = hooked_for("llama")
    name, ids = hook_name("mlp_out", 1), torch.tensor([IDS])
    with (
        torch.no_grad(),
        with_hooks(hooked, {name: torch.zeros_like}),
        recording(hooked, name) as seen,
    ):
        run_blocks(hooked.bridged, ids)
    assert float(seen[name].abs().max()) == 0.0


def test_an_unknown_hook_is_named():
    _, hooked = hooked_for("llama")
    with (
        pytest.raises(UsageError, match=r"has no hook blocks\.9\.hook_mlp_out"),
        with_hooks(hooked, {hook_name("mlp_out", 9): torch.zeros_like}),
    ):
        pass


def test_an_architecture_that_cannot_be_hooked_is_refused():
    class Unheard(type(tiny("llama"))):
        pass

    model = tiny("llama")
    model.__class__ = Unheard
    with pytest.raises(UsageError, match="TransformerLens cannot hook Unheard"):
        hooked_model_of(model)


def test_the_self_test_finds_a_bridged_that_answers_differently():
    model, _ = hooked_for("llama")
    _, other = hooked_for("llama", seed=1)
    with pytest.raises(UsageError, match=r"self-test .* its logits differ"):
        check_hooked_model(other, model, IDS)


def test_the_self_test_finds_a_silent_hook(monkeypatch):
    model, hooked = hooked_for("llama")
    monkeypatch.setitem(hooked_module.ACTIVATIONS, "v", "blocks.{}.attn.hook_rot_k_gone")
    with pytest.raises(UsageError, match="hook_rot_k_gone"):
        check_hooked_model(hooked, model, IDS)
    monkeypatch.setitem(hooked_module.ACTIVATIONS, "v", "blocks.{}.attn.o.never")
    points = {**hooked.points, **{f"blocks.{n}.attn.o.never": _Silent() for n in range(3)}}
    dead = replace(hooked, points=points)
    with pytest.raises(UsageError, match=r"hook blocks\.0\.attn\.o\.never fires 0 times"):
        check_hooked_model(dead, model, IDS)


WRITTEN = sorted(set(ACTIVATIONS) - set(hooked_module.READ_ONLY))


@pytest.mark.parametrize("kind", WRITTEN)
def test_the_self_test_finds_a_hook_whose_writing_is_not_read(kind):
    model, hooked = hooked_for("llama")
    name = hook_name(kind, 2)
    deaf = {**hooked.points, name: _Deaf(hooked.points[name])}
    with pytest.raises(UsageError, match=f"writing to {name} changes nothing"):
        check_hooked_model(replace(hooked, points=deaf), model, IDS)


class _Deaf:
    """A hook point that shows what passes and forgets what it is given back."""

    def __init__(self, point):
        self.point, self.fwd_hooks = point, point.fwd_hooks

    def add_hook(self, hook):
        def forgetful(value, **more):
            hook(value, **more)

        return self.point.add_hook(forgetful)


class _Silent:
    """A hook point that nothing ever calls."""

    def __init__(self):
        self.fwd_hooks = []

    def add_hook(self, hook):
        from types import SimpleNamespace

        handle = SimpleNamespace(hook=SimpleNamespace(remove=lambda: None))
        self.fwd_hooks.append(handle)
        return handle


def test_the_self_test_finds_heads_that_do_not_sum_up(monkeypatch):
    model, hooked = hooked_for("gpt2")
    monkeypatch.setattr("locscope.interp.self_test.output_bias", lambda *_: None)
    with pytest.raises(UsageError, match="the heads of layer 0 do not sum to their output"):
        check_hooked_model(hooked, model, IDS)
    assert linear.output_bias(model, 0) is not None
