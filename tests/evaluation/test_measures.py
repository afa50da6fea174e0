from dataclasses import replace
from importlib import import_module
from math import exp, inf, isnan, nan

import pytest
import torch
from worlds import MATERIAL, frozen, tokenizer, tune_in_place, world

from locscope.errors import UsageError
from locscope.evaluation.drift import Drift, drift
from locscope.evaluation.measures import MEASURES, UNLISTED, listed
from locscope.evaluation.measures.outcomes import answered_already, outcome_of
from locscope.evaluation.measuring import load_measure, measure_all
from locscope.evaluation.questions import Answer, Question
from locscope.evaluation.suite import (
    Ability,
    EditAnswers,
    EditQuestions,
    Evaluation,
    observe,
    quick_eval,
)
from locscope.forward.packed import TokenRow
from locscope.records import Edit, Probe, Recipe

NOTHING = Drift((), (), (), ())
UNTOUCHED = Drift((4.0, 2.0), (0.0, 0.0), (4, 1), (3.0, 5.0))


def question(wanted):
    return Question(0, TokenRow((0, 1), 1), (0,), wanted, closed=False)


def answer(text, ending="text", strict=False, accuracy=0.5, kept=False, argmaxes=()):
    return Answer(text, strict, ending, False, accuracy, -1.0, kept, argmaxes)


def asked(name, **changes):
    nothing = {"rephrases": (), "neighbours": (), "forms": (), "multihop": ()}
    fields = {**nothing, "stated": (), "spoke_on": (), **changes}
    return EditQuestions(Edit(name, f"p {name}", "Rome"), (0,), question("Rome"), **fields)


def said(target, rephrases=(), neighbours=(), forms=(), multihop=(), recited=()):
    return EditAnswers(target, rephrases, neighbours, forms, multihop, recited)


def seen(pairs, abilities=(), drift=UNTOUCHED):
    """An observation of (questions, answers) pairs and of (item, answer, right) abilities."""
    questions, answers = zip(*pairs, strict=True) if pairs else ((), ())
    items, given, right = zip(*abilities, strict=True) if abilities else ((), (), ())
    return Evaluation(questions, answers, items, given, right, drift, "raw")


def value(name, now, before=None):
    found = load_measure(name)(now, before or now)
    assert found.name == name
    assert found.protocol
    return found


def test_reliability_counts_normalised_and_strict_matches():
    now = seen(
        [
            (asked("a"), said(answer("the rome", "text"))),
            (asked("b"), said(answer("Rome", "stop", strict=True, accuracy=1.0))),
            (asked("c"), said(answer("Paris", accuracy=0.0))),
        ]
    )
    before = seen([(asked(n), said(answer("Paris", accuracy=0.0))) for n in "abc"])
    found = value("reliability", now, before)
    assert (found.value, found.count, found.before) == (2 / 3, 3, 0.0)
    assert found.low <= found.value <= found.high
    assert value("reliability_strict", now).value == 1 / 3
    assert value("token_accuracy", now).value == pytest.approx(0.5)


def test_rephrases_and_neighbours_are_means_per_edit():
    two = (question("Rome"), question("Rome"))
    kept = (question("Tokyo"), question("gold is"))
    one = asked("a", rephrases=two, neighbours=kept, stated=("Tokyo", ""), spoke_on=(True, False))
    alone = asked("b", rephrases=two[:1], neighbours=kept[:1], stated=("Kyoto",), spoke_on=(True,))
    now = seen(
        [
            (
                one,
                said(
                    answer("Rome"),
                    (answer("Rome"), answer("x")),
                    (answer("tokyo", "stop"), answer("gold is", "stop", kept=True)),
                ),
            ),
            (alone, said(answer("Rome"), (answer("Rome"),), (answer("Tokyo", kept=True),))),
            (asked("c"), said(answer("Rome"))),
        ]
    )
    assert value("generalization", now).value == 0.75
    assert value("generalization", now).count == 2
    assert value("locality", now).value == 0.75
    assert value("locality_span", now).value == 0.75, "the same words in another case are others"
    assert value("neighbour_accuracy", now).value == 0.5, "stated answers are normalised"
    assert value("format_leakage", now).value == 0.5, "only where the untouched model went on"
    outcome = outcome_of(now.questions[2], now.edits[2], now.edits[2])
    assert isnan(outcome.generalization)
    assert isnan(outcome.locality)


def test_broken_neighbours_are_named():
    probes = (Probe("p one", "Tokyo"), Probe("p two", "Kyoto"))
    one = asked("a", neighbours=(question("Tokyo"), question("Kyoto")))
    one = replace(one, edit=replace(one.edit, neighbours=probes))
    given = said(answer("Rome"), neighbours=(answer("Tokyo"), answer("x", kept=True)))
    outcome = outcome_of(one, given, given)
    assert (outcome.locality, outcome.broken) == (0.5, ("p one",))


