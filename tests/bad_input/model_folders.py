"""Model folders that nobody should be able to use, and a few odd ones that are right.

Each is a named change of a good folder, and what its refusal has to say; `ACCEPTED` stands where
the folder is right after all. Written by hand; `fuzz_folders.py` adds what it finds.
"""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

ACCEPTED = ""
"""In the place of words: the model is loaded."""
Change = Callable[[Path], object]
Row = tuple[str, Change, str]
"""Name, what is done to the folder, words of the refusal (separated by `|`)."""

CONFIG, GENERATION, WEIGHTS = "config.json", "generation_config.json", "model.safetensors"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
INDEX = "model.safetensors.index.json"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"
UP = "model.layers.1.mlp.up_proj.weight"


def linked(good: Path, folder: Path) -> Path:
    """A folder with the same files, each a link that a change replaces."""
    folder.mkdir(parents=True)
    for path in good.iterdir():
        os.link(path, folder / path.name)
    return folder


def put(name: str, content: Any) -> Change:
    """The file with other content: bytes, text, or a value as JSON."""

    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / name).write_text(text, encoding="utf-8")

    return change


def merged(name: str, values: dict[str, Any], *without: str) -> Change:
    """The JSON object in the file with other values, and without some keys."""

    def change(folder: Path) -> None:
        path = folder / name
        old = json.loads(path.read_text()) if path.exists() else {}
        new = {key: value for key, value in {**old, **values}.items() if key not in without}
        put(name, new)(folder)

    return change


def inside(name: str, *steps: Any) -> Change:
    """The JSON file with the last of the steps in the place that the others lead to."""

    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        where = content
        for step in steps[:-2]:
            where = where[step]
        where[steps[-2]] = steps[-1]
        put(name, content)(folder)

    return change


def several(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes]


def gone(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names]


def moved(name: str, other: str) -> Change:
    return lambda folder: (folder / name).rename(folder / other)


def directory(name: str) -> Change:
    return several(gone(name), lambda folder: (folder / name).mkdir())


def header(
    change: Callable[[dict[str, Any]], Any], body: Callable[[bytes], bytes] = bytes
) -> Change:
    """The weights with another header (a value, or bytes) and other content behind it."""

    def write(folder: Path) -> None:
        content = (folder / WEIGHTS).read_bytes()
        end = 8 + struct.unpack("<Q", content[:8])[0]
        entries = json.loads(content[8:end])
        new = change(entries)
        new = entries if new is None else new
        raw = new if isinstance(new, bytes) else json.dumps(new).encode()
        put(WEIGHTS, struct.pack("<Q", len(raw)) + raw + body(content[end:]))(folder)

    return write


def entry(**fields: Any) -> Change:
    """The weights with other fields in the header of one tensor."""
    return header(lambda entries: entries[UP].update(fields))


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    """The weights with other tensors."""

    def write(folder: Path) -> None:
        held = load_file(folder / WEIGHTS)
        change(held)
        (folder / WEIGHTS).unlink()
        save_file(held, folder / WEIGHTS, {"format": "pt"})

    return write


def value(name: str, number: float, dtype: torch.dtype = torch.float32) -> Change:
    """The weights with one number of a tensor replaced."""

    def change(held: dict[str, torch.Tensor]) -> None:
        held[name] = held[name].to(dtype)
        held[name].view(-1)[3] = number

    return tensors(change)


def index(weight_map: Any, shards: int = 2) -> Change:
    """Two shards and an index, whose map (from the right one) is changed or replaced."""

    def write(folder: Path) -> None:
        held = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        names = sorted(held)
        right = {}
        for shard in range(shards):
            mine = {name: held[name] for name in names[shard::shards]}
            save_file(mine, folder / f"s{shard}.safetensors", {"format": "pt"})
            right |= dict.fromkeys(mine, f"s{shard}.safetensors")
        new = weight_map(right) if callable(weight_map) else weight_map
        put(INDEX, {"metadata": {}, "weight_map": right if new is None else new})(folder)

    return write


def one(name: Any) -> Change:
    """An index that names something else for one tensor."""
    return index(lambda right: right.update({UP: name}))


