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
from locscope.evaluation.suite import EditQuestions, Evaluation, observe
from locscope.forward.decoding import TextGenerator
from locscope.forward.prefix_cache import PrefixCache
from locscope.records import Edit, Measure, Probe, ProtocolRow, Trial
from locscope.tuning.trial import as_tuned
from locscope.tuning.workspace import NO_TEXTS, Workspace, trial_threads

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

    def is_that_of(self, searched: str) -> bool:
        """Whether a search with the prompt format `searched` asks just so."""
        return self.stops and self.format_for(searched) == searched


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("raw", "prompt as it stands", "raw"),
        Protocol("chat", "chat template", "chat"),
        Protocol("qa", "question context", "qa"),
        Protocol("no-stop", "stop tokens ignored, what follows them counts", stops=False),
    )
}
"""The protocols, in the order of their rows."""


def protocol_suites(workspace: Workspace, edits: Sequence[str]) -> dict[str, Workspace]:
    """By protocol, where it is possible, a workspace with the evaluation suite about these edits.
    The model must be untouched, and was asked."""
    own = [questions.edit for questions in workspace.suite.of(edits)]
    generator = workspace.suite.text_generator
    return {
        name: _under(workspace, protocol, own)
        for name, protocol in PROTOCOLS.items()
        if not why_not(generator, protocol)
    }


def run_panel(
    workspace: Workspace, trial: Trial, suites: Mapping[str, Workspace]
) -> tuple[ProtocolRow, ...]:
    """Tunes once as the trial says and asks every evaluation suite; the model's weights are back
    afterwards.

    A row per protocol, then one per form that the edits have, and one for multi-hop questions,
    both of these under the protocol of the search.
    """
    device = workspace.loaded.model.device
    # Tuned as the trial was, among others; then nothing runs beside the answers.
    with (
        trial_threads(device),
        as_tuned(workspace, trial),
        trial_threads(device, alone=True),
    ):
        answers = {name: _seen(asked) for name, asked in suites.items()}
    rows, others = list[ProtocolRow](), tuple[ProtocolRow, ...]()
    for name, protocol in PROTOCOLS.items():
        row = _row(workspace, protocol)
        if name in suites:
            now, before = answers[name], suites[name].before
            row = _measured(row, now, before)
            # Under the search's own protocol alone: the forms are other questions, not other
            # protocols.
            others = _other_questions(now, before) if row.searched else others
        rows.append(row)
    return (*rows, *others)


def why_not(text_generator: TextGenerator, protocol: Protocol) -> str:
    """Why a protocol is impossible with this tokenizer; empty where it is not."""
    if protocol.prompt_format == "chat" and not getattr(
        text_generator.tokenizer, "chat_template", None
    ):
        return "the tokenizer has no chat template"
    return ""


def _under(workspace: Workspace, protocol: Protocol, edits: Sequence[Edit]) -> Workspace:
    """A workspace whose evaluation suite asks about the edits under a protocol."""
    text_generator = workspace.suite.text_generator
    if not protocol.is_that_of(workspace.suite.prompt_format):
        edits = [replace(edit, forms=(), multihop=()) for edit in edits]
    if not protocol.stops:
        text_generator = replace(text_generator, stops=())
    # Neutral texts and abilities do not depend on the protocol, so they are not asked again.
    prompt_format = protocol.format_for(workspace.suite.prompt_format)
    suite = prepare(text_generator, edits, NO_TEXTS, prompt_format)
    # Asked from the embeddings on, so that no suite takes a share of the memory for activations.
    prefix_cache = PrefixCache(
        workspace.loaded.model, suite.packed, tokens_at_once=workspace.prefix_cache.tokens_at_once
    )
    found = Workspace(workspace.loaded, suite, prefix_cache)
    with trial_threads(workspace.loaded.model.device, alone=True):
        _ = found.before  # Asked now, while the model is untouched.
    return found


def _seen(asked: Workspace) -> Evaluation:
    """What the model, as it is now, answers to all of a suite."""
    return observe(
        asked.suite, asked.prefix_cache, [questions.edit.id for questions in asked.suite.edits]
    )


def _row(workspace: Workspace, protocol: Protocol) -> ProtocolRow:
    """The row of a protocol without its measures."""
    return ProtocolRow(
        protocol.name,
        protocol.title,
        "protocol",
        reason=why_not(workspace.suite.text_generator, protocol),
        searched=protocol.is_that_of(workspace.suite.prompt_format),
    )


def _measured(row: ProtocolRow, now: Evaluation, before: Evaluation) -> ProtocolRow:
    worded = PROTOCOLS[row.name].worded
    found = (edit_measure(name, value, worded(text), now, before) for name, value, text in ASKED)
    return replace(row, measures=tuple(found))


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