def test_teacher_forced_locality_counts_arg_maxes():
    def reads(*rows):
        return said(answer("Rome"), recited=tuple(answer("", argmaxes=row) for row in rows))

    pair = (asked("a"), asked("b"))
    before = seen(list(zip(pair, (reads((1, 2), (3,)), reads((4, 5))), strict=True)))
    now = seen(list(zip(pair, (reads((1, 9), (3,)), reads((9, 9))), strict=True)))
    found = value("locality_tokens", now, before)
    assert (found.value, found.count, found.before) == (0.375, 2, 1.0)
    hurried = seen([(one, said(answer("Rome"))) for one in pair])
    assert value("locality_tokens", hurried, before).count == 0


def test_edits_that_are_answered_before_any_tuning_are_named():
    before = seen(
        [(asked("a"), said(answer("Rome"))), (asked("b"), said(answer("Romania"))),
         (asked("c"), said(answer("“rome”")))]
    )  # fmt: skip
    assert answered_already(before) == ("a", "c")


def test_a_table_for_people_leaves_out_what_is_easily_mistaken():
    found = measure_all(seen([]), seen([]))
    hidden = {one.name for one in found} - {one.name for one in listed(found)}
    assert hidden == UNLISTED == {"mean_perplexity_ratio"}


def test_forms_are_judged_by_the_worst():
    probes = (Probe("q", "Rome", "question"), Probe("c", "A", "choice"))
    forms = (question("Rome"), question("A"))
    pairs = []
    for name, choice in (("a", "A"), ("b", "B")):
        one = replace(asked(name, forms=forms), edit=Edit(name, f"p {name}", "Rome", forms=probes))
        pairs.append((one, said(answer("Rome"), forms=(answer("Rome"), answer(choice)))))
    found = value("forms", seen(pairs))
    assert (found.value, found.count) == (0.5, 2)
    assert found.protocol.startswith("choice; ")
    hurried = [(replace(q, forms=()), replace(a, forms=())) for q, a in pairs]
    assert value("forms", seen(hurried)).count == 0


def test_multihop():
    one = asked("a", multihop=(question("Italian"), question("Lira")))
    now = seen([(one, said(answer("Rome"), multihop=(answer("italian"), answer("Yen"))))])
    assert value("multihop", now).value == 0.5


def test_retention_is_corrected_for_chance():
    half, none = Ability("choice", "p", "1", chance=0.5), Ability("sum", "p", "1")
    right, wrong = answer("1"), answer("2")

    def able(*answers):
        return seen([], [(i, a, "1") for i, a in zip((half, half, none), answers, strict=True)])

    before = able(right, right, right)
    assert value("retention", before, before).value == 1.0
    assert value("retention", able(right, wrong, right), before).value == pytest.approx(1 / 3)
    assert value("retention", able(right, right, right), able(right, right, wrong)).value == 1.5
    guessing = able(right, wrong, wrong)
    assert value("retention", before, guessing).count == 0, "nothing to retain"


def test_drift_by_hand():
    now = seen([], drift=Drift((6.0, 4.0), (1.0, 0.25), (4, 1), (30.0, 10.0)))
    before = seen([])
    found = value("perplexity_ratio", now, before)
    assert found.value == pytest.approx(exp(10 / 5) / exp(6 / 5))
    assert found.low <= found.value <= found.high
    assert value("mean_perplexity_ratio", now, before).value == 5.0
    assert value("kl", now, before).value == pytest.approx(1.25 / 5)


@pytest.mark.parametrize("name", MEASURES)
def test_nothing_to_measure_is_nan_with_count_0(name):
    nothing = seen([], drift=NOTHING)
    found = value(name, nothing)
    assert isnan(found.value)
    assert isnan(found.low)
    assert found.count == 0


@pytest.mark.parametrize("bad", [nan, inf])
def test_losses_that_are_no_numbers_stay_so(bad):
    before = seen([])
    now = seen([], drift=Drift((bad, 1.0), (bad, 0.1), (4, 1), (bad, 2.0)))
    for name in ("perplexity_ratio", "mean_perplexity_ratio", "kl"):
        found = value(name, now, before)
        assert found.value == bad or (isnan(bad) and isnan(found.value))
        assert found.count == 2
        assert isnan(found.low)
    far = seen([], drift=Drift((1e6, 1.0), (1e6, 0.1), (4, 1), (inf, 2.0)))
    assert value("perplexity_ratio", far, before).value == inf


