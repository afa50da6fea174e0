"""Attribution patching against plain hooks and autograd, TransformerLens, captum, and itself."""

import copy
from dataclasses import replace

import pytest
import torch
from captum.attr import IntegratedGradients
from reference import attribution as slow
from scan_worlds import SCAN_EDITS, SCAN_FAMILIES, scan_context
from worlds import frozen, same, snapshot

from locscope.errors import UsageError
from locscope.interp.attribution import COMPONENTS, estimated
from locscope.interp.corruption import CorruptedPair
from locscope.interp.facts import ROLES, Fact
from locscope.interp.hooked_model import hooked_model_of
from locscope.interp.slopes import ends_of
from locscope.records import ScanOptions
from locscope.scans.run import run_scan

LONG = ((7, 40, 51, 62, 73, 84, 95), (7, 41, 55, 62, 73, 84, 95))
SHORT = ((9, 110, 121, 13, 17), (9, 140, 151, 13, 17))
NOISE = {"samples": 2, "scale": 0.3, "seed": 3}


def corrupted_pairs(**noise):
    """Two facts of other lengths, their subjects at the tokens 1 and 2 swapped or noised."""
    found = []
    for name, (clean, corrupted), answer, distractor in (("a", LONG, 33, 44), ("b", SHORT, 50, 60)):
        fact = Fact(name, clean, (1, 3), (answer,), True, "")
        ids = clean if noise else corrupted
        found.append(CorruptedPair(fact, ids, distractor, **noise))
    return found


def case_of(one: CorruptedPair, metric="logit-diff", sample=0, **padded) -> slow.Case:
    noise = torch.zeros(len(one.ids), 32)
    noise[1:3] = one.noise(32)[sample]
    corrupted = slow.Prompt(one.ids, noise, **padded)
    clean = slow.Prompt(one.fact.ids, 0.0, **padded)
    return slow.Case(clean, corrupted, one.fact.answer[0], one.distractor, metric)


def way_of(model, one: CorruptedPair):
    embed = model.get_input_embeddings()
    clean, corrupted = embed(torch.tensor(one.fact.ids)), embed(torch.tensor(one.ids))
    return clean - corrupted


def close(fast, expected):
    scale = max(1.0, float(expected.abs().max()))
    return torch.allclose(fast, expected, atol=1e-5 * scale, rtol=0)


PADDING = ({}, {"side": "left", "padding": 2}, {"side": "right", "padding": 2})


@pytest.mark.parametrize("family", SCAN_FAMILIES)
def test_equals_plain_hooks_and_autograd(family):
    model = frozen(family)
    hooked, pairs = hooked_model_of(model), corrupted_pairs()
    fast = estimated(hooked, ends_of(hooked, pairs), "logit-diff", steps=3)
    for row, one in enumerate(pairs):
        way = way_of(model, one)
        for layer in range(hooked.layers):
            case = case_of(one, **PADDING[(row + layer) % 3])
            for part, kind in COMPONENTS.items():
                if row == 1 and layer != 1:
                    continue
                plain = fast["attribution"][part][row, layer, : len(one.ids)]
                assert close(plain, slow.attribution(model, case, kind, layer)), (part, layer)
                if layer != 1:
                    continue
                mean = fast["integrated"][part][row, layer, : len(one.ids)]
                assert close(mean, slow.integrated(model, case, kind, layer, way, 3)), part


