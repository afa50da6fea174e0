"""Seeded random changes of a model folder, and a loop that looks for one that is not told well.

`python tests/bad_input/fuzz_model_folders.py SECONDS [FIRST_SEED]` prints the seeds that it finds:
an error other than ours, a message of more than a line, or more than 30 seconds. Each becomes a row
of `model_folders.FOUND`, or a number in `SEEDS`.
"""

import json
import random
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bad_input.model_folders import (
    CONFIG,
    GENERATION,
    INDEX,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WEIGHTS,
    index,
    linked,
    put,
)

SEEDS: tuple[int, ...] = (109, 1349, 23229)
"""Changes that were not told well once."""

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 31, 2**31, 2**63, 10**12, 10**30, 0.0, -0.5, 1e-9),
    *(0.3, 1e30, 1e308, "", "x", "1", "nan", "\0", "\x1b[2J", "é☃", "a" * 3000, [], {}, [0], ["x"]),
    *([[]], {"": 0}, {"a": {"b": []}}, [1, None, "x"], [1.5] * 40, {"type": "x"}, "default"),
)
KEYS = (
    *(
        "rope_scaling",
        "rope_parameters",
        "text_config",
        "layer_types",
        "sliding_window",
        "auto_map",
    ),
    *("num_labels", "id2label", "torch_dtype", "dtype", "quantization_config", "is_decoder"),
    *("_attn_implementation", "attn_implementation", "output_hidden_states", "return_dict"),
    *("use_cache", "is_encoder_decoder", "add_cross_attention", "chunk_size_feed_forward"),
    *("per_layer_config", "pruned_heads", "tie_word_embeddings", "architectures", "head_dim"),
    *("problem_type", "transformers_version", "_name_or_path", "model_type", "max_length"),
    *(
        "base_model_tp_plan",
        "attribute_map",
        "partial_rotary_factor",
        "pad_token_id",
        "name_or_path",
    ),
    *("added_tokens_decoder", "tokenizer_class", "chat_template", "model_max_length", "eos_token"),
    *("additional_special_tokens", "extra_special_tokens", "backend", "padding_side", "unk_token"),
    *("truncation", "padding", "normalizer", "post_processor", "decoder", "model", "__metadata__"),
    *("weight_map", "shape", "data_offsets", "self", "__class__", "keys", "to_dict"),
)


def mutate(folder: Path, seed: int) -> str:
    """Changes the folder by that seed; the name of the changed file."""
    draw = random.Random(seed)
    name = draw.choice([CONFIG] * 5 + [GENERATION, TOKENIZER_CONFIG, TOKENIZER, WEIGHTS, INDEX] * 2)
    if name == INDEX:
        index(None)(folder)
    if name == WEIGHTS:
        _weights(folder, draw)
    elif draw.random() < 0.15:
        put(name, _flipped((folder / name).read_bytes(), draw))(folder)
    else:
        content = json.loads((folder / name).read_text())
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            content = _changed(content, draw)
        put(name, json.dumps(content))(folder)
    return name


def _weights(folder: Path, draw: random.Random) -> None:
    content = (folder / WEIGHTS).read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    if draw.random() < 0.3:
        put(WEIGHTS, _flipped(content[:end], draw) + content[end:])(folder)
        return
    entries = json.loads(content[8:end])
    for _ in range(draw.choice((1, 1, 2, 4))):
        entries = _changed(entries, draw)
    raw = json.dumps(entries).encode()
    put(WEIGHTS, struct.pack("<Q", len(raw)) + raw + content[end:])(folder)


def _flipped(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((1, 2, 8))):
        where = draw.randrange(max(len(changed), 1))
        how = draw.choice(("set", "cut", "drop", "twice"))
        if how == "set" and changed:
            changed[where] = draw.randrange(256)
        elif how == "cut":
            del changed[where:]
        elif how == "drop":
            del changed[where : where + draw.randrange(1, 30)]
        else:
            changed[where:where] = changed[where : where + draw.randrange(1, 60)]
    return bytes(changed)


def _changed(content: Any, draw: random.Random) -> Any:
    """The value with one node of it replaced, dropped, repeated or added to."""
    if not isinstance(content, dict | list) or not content or draw.random() < 0.05:
        return _value(draw)
    where: Any = content
    while True:
        keys = list(where) if isinstance(where, dict) else list(range(len(where)))
        key = draw.choice(keys)
        if not isinstance(where[key], dict | list) or not where[key] or draw.random() < 0.3:
            break
        where = where[key]
    how = draw.choice(("value", "value", "near", "drop", "key", "swap"))
    if how == "drop":
        del where[key]
    elif how == "key" and isinstance(where, dict):
        where[draw.choice(KEYS)] = _value(draw)
    elif how == "near" and type(where[key]) in (int, float):
        where[key] += draw.choice((-1, 1, -2, 7, where[key]))
    elif how == "swap":
        where[key] = deepcopy(where[draw.choice(keys)])
    else:
        where[key] = _value(draw)
    return content


def _value(draw: random.Random) -> Any:
    # A copy: one that is changed itself later would be another in the next folder, or hold itself.
    return deepcopy(draw.choice(VALUES))


def told(opened: Callable[[str], object], good: Path, folder: Path, seed: int) -> str:
    """What is wrong with how the folder of a seed is told; empty where nothing is."""
    from locscope.errors import LocscopeError

    linked(good, folder)
    name = mutate(folder, seed)
    try:
        opened(str(folder))
    except LocscopeError as error:
        said = str(error).replace(str(folder.parent), "")
        fine = said.isprintable() and len(said) < 300 and error.exit_code == 2
        return "" if fine else f"{seed} {name}: said {said!r}"
    except BaseException as error:
        return f"{seed} {name}: {type(error).__name__} {str(error)[:200]!r}"
    return ""


def main() -> None:
    from families import save_tiny

    from locscope.models.load import load, peek

    def opened(folder: str) -> None:
        peek(folder, device="cpu")
        load(folder, device="cpu")

    def late(*_: object) -> None:
        raise TimeoutError("more than 30 seconds")

    signal.signal(signal.SIGALRM, late)
    seconds, seed = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as home:
        good = save_tiny(Path(home) / "good", "llama")
        first, end = seed, time.monotonic() + seconds
        while time.monotonic() < end:
            signal.alarm(30)
            wrong = told(opened, good, Path(home) / str(seed), seed)
            signal.alarm(0)
            if wrong:
                sys.stdout.write(f"{wrong}\n")
                sys.stdout.flush()
            seed += 1
    sys.stdout.write(f"{seed - first} folders\n")


if __name__ == "__main__":
    main()