def test_every_entry_has_a_function_and_says_what_it_is():
    for name, entry in MEASURES.items():
        module, function = entry.function.split(":")
        assert callable(getattr(import_module(module), function))
        assert entry.name == name
        assert entry.title
        assert entry.note
        assert entry.source
        assert entry.sign in (1, -1)
    with pytest.raises(UsageError, match="unknown measure 'localty': did you mean locality"):
        load_measure("localty")


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_every_measure_measures_a_model_against_itself(family):
    one = world(family)
    found = {measure.name: measure for measure in measure_all(one.before, one.before)}
    assert list(found) == list(MEASURES)
    for name in ("locality", "locality_span", "locality_tokens"):
        assert found[name].value == 1.0
    assert found["locality_tokens"].count == 2, "edits with a stated answer"
    assert found["perplexity_ratio"].value == found["mean_perplexity_ratio"].value == 1.0
    assert found["kl"].value == pytest.approx(0, abs=1e-6)
    for name in ("reliability", "reliability_strict", "token_accuracy"):
        assert found[name].count == 3
        assert found[name].value == found[name].before
    assert found["generalization"].count == found["locality"].count == 2
    assert found["neighbour_accuracy"].count == 2
    assert found["forms"].count == found["multihop"].count == 1


def plain_drift(model, untouched):
    """Per neutral text, from full softmaxes in double."""
    losses, divergences, counts, perplexities = [], [], [], []
    for text in MATERIAL.neutral:
        ids = torch.tensor([tokenizer()(text)["input_ids"]])
        p = untouched(ids).logits[0, :-1].double().log_softmax(-1)
        q = model(ids).logits[0, :-1].double().log_softmax(-1)
        losses.append(-float(q.gather(1, ids[0, 1:, None]).sum()))
        divergences.append(float((p.exp() * (p - q)).sum()))
        counts.append(ids.shape[1] - 1)
        bare = ids[:, 1:]
        logp = model(bare).logits[0, :-1].double().log_softmax(-1)
        perplexities.append(exp(-float(logp.gather(1, bare[0, 1:, None]).mean())))
    return Drift(tuple(losses), tuple(divergences), tuple(counts), tuple(perplexities))


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_drift_is_that_of_full_softmaxes(family):
    one = world(family)
    tune_in_place(one.model, "L1.mlp", Recipe(lr=1e-3, batch=4, epochs=2))
    one.context.prefix_cache.enter(1)
    now = observe(one.suite, one.context.prefix_cache, ["a"]).drift
    plain = plain_drift(one.model, frozen(family))
    assert now.tokens == plain.tokens
    for name in ("losses", "divergences", "perplexities"):
        assert getattr(now, name) == pytest.approx(getattr(plain, name), rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("layer", [0, 1])
def test_the_untouched_model_is_not_read_twice(family, layer, monkeypatch):
    """Its drift follows from the states that are kept: to the last bit where they were read at the
    same layer."""
    one = world(family)
    cache, neutral = one.context.prefix_cache, one.suite.neutral
    cache.enter(layer)
    read_again = drift(cache, neutral)
    known = drift(cache, replace(neutral, bare=neutral.texts), untouched=True)
    assert known.losses == pytest.approx(read_again.losses, rel=1e-6 * layer, abs=0)
    assert known.tokens == read_again.tokens
    assert known.divergences == pytest.approx(read_again.divergences, abs=1e-6)
    assert set(known.divergences) == {0.0}
    monkeypatch.setattr(cache, "final", None)
    assert drift(cache, replace(neutral, bare=neutral.texts), untouched=True) == known


def test_halves_of_the_neutral_texts_together_are_all_of_them():
    texts = ("The old answer was here.", "1", "What is the country?", "1 2 3 4", "Book 5: 6")
    one = world("llama", eval_texts=replace(MATERIAL, neutral=texts))
    tune_in_place(one.model, "L1.mlp", Recipe(lr=1e-3, batch=4, epochs=2))
    one.context.prefix_cache.enter(1)
    whole, first, second = (
        observe(one.suite, one.context.prefix_cache, ["a"], texts=some)
        for some in ("all", "choose", "report")
    )
    assert (whole.texts, first.texts, second.texts) == ("all", "choose", "report")
    assert [len(some.drift.tokens) for some in (whole, first, second)] == [4, 2, 2]
    for name in ("losses", "divergences", "tokens", "perplexities"):
        values = getattr(whole.drift, name)
        assert getattr(first.drift, name) == pytest.approx(values[0::2], rel=1e-3), name
        assert getattr(second.drift, name) == pytest.approx(values[1::2], rel=1e-3), name
    before = one.before.of(["a"])
    assert before.on("choose").drift.losses == before.drift.losses[0::2]
    found = {m.name: m for m in measure_all(second, before.on("report"))}
    assert found["kl"].count == found["mean_perplexity_ratio"].count == 2
    quick = quick_eval(one.suite, one.context.prefix_cache, ["a"], texts="report")
    assert quick.drift.losses == pytest.approx(second.drift.losses, rel=1e-3)
    assert measure_all(quick, before.on("report").as_quick)


def test_different_halves_are_never_compared():
    one = world("llama")
    with pytest.raises(ValueError, match="texts 'all' beside that on 'choose'"):
        measure_all(one.before, one.before.on("choose"))
    assert one.before.on("choose").on("choose").texts == "choose"
    with pytest.raises(ValueError, match="'report' cannot be had from 'choose'"):
        one.before.on("choose").on("report")
