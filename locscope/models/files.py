"""The files that belong to a checkpoint: what is downloaded, loaded and saved is this list.

Everything else in a model's folder (other formats of the weights, optimizer states, run folders,
`.git`, keys) is nobody's to copy. A link is followed where it ends in the folder itself or, for a
snapshot in a hub's cache, among the blobs of the same model; any other leaves the folder, and could
carry what lies there into a model that is published.

Its JSON files are read here too, as one object, or refused: beyond what is refused of any JSON
(`runs/reading.py`) are a Git LFS pointer and a byte order mark, which no reader behind us survives.
"""

import errno
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from locscope.errors import UsageError
from locscope.runs.reading import read_json

CONFIG, GENERATION = "config.json", "generation_config.json"
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
CONFIGS = (CONFIG, GENERATION, "preprocessor_config.json", "processor_config.json")
TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("tokenizer.model", "tokenizer.model.v3", "tekken.json", "spiece.model"),
    *("sentencepiece.bpe.model", "vocab.json", "vocab.txt", "merges.txt"),
    *("chat_template.jinja", "chat_template.json"),
)
TEMPLATES = "additional_chat_templates"
"""The one subfolder: chat templates beside the default one."""
OWN = ("neutral.txt", "abilities.json")
"""What a model can bring for locscope's own measures."""
NAMES = frozenset((*CONFIGS, *TOKENIZER, *OWN))
REPLACED = ("README.md", "locscope.json")
"""Not copied either, but an edited model has its own: they describe it, and the old another."""
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
FORMATS = {".gguf": "GGUF", ".h5": "TensorFlow", ".msgpack": "Flax", ".onnx": "ONNX"}
"""What names of weights end in that are not read: pickles, and other formats with their names."""
WEIGHTS = (".safetensors", *PICKLED, *FORMATS)
"""The same of weights of whatever format."""
_LICENCE = re.compile(
    r"(licen[cs]e|copying|notice|use_policy)[\w-]*(\.lesser)?(\.(txt|md|rst))?", re.I
)
_SHOWN = 8
LARGEST = 16 * 2**20
"""Bytes of a JSON file other than a tokenizer's: the largest known, an index, has 9 MB."""

_POINTER = b"version https://git-lfs"
_MARK = b"\xef\xbb\xbf"


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises UsageError, which names the file and where it can be told the key, for anything else.
    """
    refuse_pointer(path)
    refuse_mark(path)
    value = read_json(path, "the model's", LARGEST)
    if not isinstance(value, dict):
        raise UsageError(f"cannot read the model's {path}: it is not a JSON object")
    return value


def refuse_pointer(path: Path) -> None:
    """Raises UsageError where a file is a Git LFS pointer, or cannot be opened."""
    if _beginning(path, len(_POINTER)) == _POINTER:
        raise UsageError(
            f"'{path}' is a Git LFS pointer, not the file itself: run `git lfs pull` in its "
            "folder, or download it again"
        )


def refuse_mark(path: Path) -> None:
    """Raises UsageError where a JSON file begins with a byte order mark, which libraries refuse."""
    if _beginning(path, len(_MARK)) == _MARK:
        raise UsageError(
            f"cannot read '{path}': it begins with a byte order mark, which transformers does not "
            "take: save it as UTF-8 without BOM"
        )


def belonging(
    directory: Path, weights: Collection[Path], *, code: bool = False
) -> tuple[Path, ...]:
    """The files of the checkpoint in `directory` of which `weights` were read, sorted by name.

    `code` takes the Python modules too, which a model has to have that is loaded with
    `trust_remote_code`. What is no file, or a link that leaves the folder, is not among them.
    """
    names = [name for name in _entries(directory) if _belongs(name, code)]
    names += [f"{TEMPLATES}/{name}" for name in _templates(directory)]
    # Beside one whole file an index is of other weights.
    if directory / WHOLE not in weights:
        names.append(INDEX)
    found = {directory / name for name in names} | set(weights)
    return tuple(sorted(path for path in found if path.is_file() and stays(path, directory)))


def left_out(directory: Path, files: Iterable[Path]) -> tuple[str, ...]:
    """The names of what lies beside `files` in the folder, folders with a slash behind them."""
    taken = {path.relative_to(directory).parts[0] for path in files} | set(REPLACED)
    others = [name for name in _entries(directory) if name not in taken]
    return tuple(f"{name}/" if (directory / name).is_dir() else name for name in others)


def other_weights(directory: Path, weights: Collection[Path]) -> tuple[str, ...]:
    """The names of files beside `weights` that may hold weights, which nothing reads."""
    others = left_out(directory, belonging(directory, weights))
    return tuple(name for name in others if name.endswith((*WEIGHTS, INDEX)))


def in_words(names: Collection[str]) -> str:
    """Some of the names with commas, and how many more there are."""
    shown = sorted(names)[:_SHOWN]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def refuse_leaving(directory: Path, weights: Iterable[Path]) -> None:
    """A UsageError where a file that is loaded is a link that leaves the model's folder."""
    loaded = [directory / name for name in (*sorted(NAMES), INDEX)]
    loaded += [directory / TEMPLATES / name for name in _templates(directory)]
    for path in (*loaded, *weights):
        if path.is_file() and not stays(path, directory):
            end = Path(os.path.realpath(path))
            whole = f", or give --model '{end.parent}'" if (end.parent / CONFIG).is_file() else ""
            raise UsageError(
                f"'{path}' is a link out of the model's folder, to '{end}', which a model from "
                f"elsewhere could use to take your files along: put the file itself there{whole}"
            )


@contextmanager
def open_own(path: Path, directory: Path) -> Iterator[BinaryIO]:
    """A file of the folder, open to be read within the block.

    Raises UsageError where it leaves the folder, also where a link took its place just now.
    """
    end = os.path.realpath(path)
    if not stays(Path(end), directory):
        raise _replaced(path)
    try:
        # Not blocking: a pipe that took its place would wait for ever.
        descriptor = os.open(end, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _replaced(path) from None
        raise
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        # Folders on the way may be links by now too.
        same = os.path.samestat(status, os.lstat(end)) and os.path.realpath(end) == end
        if not same or not stat.S_ISREG(status.st_mode):
            raise _replaced(path)
        yield file


def _replaced(path: Path) -> UsageError:
    return UsageError(
        f"'{path}' became a link out of the model's folder, or no file, while it was used: look at "
        "who writes there, and give the command again"
    )


def stays(path: Path, directory: Path) -> bool:
    """Whether a file lies in the folder where its links end, or among the blobs of its model."""
    home = Path(os.path.realpath(directory))
    roots = [home]
    # A hub's cache: models--ORG--NAME/snapshots/HASH/FILE links to models--ORG--NAME/blobs/HASH.
    if home.parent.name == "snapshots" and home.parent.parent.name.startswith("models--"):
        # As it is: a `blobs` that is itself a link could lead to anything.
        roots.append(home.parent.parent / "blobs")
    return any(Path(os.path.realpath(path)).is_relative_to(root) for root in roots)


def _belongs(name: str, code: bool) -> bool:
    licence = _LICENCE.fullmatch(name) is not None
    return name in NAMES or licence or (code and name.endswith(".py"))


def _templates(directory: Path) -> list[str]:
    return [name for name in _entries(directory / TEMPLATES) if name.endswith(".jinja")]


def _entries(directory: Path) -> list[str]:
    return sorted(os.listdir(directory)) if directory.is_dir() else []


def _beginning(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}") from None
