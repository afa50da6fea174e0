"""What trials and scans share: a model, an evaluation suite about edits, and a prefix cache."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import torch

from locscope.evaluation.measures.outcomes import answered_already
from locscope.evaluation.suite import EvalSuite, EvalTexts, Evaluation, observe, quick_eval
from locscope.forward.prefix_cache import PrefixCache
from locscope.models.load import Loaded
from locscope.tuning.collapse import quick_loss
from locscope.tuning.importance import Importances

NO_TEXTS = EvalTexts(neutral=())
THREADS, THREADS_ALONE = 1, 2
"""Of a trial on a CPU that others may run beside, and of what runs with nothing beside it. The
number decides the last digits of sums, so it is the same however many do run side by side."""


@dataclass(frozen=True)
class Workspace:
    """A loaded model with its evaluation suite; the prefix cache runs over the suite's rows, and
    advances.

    What the untouched model says is read when it is first asked for, and kept: ask before tuning.
    Where all trials are `quick` and report, it is asked no more than these.
    `suite_notes` tell users what should be known of the edits and of the suite.
    """

    loaded: Loaded
    suite: EvalSuite
    prefix_cache: PrefixCache
    eval_texts: EvalTexts = NO_TEXTS
    suite_notes: tuple[str, ...] = ()
    quick: bool = False

    @cached_property
    def before(self) -> Evaluation:
        """The untouched model's evaluation, on all edits of the suite."""
        edits = [questions.edit.id for questions in self.suite.edits]
        if self.quick:
            texts = self.suite.texts_for(choosing=False)
            return quick_eval(self.suite, self.prefix_cache, edits, texts=texts)
        # All edits at once, though trials ask about some: `of` takes theirs from it.
        return observe(self.suite, self.prefix_cache, edits, untouched=True)

    @cached_property
    def baseline_loss(self) -> float:
        """Nats a token of the untouched model on some neutral texts."""
        return quick_loss(self.suite, self.prefix_cache)

    @cached_property
    def importances(self) -> Importances:
        """How much general ability depends on each unit of the untouched model."""
        return Importances(self.loaded.model, self.suite.packed, self.suite.neutral.texts)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Those of the suite, and which edits teach the model nothing."""
        known = answered_already(self.before)
        if not known:
            return self.suite_notes
        shown = ", ".join(known[:3]) + (", ..." if len(known) > 3 else "")
        many = f"{len(known)} of {len(self.suite.edits)} edits"
        line = f"{many} are answered with the new target before any tuning: {shown}"
        return (*self.suite_notes, line)

    def to_learn(self, edits: Sequence[str]) -> float:
        """Mean loss of these edits (ids) before tuning, in nats per token of their targets."""
        return fmean(-answers.target.logprob for answers in self.before.of(edits).edits)


@contextmanager
def trial_threads(device: torch.device, *, alone: bool = False) -> Iterator[None]:
    """Within, torch has as many threads as a trial has on that device, `alone` or among others."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(THREADS_ALONE if alone else THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)
