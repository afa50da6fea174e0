"""One tuned model asked under several protocols: other prompt formats, no stop tokens, forms.

The same edited weights may score 0.99 in one protocol and 0.25 in another, so the recommendation
is shown in several. A protocol is an entry of `PROTOCOLS`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from locscope.evaluation.build_suite import prepare
from locscope.evaluation.measures.locality import SAME_TOKENS
from locscope.evaluation.measures.matches import MATCHED, multihop, right_in
from locscope.evaluation.measures.outcomes import EditValue, edit_measure, general, local, reliable
from locscope.evaluation.suite import EditQuestions, EvalSuite, EvalTexts, Evaluation, observe
from locscope.forward.decoding import TextGenerator
from locscope.forward.prefix_cache import PrefixCache
from locscope.records import Edit, Measure, Probe, ProtocolRow, Trial
from locscope.tuning.trial import TrialContext, as_tuned

NOTHING = EvalTexts(neutral=())
"""Neutral texts and abilities are read as they are under any protocol, so they are not asked."""
ASKED: tuple[tuple[str, EditValue, str], ...] = (
    ("reliability", reliable, MATCHED),
    ("generalization", general, MATCHED),
    ("locality", local, SAME_TOKENS),
)
"""What is measured under every protocol, and how it says so."""


@dataclass(frozen=True)
class Protocol:
    """A way to ask: `prompt_format` as in the search where it is empty; without `stops` an answer
    goes on behind a stop token, to the first newline or full stop."""

    name: str
    title: str
    prompt_format: str = ""
    stops: bool = True

    def worded(self, text: str) -> str:
        """How a measure says that it was measured, under this protocol."""
        return text if self.stops else f"{text.replace('stop token, ', '')}; stop tokens ignored"

    def format_for(self, searched: str) -> str:
        """Its prompt format, where the search had `searched`."""
        return self.prompt_format or searched


PROTOCOLS: dict[str, Protocol] = {
    one.name: one
    for one in (
        Protocol("raw", "prompt as it stands", "raw"),
        Protocol("chat", "chat template", "chat"),
        Protocol("qa", "question context", "qa"),
        Protocol("no-stop", "stop tokens ignored, what follows them counts", stops=False),
    )
}
"""The protocols, as their rows stand."""


@dataclass(frozen=True)
class Sitting:
    """An evaluation suite under a protocol, the prefix cache over its rows, and what the untouched
    model said.

    One that cannot be held has a `reason` and none of them.
    """

    protocol: Protocol
    suite: EvalSuite | None = None
    prefix_cache: PrefixCache | None = None
    before: Evaluation | None = None
    searched: bool = False
    reason: str = ""


def sittings(context: TrialContext, edits: Sequence[str]) -> dict[str, Sitting]:
    """The evaluation suites about these edits by protocol. The model must be untouched."""
    asked = [one.edit for one in context.suite.of(edits)]
    return {name: _sitting(context, one, asked) for name, one in PROTOCOLS.items()}


def run_panel(
    context: TrialContext, trial: Trial, suites: Mapping[str, Sitting]
) -> tuple[ProtocolRow, ...]:
    """Tunes once as the trial says and asks every evaluation suite; the model's weights are back
    afterwards.

    A row per protocol, then one per form that the edits have, and one for multi-hop questions,
    both of these under the protocol of the search.
    """
    with as_tuned(context, trial):
        said = {name: _asked(sitting) for name, sitting in suites.items()}
    rows = [_row(sitting, said[name]) for name, sitting in suites.items()]
    for name, sitting in suites.items():
        now = said[name]
        if sitting.searched and now is not None and sitting.before is not None:
            rows += _other_questions(now, sitting.before)
    return tuple(rows)


def why_not(text_generator: TextGenerator, protocol: Protocol) -> str:
    """Why a protocol cannot be held with this tokenizer; empty where it can."""
    if protocol.prompt_format == "chat" and not getattr(
        text_generator.tokenizer, "chat_template", None
    ):
        return "the tokenizer has no chat template"
    return ""


def _sitting(context: TrialContext, protocol: Protocol, edits: Sequence[Edit]) -> Sitting:
    text_generator, own = context.suite.text_generator, context.suite.prompt_format
    reason = why_not(text_generator, protocol)
    if reason:
        return Sitting(protocol, reason=reason)
    put = protocol.format_for(own)
    searched = protocol.stops and put == own
    if not searched:
        edits = [replace(edit, forms=(), multihop=()) for edit in edits]
    if not protocol.stops:
        text_generator = replace(text_generator, stops=())
    suite = prepare(text_generator, edits, NOTHING, put)
    # Asked from the embeddings on: nothing is kept that more evaluation suites would have to share.
    prefix_cache = PrefixCache(
        context.loaded.model, suite.packed, tokens_at_once=context.prefix_cache.tokens_at_once
    )
    return Sitting(protocol, suite, prefix_cache, _seen(suite, prefix_cache), searched)


def _seen(suite: EvalSuite, prefix_cache: PrefixCache) -> Evaluation:
    return observe(suite, prefix_cache, [one.edit.id for one in suite.edits])


def _asked(sitting: Sitting) -> Evaluation | None:
    if sitting.suite is None or sitting.prefix_cache is None:
        return None
    return _seen(sitting.suite, sitting.prefix_cache)


def _row(sitting: Sitting, now: Evaluation | None) -> ProtocolRow:
    protocol, before = sitting.protocol, sitting.before
    row = ProtocolRow(
        protocol.name,
        protocol.title,
        "protocol",
        reason=sitting.reason,
        searched=sitting.searched,
    )
    if now is None or before is None:
        return row
    found = tuple(
        edit_measure(name, value, protocol.worded(text), now, before) for name, value, text in ASKED
    )
    return replace(row, measures=found)


def _other_questions(now: Evaluation, before: Evaluation) -> tuple[ProtocolRow, ...]:
    kinds = sorted({probe.kind for one in now.questions for probe in _forms(one)})
    rows = [
        ProtocolRow(
            f"form: {kind}" if kind else "form",
            f"asked in another form{f' ({kind})' if kind else ''}",
            "form",
            (_answered(right_in(kind), f"{kind}; {MATCHED}", now, before),),
        )
        for kind in kinds
    ]
    follows = multihop(now, before)
    if follows.count:
        words = f"multi-hop; {follows.protocol}"
        measure = replace(follows, name="reliability", protocol=words)
        rows.append(ProtocolRow("multi-hop", "what follows from the edit", "multihop", (measure,)))
    return tuple(rows)


def _forms(one: EditQuestions) -> tuple[Probe, ...]:
    return one.edit.forms if one.forms else ()


def _answered(value: EditValue, words: str, now: Evaluation, before: Evaluation) -> Measure:
    return edit_measure("reliability", value, words, now, before)
