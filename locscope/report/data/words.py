"""How numbers and names are written in pages, figures and tables."""

from ast import literal_eval
from collections.abc import Iterable
from math import isinf, isnan

NOT_MEASURED = "–"

TITLES = {
    "score": "score",
    "reliability": "reliability",
    "reliability_strict": "strict reliability",
    "generalization": "generalization",
    "locality": "locality",
    "locality_span": "locality, free continuation",
    "locality_tokens": "locality, teacher-forced",
    "format_leakage": "format leakage",
    "token_accuracy": "token accuracy",
    "perplexity_ratio": "perplexity ratio",
    "mean_perplexity_ratio": "mean of sentence perplexities, ratio",
    "kl": "KL (nats/token)",
    "retention": "retention",
}
"""Names of measures in words; a name that is not here is shown with spaces for underscores."""


def title_of(name: str) -> str:
    """A measure's name for people."""
    return TITLES.get(name, name.replace("_", " "))


def score_title(name: str) -> str:
    """What a score holds: `harmonic(a, b)` is the harmonic mean of a, b; of one term, the term."""
    terms = name.removeprefix("harmonic(").removesuffix(")")
    return f"harmonic mean of {terms}" if ", " in terms else title_of(terms)


def in_words(sentence: str) -> str:
    """A sentence on a bound, as `perplexity_ratio 1.2 is above 1.05`, with the measure's title."""
    name, space, rest = sentence.partition(" ")
    return title_of(name) + space + rest


def sentence(words: str) -> str:
    """The words with a capital and a full stop."""
    words = words.strip()
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")


def names(sentences: Iterable[str], measure: str) -> bool:
    """Whether one of the sentences on bounds is about that measure."""
    return any(sentence.partition(" ")[0] == measure for sentence in sentences)


def number(value: float) -> str:
    """Three decimals, scientific where those would hide it, a dash for not measured."""
    if isnan(value):
        return NOT_MEASURED
    if isinf(value):
        return "∞" if value > 0 else "−∞"
    # Three decimals would show 0.000, and more digits would widen the column.
    if value != 0 and not 1e-3 <= abs(value) < 1e4:
        return f"{value:.2e}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def short(value: float) -> str:
    """As few characters as a heatmap's cell has room for."""
    if isnan(value) or isinf(value):
        return "" if isnan(value) else "∞"
    if value != 0 and not 1e-2 <= abs(value) < 1e3:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"


def interval(low: float, high: float) -> str:
    """The interval in brackets; empty where it was not measured."""
    return "" if isnan(low) or isnan(high) else f"[{number(low)}, {number(high)}]"


def setting(value: str) -> str:
    """The value of a setting, which run folders keep as Python writes it, for people.

    >>> [setting(value) for value in ("None", "True", "('mlp', 'attn')", "()", "{'kl': 2.0}")]
    ['not set', 'yes', 'mlp, attn', 'none', 'kl=2.0']
    >>> setting("(a path) of 'mine'")
    "(a path) of 'mine'"
    """
    # Only what begins like one: a name, a path and a number are as they are written.
    if not (value in ("None", "True", "False") or value.startswith(("(", "[", "{"))):
        return value
    try:
        read = literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
    if read is None or isinstance(read, bool):
        return {None: "not set", True: "yes", False: "no"}[read]
    if isinstance(read, dict):
        read = [f"{name}={its}" for name, its in read.items()]
    return ", ".join(map(str, read)) or "none" if isinstance(read, list | tuple) else value


def rate(value: float) -> str:
    """A learning rate, as one writes it."""
    return NOT_MEASURED if isnan(value) else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Seconds in words that one can compare: 0.8 s, 42 s, 3 min 20 s, 2 h 05 min."""
    if isnan(seconds):
        return NOT_MEASURED
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    # Rounded first: else 59.7 s after a minute reads as 60 s.
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def millions(count: float) -> str:
    """A count of weights: 812, 16.4k, 3.1M, 8.0B."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return f"{count:.0f}"