def cached(main: str | None, *snapshots: str) -> Change:
    """A folder of the hub's cache in the place of the model, which is each of its snapshots."""

    def change(folder: Path) -> None:
        files = [path for path in folder.iterdir() if path.is_file()]
        for snapshot in snapshots:
            (folder / "snapshots" / snapshot).mkdir(parents=True)
            for path in files:
                os.link(path, folder / "snapshots" / snapshot / path.name)
        (folder / "snapshots").mkdir(exist_ok=True)
        for path in files:
            path.unlink()
        if main is not None:
            (folder / "refs").mkdir()
            (folder / "refs" / "main").write_text(main)

    return change


def nested(depth: int, begin: str = '{"a":', end: str = "}") -> str:
    return begin * depth + "1" + end * depth


def rows(group: str, changes: dict[str, tuple[Change, str]]) -> list[Row]:
    return [(f"{group}-{name}", change, words) for name, (change, words) in changes.items()]


def settings(key: str, words: str, *values: Any) -> list[Row]:
    """A row for every value of a key of the configuration."""
    return [
        (f"config-{key}-{short_repr(value)}", merged(CONFIG, {key: value}), words)
        for value in values
    ]


def short_repr(value: Any) -> str:
    return "huge" if isinstance(value, int) and abs(value) > 10**12 else repr(value)[:40]


FITS = "do not fit its config.json"


def sizes() -> list[Row]:
    nonsense = (0, -1, "32", None, 32.5, True, [32], {"a": 32}, 10**12, 10**400)
    named: list[Row] = []
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
        named += settings(key, f"config.json|{key}", *nonsense)
    for key in ("intermediate_size", "max_position_embeddings"):
        named += settings(key, f"config.json|{key}", 0, -1, "9", None, 9.5, False, [], 10**12)
    for key in ("num_key_value_heads", "head_dim"):
        named += settings(key, f"config.json|{key}", 0, -1, "2", 2.5, [2], 10**9)
    return named


CONFIGS: list[Row] = [
    *sizes(),
    *settings("hidden_size", "config.json", 28, 31, 64, 300),
    *settings("num_hidden_layers", f"{FITS}|num_hidden_layers", 1, 2, 4, 20),
    *settings("num_labels", "config.json|num_labels", 10**9, -1, "x"),
    *settings("num_attention_heads", "config.json", 3, 8, 32),
    *settings("num_key_value_heads", "config.json", 1, 3, 4),
    *settings("head_dim", "config.json", 7, 16),
    *settings("intermediate_size", f"{FITS}|intermediate_size", 24, 47, 49),
    *settings("vocab_size", "config.json|vocab_size", 299, 150),
    *settings("rms_norm_eps", "config.json|rms_norm_eps", "x", -1, 5, [], {}, True),
    *settings("hidden_act", "config.json|hidden_act", "foo", 5, "", "__class__", ["silu"], {}),
    *settings("hidden_act", ACCEPTED, "gelu"),
    *settings("dtype", "config.json|dtype", "float33", 5, "int8", ["float32"], {}, ""),
    *settings("hidden_activation", "config.json", [], "foo"),
    *settings("torch_dtype", "config.json|torch_dtype", "float33", "bool"),
    *settings("dtype", ACCEPTED, None, "bfloat16"),
    *settings("tie_word_embeddings", "config.json|tie_word_embeddings", "x", 5, [1]),
    *settings("attention_bias", "config.json", True, "x"),
    *settings("mlp_bias", "config.json", True, 7),
    *settings("return_dict", "config.json|return_dict", False, "x"),
    *settings("return_dict", ACCEPTED, True),
    *settings(
        "attn_implementation", "config.json|attn_impl", "a/kernel", "\0", 5, [], "paged|sdpa"
    ),
    *settings("_attn_implementation", "config.json|attn_implementation", "a/kernel", {}, "flash"),
    *settings("attn_implementation", ACCEPTED, "eager", None),
    *settings(
        "model_type", "model type", "vit", 5, None, [], {}, "", "Llama", "\x1b[2J", "a" * 9**4
    ),
    *settings("model_type", "config.json", "gpt2", "phi3", "gpt_neox", "qwen2", "gemma3"),
    *settings("model_type", ACCEPTED, "mistral"),
    *settings("architectures", ACCEPTED, [], ["FooForCausalLM"], None),
    *settings("quantization_config", "quantised", {"quant_method": "fp8"}, {"bits": 4}, [1], "x"),
    *settings("quantization", "quantised", {"bits": 4}),
    *settings("text_config", "config.json|text_config", {"hidden_size": 5}, 5, [], {}),
    *settings("layer_types", "config.json", ["foo"] * 3, ["full_attention"] * 2, 5, {}),
    *settings("eos_token_id", "config.json|eos_token_id", -1, 300, 10**9, "1", [1, 300], [[]], {}),
    *settings("eos_token_id", "config.json|eos_token_id", True, 1.0),
    *settings("eos_token_id", ACCEPTED, None, [1, 7]),
    *settings("pad_token_id", "config.json|pad_token_id", 300, -5, "x", {}),
    *settings("pad_token_id", ACCEPTED, None, -1),
    *settings("auto_map", ACCEPTED, {"AutoConfig": "x.X"}),
    *settings("a_key_of_its_own", ACCEPTED, 10**12, "x", {"deep": [1]}),
    *settings("output_attentions", ACCEPTED, False),
]

