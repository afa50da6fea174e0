"""Capability of a tuned model by lm-eval's tasks, where lm-eval is installed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from math import nan

from transformers import PreTrainedModel

from locscope.models.load import Loaded
from locscope.models.parts import take
from locscope.models.save import Changes, put_changes
from locscope.records.codec import Number

METRICS = {"mmlu": "acc,none", "sst2": "acc,none", "wmt16-de-en": "bleu,none"}
METRICS |= {"nq_open": "exact_match,remove_whitespace", "gsm8k": "exact_match,strict-match"}
"""What counts of a task's results; the paper does not say. All but BLEU are shares."""


@dataclass(frozen=True)
class Capability:
    """Scores by task in per cent, of `sample` items each (None: all); `problem` says why none."""

    tasks: dict[str, Number]
    problem: str = ""
    sample: int | None = None

    @property
    def mean(self) -> float:
        """Over the tasks; NaN without any."""
        return sum(self.tasks.values()) / len(self.tasks) if self.tasks else nan


def there() -> bool:
    """Whether lm-eval can be imported."""
    return find_spec("lm_eval") is not None


def measured(
    loaded: Loaded, changes: Changes, tasks: Sequence[str], sample: int | None = None
) -> Capability:
    """The tasks asked of the model with the changes in place; it gets its own weights back.

    What lm-eval cannot do here (no data set, no network) becomes the `problem`.
    """
    with edited(loaded.model, changes):
        try:
            results = _evaluate()(loaded, tasks, sample)
            return Capability({task: _score(task, results[task]) for task in tasks}, "", sample)
        # Of many libraries: a data set that cannot be fetched must not end hours of tuning.
        except Exception as error:
            first = str(error).strip().splitlines() or [type(error).__name__]
            return Capability({}, f"lm-eval: {first[0][:200]}")


@contextmanager
def edited(model: PreTrainedModel, changes: Changes) -> Iterator[None]:
    """The model with the changes, for as long as the block lasts."""
    named = dict(model.named_parameters())
    old = {piece: take(named[piece.name], piece) for piece in changes}
    try:
        put_changes(model, changes)
        yield
    finally:
        put_changes(model, old)


def _evaluate() -> Callable[[Loaded, Sequence[str], int | None], Mapping[str, Mapping]]:
    from lm_eval import simple_evaluate  # pyright: ignore[reportMissingImports]
    from lm_eval.models.huggingface import HFLM  # pyright: ignore[reportMissingImports]

    def run(loaded: Loaded, tasks: Sequence[str], sample: int | None) -> Mapping[str, Mapping]:
        model = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer)
        return simple_evaluate(model=model, tasks=list(tasks), limit=sample)["results"]

    return run


def _score(task: str, results: Mapping[str, float]) -> float:
    value = float(results[METRICS[task]])
    return value if METRICS[task].startswith("bleu") else 100 * value