@pytest.mark.parametrize("family", SCAN_FAMILIES)
def test_atp_star_equals_single_queries_and_keys_and_a_backward_pass_per_dropped_layer(family):
    model = frozen(family)
    hooked, pairs = hooked_model_of(model), corrupted_pairs()
    fast = estimated(hooked, ends_of(hooked, pairs), "logit-diff")["atp-star"]
    model.set_attn_implementation("eager")
    for row, layer in ((0, hooked.layers - 1), (1, 0)):
        one = pairs[row]
        for number, (part, kind) in enumerate(COMPONENTS.items()):
            case = case_of(one, **PADDING[number % 3])
            expected = slow.atp_star(model, case, kind, layer)
            assert close(fast[part][row, layer, : len(one.ids)], expected), (part, layer)
            assert float(expected.max()) > 1e-4


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_noise_is_averaged_over_its_samples_and_probability_is_a_metric(family):
    model = frozen(family)
    hooked, pairs = hooked_model_of(model), corrupted_pairs(**NOISE)
    fast = estimated(hooked, ends_of(hooked, pairs), "probability")["attribution"]
    for row, one in enumerate(pairs):
        for sample in range(2):
            case = case_of(one, "probability", sample, side="left", padding=1)
            for part, kind in COMPONENTS.items():
                found = fast[part][2 * row + sample, 1, : len(one.ids)]
                assert close(found, slow.attribution(model, case, kind, 1)), part


@pytest.mark.parametrize("family", SCAN_FAMILIES)
def test_a_block_is_the_stream_behind_it_which_enters_the_next(family):
    model, one = frozen(family), corrupted_pairs()[1]
    hooked = hooked_model_of(model)
    fast = estimated(hooked, ends_of(hooked, [one]), "logit-diff")["attribution"]["block"][0]
    for layer in range(1, hooked.layers):
        expected = slow.attribution(model, case_of(one), "resid_pre", layer)
        assert close(fast[layer - 1], expected), layer
    # Behind the last block nothing but the last token is read.
    assert not fast[-1, :-1].any()
    assert fast[-1, -1]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_equals_transformer_hooked(family):
    """Where both apply: heads, MLPs and the stream of single pairs, with unfrozen weights."""
    from transformer_lens.tools.analysis import attribution_patch
    from transformer_lens.tools.analysis.attribution_patching import cache_activation_and_gradient

    model = frozen(family)
    hooked, pairs = hooked_model_of(model), corrupted_pairs()
    fast = estimated(hooked, ends_of(hooked, pairs), "logit-diff")["attribution"]
    other = hooked_model_of(copy.deepcopy(model).requires_grad_(True)).bridge
    for row, one in enumerate(pairs):

        def metric(logits, one=one):
            return logits[0, -1, one.fact.answer[0]] - logits[0, -1, one.distractor]

        clean, corrupted = torch.tensor([one.fact.ids]), torch.tensor([one.ids])
        scores = attribution_patch(other, clean, corrupted, metric).node_scores
        largest = max(1.0, *map(abs, scores.values()))
        for node, score in scores.items():
            if node.kind == "attn_head_out":
                found = fast["head"][row, node.layer, node.position, node.head]
            elif node.kind == "mlp_out":
                found = fast["mlp"][row, node.layer, node.position]
            else:
                continue
            # Sums in another order: on two threads 1.1e-6 of the largest was seen.
            assert float(found) == pytest.approx(score, abs=3e-6 * largest), node
        streams = [f"blocks.{layer}.hook_resid_post" for layer in range(hooked.layers)]
        whole, broken = (
            cache_activation_and_gradient(other, ids, metric, streams) for ids in (clean, corrupted)
        )
        for layer, name in enumerate(streams):
            change = whole.activations[name] - broken.activations[name]
            theirs = (change * broken.gradients[name])[0].sum(-1)
            assert close(fast["block"][row, layer, : len(one.ids)], theirs.detach()), name


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_integrated_gradients_equal_captums_and_are_complete(family, monkeypatch):
    """Of the embeddings, which are the stream that enters block 0."""
    monkeypatch.setitem(COMPONENTS, "block", "resid_pre")
    model = frozen(family)
    hooked, one = hooked_model_of(model), corrupted_pairs()[0]
    steps = 24
    fast = estimated(hooked, ends_of(hooked, [one]), "logit-diff", steps)["integrated"]["block"][
        0, 0
    ]
    embed = model.get_input_embeddings()
    clean, corrupted = (embed(torch.tensor([ids])) for ids in (one.fact.ids, one.ids))

    def metric(states):
        handle = embed.register_forward_hook(lambda module, args, out: states)
        ids = torch.tensor([one.ids]).expand(len(states), -1)
        try:
            logits = model(input_ids=ids, use_cache=False).logits[:, -1]
        finally:
            handle.remove()
        return logits[:, one.fact.answer[0]] - logits[:, one.distractor]

    theirs = IntegratedGradients(metric).attribute(
        clean, corrupted, n_steps=steps, method="riemann_middle"
    )
    assert close(fast, theirs[0].sum(-1).float())
    case = case_of(one)
    whole = slow.value(model, case, case.clean) - slow.value(model, case, case.corrupted)
    assert float(fast.sum()) == pytest.approx(whole, abs=1e-2 * max(1, abs(whole)))
    plain = estimated(hooked, ends_of(hooked, [one]), "logit-diff")["attribution"]["block"][0, 0]
    assert abs(float(plain.sum()) - whole) > 10 * abs(float(fast.sum()) - whole)