ROPES: list[Row] = [
    (f"rope-{number}", merged(CONFIG, {"rope_parameters": rope}), f"config.json|{words}")
    for number, (rope, words) in enumerate(
        [
            ({"rope_type": "foo", "rope_theta": 1e4}, "rope_type|foo"),
            ({"rope_type": 5, "rope_theta": 1e4}, "rope_type"),
            ({"rope_type": ["default"], "rope_theta": 1e4}, "rope"),
            ({"rope_type": "default", "rope_theta": 0}, "rope_theta"),
            ({"rope_type": "default", "rope_theta": -1}, "rope_theta"),
            ({"rope_type": "default", "rope_theta": "x"}, "rope_theta"),
            ({"rope_type": "default", "rope_theta": 1e300}, "rope_theta"),
            ({"rope_type": "linear", "rope_theta": 1e4, "factor": 0}, "factor"),
            ({"rope_type": "linear", "rope_theta": 1e4, "factor": "x"}, "factor"),
            ({"rope_type": "linear", "rope_theta": 1e4}, "factor"),
            ({"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0}, "rope"),
            ({"rope_type": "longrope", "rope_theta": 1e4, "long_factor": [1], "factor": 2}, ""),
            ({"rope_type": "yarn", "rope_theta": 1e4, "factor": -3}, "factor"),
            ({"rope_type": "default", "partial_rotary_factor": 7}, "partial_rotary_factor"),
            ({"rope_type": "default", "partial_rotary_factor": 0}, "partial_rotary_factor"),
            ("x", ""),
            (5, ""),
            ([1], ""),
        ]
    )
] + [
    ("rope-old-unknown", merged(CONFIG, {"rope_scaling": {"type": "foo", "factor": 2}}), "foo"),
    (
        "rope-old-text",
        merged(CONFIG, {"rope_scaling": {"type": "linear", "factor": "x"}}),
        "factor",
    ),
]

TEXTS: list[Row] = [
    (f"{name}-{what}", put(name, content), f"{name}|cannot")
    for name in (CONFIG, GENERATION, TOKENIZER_CONFIG, TOKENIZER)
    for what, content in {
        "empty": "",
        "brace": "{",
        "null": "null",
        "number": "5",
        "text": '"x"',
        "list": "[]",
        "nul": "\0",
        "not-utf8": b'{"a": "\xff\xfe"}',
        "utf16": '{"a": 1}'.encode("utf-16"),
        "byte order mark": b'\xef\xbb\xbf{"a": 1}',
        "deep-object": nested(100_000),
        "deep-list": nested(100_000, "[", "]"),
        "deep-enough-for-python": nested(900),
        "rest": '{"a": 1} x',
        "python": "{'a': 1}",
    }.items()
    if (name, what) not in [(GENERATION, "deep-enough-for-python")]
]

FILES: list[Row] = rows(
    "file",
    {
        "no-config": (gone(CONFIG), "no config.json in"),
        "config-is-a-folder": (directory(CONFIG), "no config.json in"),
        "config-twice-a-key": (put(CONFIG, '{"model_type": 1, "model_type": 2}'), "'model_type'"),
        "config-nan": (
            merged(CONFIG, {"rms_norm_eps": float("nan")}),
            "config.json|'rms_norm_eps' is nan",
        ),
        "config-infinity": (merged(CONFIG, {"x": [1, {"y": float("inf")}]}), "'x.1.y' is inf"),
        "config-1e999": (put(CONFIG, '{"model_type": "llama", "z": 1e999}'), "'z' is inf"),
        "config-digits": (put(CONFIG, '{"a": ' + "9" * 5000 + "}"), "config.json|digits"),
        "config-large": (put(CONFIG, '{"a": "' + "x" * 2**24 + '"}'), "config.json|MiB"),
        "config-escapes": (
            put(CONFIG, '{"model_type": "llama", "\\u001b[2J": NaN}'),
            "config.json|x1b",
        ),
        **{
            f"pointer-{name}": (put(name, POINTER), f"{name}|Git LFS pointer")
            for name in (CONFIG, GENERATION, WEIGHTS, TOKENIZER, TOKENIZER_CONFIG)
        },
        "pointer-template": (put("chat_template.jinja", POINTER), "chat_template.jinja|Git LFS"),
        "pointer-vocabulary": (put("vocab.json", POINTER), "vocab.json|Git LFS"),
        "generation-eos": (merged(GENERATION, {"eos_token_id": 300}), "generation_config|eos"),
        "generation-eos-text": (merged(GENERATION, {"eos_token_id": "1"}), "generation_config|eos"),
        "generation-eos-none": (merged(GENERATION, {"eos_token_id": None}), ACCEPTED),
        "generation-none": (gone(GENERATION), ACCEPTED),
        "generation-beams": (merged(GENERATION, {"num_beams": "x"}), ACCEPTED),
        "special-tokens-list": (put("special_tokens_map.json", "[]"), "special_tokens_map.json"),
        "added-tokens-list": (put("added_tokens.json", "[]"), "added_tokens.json"),
        "tokenizer-none": (gone(TOKENIZER), "no tokenizer in|tokenizer.json"),
        "tokenizer-is-a-folder": (directory(TOKENIZER), "no tokenizer in|tokenizer.json"),
        "tokenizer-config-none": (gone(TOKENIZER_CONFIG), ACCEPTED),
        "no-stop": (
            several(
                gone(GENERATION, TOKENIZER_CONFIG),
                merged(CONFIG, {"eos_token_id": None}),
            ),
            "no token ends an answer|eos_token_id in generation_config.json",
        ),
        "weights-none": (gone(WEIGHTS), "no weights in|model.safetensors"),
        "weights-are-a-folder": (directory(WEIGHTS), "no weights in|model.safetensors"),
        "weights-pickled": (moved(WEIGHTS, "pytorch_model.bin"), "pickled|pytorch_model.bin"),
        "weights-gguf": (moved(WEIGHTS, "m.gguf"), "GGUF|m.gguf"),
        "weights-tensorflow": (moved(WEIGHTS, "tf_model.h5"), "TensorFlow|tf_model.h5"),
        "weights-flax": (moved(WEIGHTS, "flax_model.msgpack"), "Flax|flax_model.msgpack"),
        "weights-shard-alone": (moved(WEIGHTS, "model-00001-of-00002.safetensors"), "index.json"),
        "gguf-alone": (several(gone(CONFIG), moved(WEIGHTS, "m.gguf")), "GGUF|m.gguf"),
        "adapter-alone": (several(gone(WEIGHTS), put("adapter_config.json", {})), "adapter"),
        "adapter-beside": (put("adapter_config.json", {}), "adapter beside whole weights"),
        "adapter-beside-broken": (put("adapter_config.json", "\0"), "adapter beside whole"),
        "adapter-only": (moved(CONFIG, "adapter_config.json"), "adapter"),
        "folder-in-folder": (
            several(
                lambda folder: (folder / "inner").mkdir(),
                moved(CONFIG, "inner/config.json"),
            ),
            "no config.json|in its folder 'inner'",
        ),
        "cache": (cached("a1\n", "a1", "b2"), ACCEPTED),
        "cache-one": (cached(None, "a1"), ACCEPTED),
        "cache-several": (cached(None, "a1", "b2"), "2 snapshots|snapshots/a1"),
        "cache-leaves": (cached("../../..", "a1", "b2"), "2 snapshots"),
        "cache-nul": (cached("\0", "a1", "b2"), "2 snapshots"),
        "cache-empty": (cached("a1"), "without a snapshot"),
    },
)

TOKENIZERS: list[Row] = rows(
    "tokenizer",
    {
        "object": (put(TOKENIZER, {}), TOKENIZER),
        "version-alone": (put(TOKENIZER, {"version": "1.0"}), TOKENIZER),
        "model-null": (merged(TOKENIZER, {"model": None}), TOKENIZER),
        "model-unknown": (inside(TOKENIZER, "model", "type", "Foo"), TOKENIZER),
        "vocabulary-list": (inside(TOKENIZER, "model", "vocab", []), TOKENIZER),
        "vocabulary-none": (inside(TOKENIZER, "model", "vocab", {}), "tokenizer"),
        "vocabulary-negative": (inside(TOKENIZER, "model", "vocab", {"a": -1}), TOKENIZER),
        "vocabulary-text": (inside(TOKENIZER, "model", "vocab", {"a": "x"}), TOKENIZER),
        "vocabulary-huge": (inside(TOKENIZER, "model", "vocab", {"a": 2**40}), TOKENIZER),
        "merges-number": (inside(TOKENIZER, "model", "merges", 5), TOKENIZER),
        "merges-unknown": (inside(TOKENIZER, "model", "merges", [["qq", "zz"]]), TOKENIZER),
        "merges-odd": (inside(TOKENIZER, "model", "merges", ["a"]), TOKENIZER),
        "added-number": (merged(TOKENIZER, {"added_tokens": 5}), TOKENIZER),
        "added-object": (merged(TOKENIZER, {"added_tokens": {}}), TOKENIZER),
        "added-text": (merged(TOKENIZER, {"added_tokens": ["<bos>"]}), TOKENIZER),
        "added-id-text": (inside(TOKENIZER, "added_tokens", 0, "id", "x"), TOKENIZER),
        "added-id-negative": (inside(TOKENIZER, "added_tokens", 0, "id", -1), TOKENIZER),
        "added-content": (inside(TOKENIZER, "added_tokens", 0, "content", 5), TOKENIZER),
        "added-flag": (inside(TOKENIZER, "added_tokens", 0, "lstrip", "x"), TOKENIZER),
        "split-unknown": (merged(TOKENIZER, {"pre_tokenizer": {"type": "Foo"}}), TOKENIZER),
        "split-number": (merged(TOKENIZER, {"pre_tokenizer": 5}), TOKENIZER),
        "split-pattern": (
            inside(TOKENIZER, "pre_tokenizer", "pretokenizers", 0, "pattern", {"Regex": "("}),
            TOKENIZER,
        ),
        "decoder-number": (merged(TOKENIZER, {"decoder": 5}), TOKENIZER),
        "template-unknown-token": (
            inside(TOKENIZER, "post_processor", "special_tokens", {}),
            TOKENIZER,
        ),
        "template-id-far": (
            inside(TOKENIZER, "post_processor", "special_tokens", "<bos>", "ids", [2**33]),
            TOKENIZER,
        ),
        "truncation": (merged(TOKENIZER, {"truncation": {"max_length": "x"}}), TOKENIZER),
        "padding": (merged(TOKENIZER, {"padding": {"strategy": "x"}}), TOKENIZER),
        "normaliser": (merged(TOKENIZER, {"normalizer": {"type": "Replace"}}), TOKENIZER),
        "class-unknown": (merged(TOKENIZER_CONFIG, {"tokenizer_class": "Foo"}), ACCEPTED),
        "class-number": (merged(TOKENIZER_CONFIG, {"tokenizer_class": 5}), "tokenizer"),
        "length-text": (merged(TOKENIZER_CONFIG, {"model_max_length": "x"}), "tokenizer"),
        "eos-number": (merged(TOKENIZER_CONFIG, {"eos_token": 5}), "tokenizer"),
        "eos-list": (merged(TOKENIZER_CONFIG, {"eos_token": ["<eos>"]}), "tokenizer"),
        "eos-new": (
            merged(TOKENIZER_CONFIG, {"eos_token": "<new>"}),
            "eos_token '<new>'|tokenizer_config.json",
        ),
        "bos-new": (merged(TOKENIZER_CONFIG, {"bos_token": "<new>"}), "bos_token '<new>'"),
        "pad-new": (merged(TOKENIZER_CONFIG, {"pad_token": "<new>"}), ACCEPTED),
        "eos-escape": (merged(TOKENIZER_CONFIG, {"eos_token": "\x1b[2J"}), "eos_token|x1b"),
        "added-decoder": (merged(TOKENIZER_CONFIG, {"added_tokens_decoder": 5}), "tokenizer"),
        "added-decoder-key": (
            merged(TOKENIZER_CONFIG, {"added_tokens_decoder": {"x": {"content": "a"}}}),
            "tokenizer",
        ),
        "added-decoder-row": (
            merged(TOKENIZER_CONFIG, {"added_tokens_decoder": {"0": 5}}),
            "tokenizer",
        ),
        "code": (
            merged(TOKENIZER_CONFIG, {"auto_map": {"AutoTokenizer": ["x.X", None]}}),
            ACCEPTED,
        ),
        "side": (merged(TOKENIZER_CONFIG, {"padding_side": "up"}), "tokenizer"),
        "extra": (merged(TOKENIZER_CONFIG, {"extra_special_tokens": 5}), "tokenizer"),
    },
)


def _drop(name: str) -> Change:
    return tensors(lambda held: held.pop(name))


def _add(name: str, tensor: torch.Tensor) -> Change:
    return tensors(lambda held: held.update({name: tensor}))


def _replace(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    return tensors(lambda held: held.update({name: change(held[name]).contiguous()}))


def _shifted(entries: dict[str, Any]) -> None:
    """Every tensor four bytes further on."""
    for name, one in entries.items():
        if name != "__metadata__":
            one["data_offsets"] = [offset + 4 for offset in one["data_offsets"]]


BROKEN = "model.safetensors"
HEADERS: list[Row] = rows(
    "header",
    {
        "empty-file": (put(WEIGHTS, b""), BROKEN),
        "seven-bytes": (put(WEIGHTS, b"\1" * 7), BROKEN),
        "length-alone": (put(WEIGHTS, struct.pack("<Q", 2)), BROKEN),
        "length-huge": (put(WEIGHTS, struct.pack("<Q", 2**63) + b"{}"), BROKEN),
        "length-zero": (put(WEIGHTS, struct.pack("<Q", 0)), BROKEN),
        "length-100-mib": (put(WEIGHTS, struct.pack("<Q", 100 * 2**20) + b"{}"), BROKEN),
        "no-tensors": (put(WEIGHTS, struct.pack("<Q", 2) + b"{}"), "stored as none|weights"),
        "not-json": (header(lambda _: b"{" * 40), BROKEN),
        "list": (header(lambda _: []), BROKEN),
        "list-of-pairs": (header(lambda _: [["a", {}]]), BROKEN),
        "null": (header(lambda _: b"null"), BROKEN),
        "text": (header(lambda _: b'"ab"'), BROKEN),
        "not-utf8": (header(lambda _: b'{"\xff": 1}'), BROKEN),
        "nul": (header(lambda _: b"\0" * 16), BROKEN),
        "deep": (header(lambda _: nested(50_000).encode()), BROKEN),
        "twice": (
            header(
                lambda e: (
                    json.dumps(e).encode().replace(b'"lm_head.weight"', b'"model.norm.weight"')
                )
            ),
            f"{BROKEN}|'model.norm.weight' twice",
        ),
        "entry-null": (header(lambda e: e.update({UP: None})), f"{BROKEN}|{UP}"),
        "entry-number": (header(lambda e: e.update({UP: 5})), f"{BROKEN}|{UP}"),
        "entry-list": (header(lambda e: e.update({UP: []})), f"{BROKEN}|{UP}"),
        "entry-empty": (header(lambda e: e.update({UP: {}})), f"{BROKEN}|{UP}"),
        "name-escape": (header(lambda e: e.update({"\x1b[2J": {}})), f"{BROKEN}|x1b"),
        "name-long": (header(lambda e: e.update({"a" * 9**5: {}})), BROKEN),
        "metadata-list": (header(lambda e: e.update({"__metadata__": []})), f"{BROKEN}|metadata"),
        "entry-pairs": (header(lambda e: e.update({UP: [["dtype", "F32"]]})), f"{BROKEN}|{UP}"),
        "metadata-number": (header(lambda e: e.update({"__metadata__": 5})), BROKEN),
        "metadata-numbers": (header(lambda e: e.update({"__metadata__": {"a": 5}})), BROKEN),
        "dtype-unknown": (entry(dtype="F128"), f"{BROKEN}|{UP}|F128"),
        "dtype-number": (entry(dtype=32), f"{BROKEN}|{UP}"),
        "dtype-null": (entry(dtype=None), f"{BROKEN}|{UP}"),
        "dtype-list": (entry(dtype=["F32"]), f"{BROKEN}|{UP}"),
        "dtype-half": (entry(dtype="F16"), f"{BROKEN}|{UP}"),
        "shape-negative": (entry(shape=[-48, 32]), f"{BROKEN}|{UP}"),
        "shape-huge": (entry(shape=[2**40, 2**40]), f"{BROKEN}|{UP}"),
        "shape-beyond": (entry(shape=[10**30, 1]), f"{BROKEN}|{UP}"),
        "shape-text": (entry(shape="48x32"), f"{BROKEN}|{UP}"),
        "shape-texts": (entry(shape=["48", "32"]), f"{BROKEN}|{UP}"),
        "shape-floats": (entry(shape=[48.0, 32.0]), f"{BROKEN}|{UP}"),
        "shape-flags": (entry(shape=[True, True]), f"{BROKEN}|{UP}"),
        "shape-null": (entry(shape=None), f"{BROKEN}|{UP}"),
        "shape-other": (entry(shape=[48, 31]), f"{BROKEN}|{UP}"),
        "shape-many": (entry(shape=[1] * 4000), f"{BROKEN}|{UP}"),
        "shape-turned": (entry(shape=[32, 48]), f"{FITS}|{UP}"),
        "shape-flat": (entry(shape=[48 * 32]), f"{FITS}|{UP}"),
        "shape-zero": (entry(shape=[0, 32]), f"{BROKEN}|{UP}"),
        "offsets-negative": (entry(data_offsets=[-4, 6140]), f"{BROKEN}|{UP}"),
        "offsets-text": (entry(data_offsets=["0", "6144"]), f"{BROKEN}|{UP}"),
        "offsets-floats": (entry(data_offsets=[0.0, 6144.0]), f"{BROKEN}|{UP}"),
        "offsets-one": (entry(data_offsets=[6144]), f"{BROKEN}|{UP}"),
        "offsets-three": (entry(data_offsets=[0, 6144, 9]), f"{BROKEN}|{UP}"),
        "offsets-null": (entry(data_offsets=None), f"{BROKEN}|{UP}"),
        "offsets-turned": (entry(data_offsets=[6144, 0]), f"{BROKEN}|{UP}"),
        "offsets-overlap": (entry(data_offsets=[0, 6144]), f"{BROKEN}|overlaps"),
        "offsets-beyond": (entry(data_offsets=[2**40, 2**40 + 6144]), f"{BROKEN}|does not follow"),
        "short": (header(lambda _: None, lambda body: body[:-1]), f"{BROKEN}|cut short"),
        "long": (header(lambda _: None, lambda body: body + b"\0"), f"{BROKEN}|too long"),
        "gap": (
            header(_shifted, lambda body: b"\0" * 4 + body),
            f"{BROKEN}|does not follow",
        ),
    },
)

INDEXES: list[Row] = rows(
    "index",
    {
        "right": (index(None), ACCEPTED),
        "of-one": (index(None, 1), ACCEPTED),
        "no-map": (index({}), f"{INDEX}|weight_map"),
        "map-list": (index(["s0.safetensors"]), f"{INDEX}|weight_map"),
        "map-text": (index("s0.safetensors"), f"{INDEX}|weight_map"),
        "map-null": (index(None) and index(lambda _: 0), f"{INDEX}|weight_map"),
        "number": (one(5), f"{INDEX}|{UP}"),
        "null": (one(None), f"{INDEX}|{UP}"),
        "list": (one(["s0.safetensors"]), f"{INDEX}|{UP}"),
        "empty": (one(""), f"{INDEX}|{UP}"),
        "up": (one("../m/s0.safetensors"), f"{INDEX}|{UP}"),
        "up-alone": (one(".."), f"{INDEX}|{UP}|safetensors"),
        "absolute": (one("/etc/passwd"), f"{INDEX}|{UP}"),
        "inner": (one("sub/s0.safetensors"), f"{INDEX}|{UP}"),
        "backslash": (one("..\\s0.safetensors"), f"{INDEX}|{UP}"),
        "nul": (one("s0.safetensors\0"), f"{INDEX}|{UP}"),
        "escape": (one("\x1b[2J.safetensors"), "weight files are missing|x1b"),
        "pickle": (one("pytorch_model.bin"), f"{INDEX}|safetensors"),
        "missing": (one("s9.safetensors"), "1 of 3 weight files are missing|s9.safetensors"),
        "long": (one("s" * 5000 + ".safetensors"), f"{INDEX}|{UP}"),
        "other-shard": (
            index(lambda right: right.update({UP: f"s{1 - int(right[UP][1])}.safetensors"})),
            f"{INDEX}|{UP}|does not hold it",
        ),
        "unknown-tensor": (
            index(lambda right: right.update({"model.x": "s0.safetensors"})),
            f"{INDEX}|model.x|does not hold it",
        ),
        "twice": (put(INDEX, '{"weight_map": {}, "weight_map": {}}'), f"{INDEX}|twice"),
        "broken-beside": (put(INDEX, "[]"), INDEX),
        "another-set": (
            put(INDEX, {"weight_map": {UP: "s1.safetensors"}}),
            f"two sets of weights|{INDEX}",
        ),
        "same-set": (put(INDEX, {"weight_map": {UP: WEIGHTS}}), ACCEPTED),
        "copy": (
            several(index(None), lambda f: os.link(f / "s0.safetensors", f / "s2.safetensors")),
            ACCEPTED,
        ),
        "copied": (
            several(
                index(None),
                lambda f: os.link(f / "s0.safetensors", f / "s2.safetensors"),
                inside(INDEX, "weight_map", "lm_head.weight", "s2.safetensors"),
            ),
            "s0.safetensors and s2.safetensors",
        ),
    },
)

VALUES: list[Row] = rows(
    "value",
    {
        "nan": (value(UP, float("nan")), f"{UP}|not finite"),
        "infinity": (value("lm_head.weight", float("inf")), "lm_head.weight|not finite"),
        "minus-infinity": (value("model.norm.weight", -float("inf")), "model.norm|not finite"),
        "nan-bfloat16": (value(UP, float("nan"), torch.bfloat16), f"{UP}|not finite"),
        "infinity-float16": (value(UP, float("inf"), torch.float16), f"{UP}|not finite"),
        "largest": (value(UP, 3e38), "no finite numbers|config.json"),
        "zeros": (tensors(lambda held: held.update({UP: held[UP] * 0})), ACCEPTED),
        "float64": (_replace(UP, torch.Tensor.double), ACCEPTED),
        "int8": (_replace(UP, torch.Tensor.char), f"{UP}|quantised|I8"),
        "uint8": (_replace(UP, torch.Tensor.byte), f"{UP}|quantised|U8"),
        "int32": (_replace(UP, torch.Tensor.int), f"{UP}|quantised|I32"),
        "float8": (_replace(UP, lambda t: t.to(torch.float8_e4m3fn)), f"{UP}|quantised|F8"),
        "complex": (_replace(UP, lambda t: t.to(torch.complex64)), f"{UP}|C64"),
        "packed": (_add("model.layers.0.mlp.up_proj.qweight", torch.ones(9).int()), "quantised"),
        "mask": (_add("model.layers.0.self_attn.rotary_emb.inv_freq", torch.ones(4)), ACCEPTED),
        "missing": (_drop(UP), f"{FITS}|{UP}"),
        "missing-norm": (_drop("model.norm.weight"), f"{FITS}|model.norm.weight"),
        "missing-head": (_drop("lm_head.weight"), f"{FITS}|lm_head.weight"),
        "missing-embeddings": (_drop("model.embed_tokens.weight"), f"{FITS}|embed_tokens"),
        "more-layers": (_add("model.layers.3.mlp.up_proj.weight", torch.ones(48, 32)), FITS),
        "lora": (_add("model.layers.1.mlp.up_proj.lora_A.weight", torch.ones(2, 32)), FITS),
        "bias": (_add("model.layers.1.self_attn.q_proj.bias", torch.ones(32)), FITS),
        "value-head": (_add("v_head.summary.weight", torch.ones(1, 32)), ACCEPTED),
        "row-less": (_replace(UP, lambda t: t[:-1]), f"{FITS}|{UP}|47x32"),
        "row-more": (_replace(UP, lambda t: torch.cat([t, t[:1]])), f"{FITS}|{UP}|49x32"),
        "turned": (_replace(UP, torch.Tensor.t), f"{FITS}|{UP}|32x48"),
        "empty": (_replace(UP, lambda t: t[:0]), f"{FITS}|{UP}|0x32"),
    },
)

FOUND: list[Row] = [
    ("found-109", merged(CONFIG, {"auto_map": {}, "bos_token_id": []}), "config.json|auto_map"),
    ("found-1349", merged(CONFIG, {"initializer_range": "\0" * 90}), "config.json"),
]
"""What `fuzz_folders.py` found."""

ALL = [*CONFIGS, *ROPES, *TEXTS, *FILES, *TOKENIZERS, *HEADERS, *INDEXES, *VALUES, *FOUND]
