"""When a decoded answer counts as the target: the same stop rule for both, then normalised.

The stop rule knows no abbreviations: "St. Louis" is cut to "St" on both sides, so there "St. Paul"
would count too. `stops_inside` tells such targets, so that they can be counted and shown.
"""

import re
import string

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_ARTICLE_BEGINNINGS = ("", "a", "an", "t", "th", "the")
_WORD = re.compile(r"\w*")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_STOP = re.compile(r"[.\n]")


def cut_answer(text: str) -> str:
    """The text up to the first newline or full stop, without outer spaces."""
    return _STOP.split(text, maxsplit=1)[0].strip()


def stops_inside(target: str) -> bool:
    """Whether the stop rule cuts words off the target, so that it is judged by its beginning."""
    _, *rest = _STOP.split(target.strip(), maxsplit=1)
    return any(piece.strip() for piece in rest)


def normalise(text: str) -> str:
    """The text as SQuAD compares answers: case, punctuation, articles and extra spaces removed.

    A text of nothing else (the choice "A") is only case folded: it would equal no answer at all.
    """
    folded = " ".join(text.casefold().split())
    bare = " ".join(_ARTICLES.sub(" ", folded.translate(_PUNCTUATION)).split())
    return bare or folded


def normalised_match(output: str, target: str) -> bool:
    """Whether the output begins with the target as an answer: both cut and normalised.

    A target that begins with a full stop (".NET") is compared whole, as the cut leaves nothing.
    """
    cut = cut_answer(target)
    if not cut:
        return normalise(output) == normalise(target)
    return normalise(cut_answer(output)) == normalise(cut)


def cannot_match(beginning: str, target: str) -> bool:
    """Whether no output that begins so can be a `normalised_match` of the target (exact).

    Whole words of the beginning stay as they are; its last word may still grow, and what begins
    like an article may turn out to be one.
    """
    wanted = normalise(cut_answer(target) or target).split()
    if not wanted or cut_answer(beginning) != beginning.strip():
        return False
    whole = beginning.split()
    last = "" if not whole or beginning[-1].isspace() else whole.pop()
    words = _bare_words(" ".join(whole))
    if words != wanted[: len(words)]:
        return True
    growing = last.casefold().translate(_PUNCTUATION).rstrip("\ufffd")
    # Beside what is no letter (l’an) an article stands within the word, and goes.
    if not _WORD.fullmatch(growing) or growing in _ARTICLE_BEGINNINGS:
        return False
    return len(words) == len(wanted) or not wanted[len(words)].startswith(growing)


def _bare_words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.casefold().translate(_PUNCTUATION)).split()