@pytest.mark.parametrize(("family", "corruption"), [("llama", "noise"), ("gpt2", "swap")])
def test_the_completeness_gap_is_that_of_plain_hooks_and_autograd(family, corruption):
    """Of the embeddings, against the metric of the clean and of the corrupted prompt."""
    options = ScanOptions(corruption=corruption, samples=2, steps=2)
    context = scan_context(family, options=options)
    model, result = context.loaded.model, run_scan("attribution-patching", context)
    embed, each, missed, whole = model.get_input_embeddings(), [], 0.0, 0.0
    for one in context.corrupted_pairs(corruption):
        total = effect = 0.0
        for sample in range(one.samples):
            noise = torch.zeros(len(one.ids), 32)
            noise[slice(*one.fact.span)] = one.noise(32)[sample]
            clean, corrupted = slow.Prompt(one.fact.ids), slow.Prompt(one.ids, noise)
            case = slow.Case(clean, corrupted, one.fact.answer[0], one.distractor)
            way = embed(torch.tensor(one.fact.ids)) - embed(torch.tensor(one.ids)) - noise
            found = slow.integrated(model, case, "resid_pre", 0, way, 2)
            total += float(found.sum()) / one.samples
            effect += slow.value(model, case, clean) - slow.value(model, case, corrupted)
        effect /= one.samples
        missed, whole = missed + abs(total - effect), whole + abs(effect)
        each.append(abs(total - effect) / abs(effect))
    (gap,) = result.totals
    assert gap.name == "completeness gap"
    assert gap.count == len(each)
    assert gap.value == pytest.approx(missed / whole, rel=1e-3)
    assert [x for x in gap.values if x == x] == pytest.approx(each, rel=1e-2, abs=1e-4)
    assert any(f"completeness gap {gap.value:.1%}" in note for note in result.notes)
    finer = run_scan("attribution-patching", replace(context, options=replace(options, steps=16)))
    assert finer.totals[0].value < gap.value / 2
    plain = run_scan("attribution-patching", replace(context, options=replace(options, steps=0)))
    assert not plain.totals
    assert not any("completeness" in note for note in plain.notes)


def test_the_own_layers_pass_gives_nothing_and_the_others_something():
    """What is dropped: in a model of two layers, each node has exactly one pass."""
    model = frozen("llama", num_hidden_layers=2)
    hooked, one = hooked_model_of(model), corrupted_pairs()[0]
    fast = estimated(hooked, ends_of(hooked, [one]), "logit-diff")
    case = case_of(one)
    for kind in ("attn_out", "mlp_out"):
        for layer in (0, 1):
            assert not slow.attribution(model, case, kind, layer, layer).any()
    other = slow.attribution(model, case, "mlp_out", 0, 1).abs()
    assert close(fast["atp-star"]["mlp"][0, 0], other)


def test_one_layer_has_nothing_to_drop():
    model = frozen("llama", num_hidden_layers=1)
    hooked, one = hooked_model_of(model), corrupted_pairs()[0]
    fast = estimated(hooked, ends_of(hooked, [one]), "logit-diff")
    for part in ("block", "attn", "mlp", "head", "attn.v"):
        assert close(fast["atp-star"][part], fast["attribution"][part].abs())


