"""What a model is asked besides the edits: neutral text, abilities, prefixes for augmentation."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from locscope.edits.texts import key
from locscope.errors import UsageError
from locscope.evaluation.suite import Ability, EvalTexts
from locscope.forward.decoding import TextGenerator
from locscope.forward.sampling import sample_texts
from locscope.records import Edit
from locscope.runs.reading import read_json, read_text

SAMPLES = 32
SAMPLE_TOKENS = 24
PREFIX_TOKENS = 8


def gather(
    text_generator: TextGenerator,
    edits: Sequence[Edit],
    home: Path | None,
    *,
    neutral: Path | None = None,
    abilities: Path | None = None,
    prefixes: int = 0,
    seed: int = 0,
) -> EvalTexts:
    """The material for an untouched model that lives in `home`.

    Neutral text is the given file's, else what `home` brings as neutral.txt, else the shipped
    texts, the latter two with seeded samples from the model. Abilities are the file's or `home`'s.
    """
    texts = (
        _lines(neutral) if neutral else (*_neutral_of(home), *_samples(text_generator, edits, seed))
    )
    return EvalTexts(
        neutral=texts,
        abilities=_abilities(abilities or _file(home, "abilities.json")),
        prefixes=drawn_prefixes(text_generator, prefixes, seed),
    )


def check_files(neutral: Path | None, abilities: Path | None) -> None:
    """Raises UsageError where a file of neutral texts or of abilities cannot be used."""
    if neutral:
        _lines(neutral)
    _abilities(abilities)


def _file(home: Path | None, name: str) -> Path | None:
    path = home / name if home else None
    return path if path and path.is_file() else None


def _neutral_of(home: Path | None) -> tuple[str, ...]:
    shipped = files("locscope.evaluation") / "neutral.txt"
    own = _file(home, "neutral.txt")
    return _lines(own) if own else tuple(shipped.read_text(encoding="utf-8").splitlines())


def _lines(path: Path) -> tuple[str, ...]:
    lines = read_text(path, "neutral text").splitlines()
    texts = tuple(line.strip() for line in lines if line.strip())
    if not texts:
        raise UsageError(f"neutral text {path} is empty: give one text a line")
    return texts


def _samples(text_generator: TextGenerator, edits: Sequence[Edit], seed: int) -> tuple[str, ...]:
    """Samples that mention no edited subject: what they say of one is meant to change."""
    subjects = {key(edit.subject) for edit in edits if edit.subject}
    # Twice as many as are wanted: some repeat others, and some mention a subject.
    drawn = dict.fromkeys(sample_texts(text_generator, 2 * SAMPLES, SAMPLE_TOKENS, seed))
    named = {text: key(text) for text in drawn if text}
    kept = [text for text, name in named.items() if not any(s in name for s in subjects)]
    return tuple(kept[:SAMPLES])


def drawn_prefixes(text_generator: TextGenerator, count: int, seed: int) -> tuple[str, ...]:
    """Random prefixes, drawn once: beginnings of the model's own texts."""
    if not count:
        return ()
    # By another seed than the samples: no prefix is the beginning of a neutral text.
    drawn = [
        text for text in sample_texts(text_generator, 4 * count, PREFIX_TOKENS, seed + 1) if text
    ]
    # A sentence of its own, or the prompt would go on with it.
    texts = [text if text.endswith(".") else f"{text}." for text in dict.fromkeys(drawn)]
    return tuple(texts[:count])


def _abilities(path: Path | None) -> tuple[Ability, ...]:
    if path is None:
        return ()
    try:
        found = TypeAdapter(tuple[Ability, ...]).validate_python(read_json(path, "abilities"))
    except ValidationError as error:
        raise UsageError(
            f"cannot read abilities {path}: write a JSON list of {{task, prompt, answer, chance}}"
        ) from error
    for item in found:
        if not (item.prompt.strip() and item.answer.strip() and 0 <= item.chance < 1):
            raise UsageError(
                f"{path}: ability '{item.prompt}' needs a prompt, an answer, and a chance below 1"
            )
    return found
