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
from locscope.evaluation.suite import EditQuestions, EvalSuite, Evaluation, observe
from locscope.forward.decoding import TextGenerator
from locscope.forward.prefix_cache import PrefixCache
from locscope.records import Edit, Measure, Probe, ProtocolRow, Trial
from locscope.tuning.trial import as_tuned
from locscope.tuning.workspace import NO_TEXTS, Workspace

ASKED: tuple[tuple[str, EditValue, str], ...] = (
    ("reliability", reliable, MATCHED),
    ("generalization", general, MATCHED),
    ("locality", local, SAME_TOKENS),
)
"""What is measured under every protocol: measure, value of an edit, and the words for it."""


@dataclass(frozen=True)
class Protocol:
    """A way to ask. An empty `prompt_format` is that of the search; without `stops` an answer goes
    on behind a stop token, to the first newline or full stop."""

    name: str
    title: str
    prompt_format: str = ""
    stops: bool = True

    def worded(self, text: str) -> str:
        """The words for how a measure was measured, under this protocol."""
        return text if self.stops else f"{text.replace('stop token, ', '')}; stop tokens ignored"

    def format_for(self, searched: str) -> str:
        """The prompt format where the search had `searched`."""
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
"""The protocols, in the order of their rows."""


@dataclass(frozen=True)
class ProtocolSuite:
    """An evaluation suite under a protocol, the prefix cache over its rows, and the untouched
    model's evaluation.

    Where the protocol is impossible, there is a `reason` and none of them. `searched` marks the
    protocol of the search.
    """

    protocol: Protocol
    suite: EvalSuite | None = None
    prefix_cache: PrefixCache | None = None
    before: Evaluation | None = None
    searched: bool = False
    reason: str = ""


def protocol_suites(workspace: Workspace, edits: Sequence[str]) -> dict[str, ProtocolSuite]:
    """The evaluation suites about these edits by protocol. The model must be untouched."""
    own = [questions.edit for questions in workspace.suite.of(edits)]
    return {name: _protocol_suite(workspace, protocol, own) for name, protocol in PROTOCOLS.items()}


def run_panel(
    workspace: Workspace, trial: Trial, suites: Mapping[str, ProtocolSuite]
) -> tuple[ProtocolRow, ...]:
    """Tunes once as the trial says and asks every evaluation suite; the model's weights are back
    afterwards.

    A row per protocol, then one per form that the edits have, and one for multi-hop questions,
    both of these under the protocol of the search.
    """
    with as_tuned(workspace, trial):
        answers = {name: _asked(entry) for name, entry in suites.items()}
    rows = [_row(entry, answers[name]) for name, entry in suites.items()]
    for name, entry in suites.items():
        now = answers[name]
        if entry.searched and now is not None and entry.before is not None:
            rows += _other_questions(now, entry.before)
    return tuple(rows)


def why_not(text_generator: TextGenerator, protocol: Protocol) -> str:
    """Why a protocol is impossible with this tokenizer; empty where it is not."""
    if protocol.prompt_format == "chat" and not getattr(
        text_generator.tokenizer, "chat_template", None
    ):
        return "the tokenizer has no chat template"
    return ""


def _protocol_suite(
    workspace: Workspace, protocol: Protocol, edits: Sequence[Edit]
) -> ProtocolSuite:
    text_generator, own = workspace.suite.text_generator, workspace.suite.prompt_format
    reason = why_not(text_generator, protocol)
    if reason:
        return ProtocolSuite(protocol, reason=reason)
    prompt_format = protocol.format_for(own)
    searched = protocol.stops and prompt_format == own
    if not searched:
        edits = [replace(edit, forms=(), multihop=()) for edit in edits]
    if not protocol.stops:
        text_generator = replace(text_generator, stops=())
    # Neutral texts and abilities do not depend on the protocol, so they are not asked again.
    suite = prepare(text_generator, edits, NO_TEXTS, prompt_format)
    # Asked from the embeddings on, so that no suite takes a share of the memory for activations.
    prefix_cache = PrefixCache(
        workspace.loaded.model, suite.packed, tokens_at_once=workspace.prefix_cache.tokens_at_once
    )
    return ProtocolSuite(protocol, suite, prefix_cache, _seen(suite, prefix_cache), searched)


def _seen(suite: EvalSuite, prefix_cache: PrefixCache) -> Evaluation:
    return observe(suite, prefix_cache, [one.edit.id for one in suite.edits])


def _asked(entry: ProtocolSuite) -> Evaluation | None:
    if entry.suite is None or entry.prefix_cache is None:
        return None
    return _seen(entry.suite, entry.prefix_cache)


def _row(entry: ProtocolSuite, now: Evaluation | None) -> ProtocolRow:
    protocol, before = entry.protocol, entry.before
    row = ProtocolRow(
        protocol.name,
        protocol.title,
        "protocol",
        reason=entry.reason,
        searched=entry.searched,
    )
    if now is None or before is None:
        return row
    found = tuple(
        edit_measure(name, value, protocol.worded(text), now, before) for name, value, text in ASKED
    )
    return replace(row, measures=found)


def _other_questions(now: Evaluation, before: Evaluation) -> tuple[ProtocolRow, ...]:
    kinds = sorted({probe.kind for questions in now.questions for probe in _forms(questions)})
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


def _forms(questions: EditQuestions) -> tuple[Probe, ...]:
    # A suite without forms has the edits' forms all the same: they were not asked.
    return questions.edit.forms if questions.forms else ()


def _answered(value: EditValue, words: str, now: Evaluation, before: Evaluation) -> Measure:
    return edit_measure("reliability", value, words, now, before)