def test_the_batch_decides_nothing_and_the_model_is_left_as_it_was():
    options = ScanOptions(corruption="noise", samples=2, steps=2)
    whole = scan_context("qwen3", options=options)
    before = snapshot(whole.loaded.model)
    first, again = run_scan("attribution-patching", whole), run_scan("attribution-patching", whole)
    # As text, where not measured equals not measured.
    assert repr(first.scores) == repr(again.scores)
    small = run_scan(
        "attribution-patching", scan_context("qwen3", options=options, tokens_at_once=40)
    )
    assert len(first.scores) == len(small.scores)
    for one, other in zip(first.scores, small.scores, strict=True):
        assert one.values == pytest.approx(other.values, rel=1e-5, abs=1e-5, nan_ok=True)
    assert same(whole.loaded.model, before)
    assert all(p.grad is None and not p.requires_grad for p in whole.loaded.model.parameters())
    bridge = whole.hooked.bridge
    assert not any(point.fwd_hooks or point.bwd_hooks for point in bridge.hook_dict.values())


def test_scores_are_means_over_facts_of_sums_over_tokens():
    context = scan_context("llama", options=ScanOptions(corruption="noise", samples=2, steps=2))
    result = run_scan("attribution-patching", context)
    assert result.variants == ("attribution", "integrated", "atp-star")
    assert (result.requests, result.usable) == (len(SCAN_EDITS), len(SCAN_EDITS) - 1)
    assert {s.role for s in result.scores} == {"", *ROLES}
    assert {s.part for s in result.scores} == {
        "block", "attn", "mlp", "attn.q", "attn.k", "attn.v"
    }  # fmt: skip
    heads = {
        s.part: 1 + max(t.head for t in result.scores if t.part == s.part) for s in result.scores
    }
    assert heads == {"block": 0, "mlp": 0, "attn": 4, "attn.q": 4, "attn.k": 2, "attn.v": 2}
    # Without a norm behind attention, a layer's attention is the sum of its heads.
    for layer in range(3):
        mine = [
            s
            for s in result.scores
            if (s.variant, s.layer, s.part, s.role) == ("attribution", layer, "attn", "")
        ]
        whole, *parts = sorted(mine, key=lambda s: s.head)
        assert whole.score == pytest.approx(sum(s.score for s in parts), abs=1e-5)
    # The map of the first fact holds the cells that its score sums.
    shown = next(m for m in result.maps if (m.variant, m.part) == ("attribution", "mlp"))
    assert shown.edit == "p"
    assert "".join(shown.tokens[i] for i in shown.subject).strip() == "France"
    for layer, cells in enumerate(shown.values):
        score = result.of_locations("attribution")[layer, "mlp"]
        assert score.values[0] == pytest.approx(sum(cells), rel=1e-3, abs=1e-5)
        last = next(
            s
            for s in result.scores
            if (s.variant, s.layer, s.part, s.role) == ("attribution", layer, "mlp", "last")
        )
        assert last.values[0] == pytest.approx(cells[-1], rel=1e-3, abs=1e-6)
    assert len({m.edit for m in result.maps}) == result.usable


def test_without_partners_nothing_is_usable_and_wrong_options_are_named():
    edits = tuple(replace(edit, subject="") for edit in SCAN_EDITS)
    for corruption in ("swap", "noise"):
        options = ScanOptions(corruption=corruption)
        result = run_scan("attribution-patching", scan_context("llama", edits, options=options))
        assert (result.usable, result.scores) == (0, ())
        assert result.notes
    with pytest.raises(UsageError, match="unknown corruption 'nois'"):
        run_scan(
            "attribution-patching", scan_context("llama", options=ScanOptions(corruption="nois"))
        )
    with pytest.raises(UsageError, match="unknown metric 'logit-dif'"):
        run_scan(
            "attribution-patching", scan_context("llama", options=ScanOptions(metric="logit-dif"))
        )
