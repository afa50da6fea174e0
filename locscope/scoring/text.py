"""When a decoded answer counts as the target: the same stop rule for both, then normalised.

An answer ends at a newline or a full stop of any script. A point between digits is none, and a
target that holds full stops itself ("St. Louis", "U.S.") is judged whole: as many of them do not
end the output.
"""

import re
import unicodedata

FULL_STOPS = ".．。｡！？।॥۔።။។"
"""Latin, Chinese and Japanese (with their question and exclamation marks), Devanagari, Urdu,
Ethiopic, Burmese, Khmer."""
REASONING = ("<think>", "</think>")
"""What a model puts around its reasoning before it answers."""
_ARTICLES = frozenset(("a", "an", "the"))
_ARTICLE_BEGINNINGS = ("", "a", "an", "t", "th", "the")
_STOP = re.compile(rf"[\n{FULL_STOPS}](?<!\d[.．])|(?<=\d)[.．](?!\d)")
_BLOCK = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)
_KEPT_BESIDE_LETTERS = "#&"
_KEPT_BETWEEN_DIGITS = "./:"


def cut_answer(text: str, target: str = "") -> str:
    """The text without outer spaces up to the first newline or full stop.

    With a target: up to the first beyond those that the target holds itself.
    """
    inner, lines = _inside(target)
    # A target of several lines is not cut at its first one.
    if not lines:
        text = text.split("\n", 1)[0]
    ends = [stop.start() for stop in _STOP.finditer(text)]
    return (text[: ends[inner]] if len(ends) > inner else text).strip()


def ended(text: str, target: str = "") -> bool:
    """Whether no more text can change the `cut_answer`: a point behind a digit may be a decimal
    point."""
    inner, lines = _inside(target)
    if "\n" in text and not lines:
        return True
    open_point = re.search(r"\d[.．]\Z", text) is not None
    return len(_STOP.findall(text)) - open_point > inner


def phrase_end(text: str) -> int | None:
    """Where the first newline or punctuation mark behind a letter or digit stands, if any."""
    begun = False
    for i, char in enumerate(text):
        if begun and (char == "\n" or unicodedata.category(char)[0] == "P"):
            return i
        begun = begun or char.isalnum()
    return None


def holds_stop(target: str) -> bool:
    """Whether the stop rule alone would end the target within it or at its end."""
    return _STOP.search(target.strip()) is not None


def without_reasoning(text: str) -> str:
    """The text behind the reasoning block at its beginning; all of it where there is none, nothing
    where the block is still open."""
    rest = _BLOCK.sub("", text, count=1) if _BLOCK.match(text) else text
    return "" if rest.lstrip().startswith(REASONING[0]) else rest


def may_reason(text: str) -> bool:
    """Whether the text is the beginning of a reasoning block that is not closed, or may become
    one."""
    begun = text.lstrip()
    if begun.startswith(REASONING[0]):
        return REASONING[1] not in begun
    return bool(begun) and REASONING[0].startswith(begun)


def normalise(text: str) -> str:
    """The text as SQuAD compares answers: case, punctuation, articles and extra spaces removed.

    In NFKC, so that full-width letters and either way to write an accent are the same. Punctuation
    is what Unicode calls so, less what carries meaning: see `_bare`. A text of nothing else (the
    choice "A") is only folded: it would equal no answer at all.
    """
    folded = _folded(text)
    return " ".join(_bare_words(folded)) or " ".join(folded.split())


def normalised_match(output: str, target: str) -> bool:
    """Whether the output begins with the target as an answer: both cut and normalised."""
    return normalise(cut_answer(output, target)) == _wanted(target)


def cannot_match(beginning: str, target: str) -> bool:
    """Whether no output that begins so can be a `normalised_match` of the target (exact).

    Whole words of the beginning stay as they are; its last word may still grow, and what begins
    like an article may turn out to be one.
    """
    if ended(beginning, target):
        return not normalised_match(beginning, target)
    whole = beginning.split()
    last = "" if not whole or beginning[-1].isspace() else whole.pop()
    begun, wanted = _folded(" ".join(whole)), _wanted(target).split()
    if not _bare_words(_folded(target)):  # its punctuation and articles are compared, too
        words = begun.split()
        return words != wanted[: len(words)]
    words = _bare_words(begun)
    if words != wanted[: len(words)]:
        return True
    growing = _settled(last)
    if growing in _ARTICLE_BEGINNINGS or " " in growing:
        return False
    rest = unicodedata.normalize("NFKD", " ".join(wanted[len(words) :][:1]))
    return not rest.startswith(growing)


def _wanted(target: str) -> str:
    """The target normalised, without the full stops at its end."""
    return normalise(cut_answer(target, target))


def _inside(target: str) -> tuple[int, bool]:
    """How many full stops and newlines stand within the target, before its end; whether there are
    newlines among them. Where there is nothing else, all of them."""
    core = target.strip()
    while core and _STOP.match(core, len(core) - 1):
        core = core[:-1].rstrip()
    core = core or target.strip()
    return len(_STOP.findall(core)), "\n" in core


def _folded(text: str) -> str:
    """Composed and compatible (NFKC), without case."""
    # Twice: folding case can give letters that are not composed (U+0390).
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _bare_words(folded: str) -> list[str]:
    return [word for word in _bare(folded).split() if word not in _ARTICLES]


def _bare(folded: str) -> str:
    """The text without punctuation and invisible marks.

    Signs, currency and other symbols stay, so that "-5", "C#", "C++" and "50%" are not "5" and "C";
    so do point, slash and colon between digits, and a dash before a digit unless it joins a letter
    to it ("F-16" is "F16").
    """
    around = ["", *folded, ""]
    return "".join(_kept(char, around[i], around[i + 2]) for i, char in enumerate(folded))


def _kept(char: str, before: str, after: str) -> str:
    """What is left of a character between two others (each empty at an end of the text)."""
    # U+2212 is the minus sign, which Unicode counts as a symbol and not as a dash.
    kind = unicodedata.category(char)
    if kind == "Pd" or char == "\u2212":
        return "-" if after.isdigit() and not before.isalpha() else ""
    if char in _KEPT_BESIDE_LETTERS:
        return char if before.isalnum() or after.isalnum() else ""
    if char in _KEPT_BETWEEN_DIGITS:
        return char if before.isdigit() and after.isdigit() else ""
    dropped = kind in ("Cf", "Sk") or (kind[0] == "P" and char not in "%‰")
    return "" if dropped else char


def _settled(word: str) -> str:
    """What is left of a word up to its last letter or digit, whatever it goes on with.

    Decomposed and without the last letter's accents, since more of them may follow.
    """
    last = next((i for i in range(len(word) - 1, -1, -1) if word[i].isalnum()), -1)
    begun = unicodedata.normalize("NFKD", _bare(_folded(word[: last + 1])))
    while begun and unicodedata.combining(begun[-1]):
        begun = begun[:-1]
    return begun
