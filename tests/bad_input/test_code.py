"""Nothing of an input is run: every way that is known to us in which a model's folder, edits,
settings, a run or a recommendation could carry code, each with a payload that would leave a file.
"""

import gzip
import json
import os
import pickle
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import report_factory as factory
import torch
import yaml
from bad_input.model_folders import CONFIG, TOKENIZER_CONFIG, WEIGHTS, Change, linked, merged, put
from families import save_tiny
from towns import edit_rows
from typer.testing import CliRunner

from locscope.cli.app import app
from locscope.errors import LocscopeError
from locscope.models.load import load, peek
from locscope.runs.folder import open_run
from locscope.runs.info import write_info
from locscope.runs.store import write_record

MARK = "LOCSCOPE_TEST_MARK"
"""Names the file that a payload makes."""
LINE = f"__import__('pathlib').Path(__import__('os').environ['{MARK}']).write_text('ran')"
SHELL = f"touch ${MARK}"


class Payload:
    """What runs where it is read as a pickle."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, (SHELL,)


PICKLE = pickle.dumps(Payload())
TEMPLATE = "{{ cycler.__init__.__globals__.os.system('" + SHELL + "') }}"
CLASSES = (
    "{% for c in ''.__class__.__mro__[1].__subclasses__() %}{% if c.__name__ == '_wrap_close' %}"
    "{{ c.__init__.__globals__['system']('" + SHELL + "') }}{% endif %}{% endfor %}"
)
YAML = f"!!python/object/apply:os.system ['{SHELL}']"
MODULE = f"""{LINE}
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
class Config(LlamaConfig): pass
class Model(LlamaForCausalLM): config_class = Config
class Tokens(PreTrainedTokenizerFast): pass
"""
AUTO = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
TOKENS = {"AutoTokenizer": ["own.Tokens", "own.Tokens"]}


def both(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes]


def torch_file(name: str) -> Change:
    return lambda folder: torch.save({"state": Payload()}, folder / name)


def inside(folder: str, name: str, content: str) -> Change:
    def write(home: Path) -> None:
        (home / folder).mkdir(exist_ok=True)
        (home / folder / name).write_text(content)

    return write


code = put("own.py", MODULE)
FOLDERS: dict[str, Change] = {
    "pickled weights": both(
        lambda home: (home / WEIGHTS).unlink(), torch_file("pytorch_model.bin")
    ),
    "pickled weights beside": torch_file("pytorch_model.bin"),
    "a pickle named safetensors": put(WEIGHTS, PICKLE),
    "optimizer states": both(torch_file("optimizer.pt"), torch_file("scheduler.pt")),
    "a trainer's arguments": both(torch_file("training_args.bin"), torch_file("rng_state.pth")),
    "an adapter": both(put("adapter_config.json", {}), torch_file("adapter_model.bin")),
    "GGUF": both(lambda home: (home / WEIGHTS).unlink(), put("m.gguf", b"GGUF" + PICKLE)),
    "auto_map": both(code, merged(CONFIG, {"auto_map": AUTO})),
    "auto_map of an unknown type": both(
        code, merged(CONFIG, {"auto_map": AUTO, "model_type": "own"})
    ),
    "auto_map that trusts itself": both(
        code, merged(CONFIG, {"auto_map": AUTO, "trust_remote_code": True})
    ),
    "auto_map of another repository": merged(
        CONFIG, {"auto_map": {"AutoConfig": "someone/else--own.Config"}}
    ),
    "auto_map of a tokenizer": both(code, merged(TOKENIZER_CONFIG, {"auto_map": TOKENS})),
    "a tokenizer that trusts itself": both(
        code, merged(TOKENIZER_CONFIG, {"auto_map": TOKENS, "trust_remote_code": True})
    ),
    "a tokenizer's class": both(code, merged(TOKENIZER_CONFIG, {"tokenizer_class": "own.Tokens"})),
    "a tokenizer's class of os": merged(TOKENIZER_CONFIG, {"tokenizer_class": "os.system"}),
    "a processor": both(
        code, put("processor_config.json", {"auto_map": {"AutoProcessor": "own.Tokens"}})
    ),
    "a tokenizer of pickles": put("tokenizer.model", PICKLE),
    "architectures": both(code, merged(CONFIG, {"architectures": ["own.Model", "os.system"]})),
    "attention from the hub": merged(CONFIG, {"_attn_implementation": "someone/kernel:run"}),
    "an expression as dtype": merged(CONFIG, {"dtype": LINE}),
    "an expression as activation": merged(CONFIG, {"hidden_act": LINE}),
    "own generation": both(
        inside("custom_generate", "generate.py", MODULE),
        merged("generation_config.json", {"custom_generate": "."}),
    ),
    "chat template of a file": put("chat_template.jinja", TEMPLATE),
    "chat template by classes": put("chat_template.jinja", CLASSES),
    "chat template of the tokenizer": merged(TOKENIZER_CONFIG, {"chat_template": TEMPLATE}),
    "chat template beside": inside("additional_chat_templates", "x.jinja", TEMPLATE),
    "a card's front matter": put("README.md", f"---\nlicense: {YAML}\n---\n"),
    "neutral texts and abilities": both(put("neutral.txt", LINE), put("abilities.json", [LINE])),
    "modules of the names of libraries": both(
        put("torch.py", MODULE), put("sitecustomize.py", MODULE)
    ),
}
"""What is put into the folder of a good model."""
FILES: dict[str, tuple[str, bytes, tuple[str, ...]]] = {
    "settings": ("s.yaml", f"limit: {YAML}".encode(), ("check", "--settings")),
    "settings, an object": (
        "s.yaml",
        f"limit: !!python/object/new:os.system ['{SHELL}']".encode(),
        ("search", "--settings"),
    ),
    "recommendation": (
        "r.yaml",
        f"locscope: {YAML}".encode(),
        ("edit", "--output", "out", "--config"),
    ),
    "edits, a pickle": ("e.pkl", PICKLE, ("check", "--edits")),
    "edits, a pickle as JSON": ("e.json", PICKLE, ("check", "--edits")),
    "edits, a pickle in gzip": ("e.json.gz", gzip.compress(PICKLE), ("check", "--edits")),
    "edits, of numpy": ("e.npy", b"\x93NUMPY\x01\x00" + PICKLE, ("check", "--edits")),
    "edits, of torch": ("e.pt", b"PK\x03\x04" + PICKLE, ("check", "--edits")),
    "edits, a loading script": ("e.py", MODULE.encode(), ("check", "--edits")),
    "edits, an object": (
        "e.json",
        json.dumps([{"py/reduce": [{"py/function": "os.system"}, [SHELL]]}]).encode(),
        ("check", "--edits"),
    ),
}
"""Name and content of a file, and the command that is given it."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("good") / "m", "llama")


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(MARK, str(tmp_path / "ran"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "ran"


@pytest.mark.parametrize("name", FOLDERS)
def test_no_model_runs_anything(name: str, good: Path, mark: Path, tmp_path: Path) -> None:
    folder = linked(good, tmp_path / "m")
    FOLDERS[name](folder)
    for opened in (peek, partial(load, device="cpu")):
        with suppress(LocscopeError):
            opened(str(folder))
    assert not mark.exists()


@pytest.mark.parametrize("name", [name for name in FOLDERS if "template" in name])
def test_no_template_reaches_python(name: str, good: Path, mark: Path, tmp_path: Path) -> None:
    """The tokenizer of a model that was read; where it is asked for a chat, its template fails."""
    folder = linked(good, tmp_path / "m")
    FOLDERS[name](folder)
    tokenizer = load(str(folder), device="cpu").tokenizer
    chosen = tokenizer.chat_template
    chosen = chosen["x"] if isinstance(chosen, dict) else chosen
    with pytest.raises(Exception, match=r"unsafe|undefined|no attribute"):
        tokenizer.apply_chat_template([{"role": "user", "content": "a"}], chat_template=chosen)
    (tmp_path / "e.json").write_text(json.dumps(edit_rows(6)))
    words = ["--model", str(folder), "--edits", "e.json", "--prompt-format", "chat"]
    result = CliRunner().invoke(app, ["check", *words])
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert not mark.exists()


@pytest.mark.parametrize("name", FILES)
def test_no_file_runs_anything(name: str, mark: Path, tmp_path: Path) -> None:
    file, content, words = FILES[name]
    (tmp_path / file).write_bytes(content)
    result = CliRunner().invoke(app, [*words, file])
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert not mark.exists()


def test_no_record_runs_anything(mark: Path, tmp_path: Path) -> None:
    """A scan's record names the function that made it: a report does not call it."""
    scan = factory.scan()
    object.__setattr__(scan.descriptor, "function", "os:system")
    with open_run(tmp_path / "run", factory.run().settings):
        write_record(tmp_path / "run", "scan", "gradient", scan)
        write_record(tmp_path / "run", "recommendation", "final", factory.recommendation())
        write_info(tmp_path / "run", factory.run())
    result = CliRunner().invoke(app, ["report", "run"])
    assert result.exit_code in {0, 1}, result.output
    assert not mark.exists()


def test_an_edit_takes_nothing_of_it_along(good: Path, mark: Path, tmp_path: Path) -> None:
    names = ("optimizer states", "a trainer's arguments", "own generation", "a card's front matter")
    folder = linked(good, tmp_path / "m")
    for name in (*names, "pickled weights beside", "modules of the names of libraries"):
        FOLDERS[name](folder)
    (tmp_path / "e.json").write_text(json.dumps(edit_rows(6)))
    words = ["--model", str(folder), "--edits", "e.json", "--location", "L1.mlp.down"]
    words += ["--lr", "1e-3", "--epochs", "1", "--output", "out"]
    result = CliRunner().invoke(app, ["edit", *words])
    assert result.exit_code in {0, 3}, result.output
    written = {path.name for path in (tmp_path / "out").rglob("*")}
    assert not {name for name in written if name.endswith((".py", ".bin", ".pt", ".pth"))}
    assert "!!python" not in (tmp_path / "out" / "README.md").read_text()
    assert not mark.exists()


def test_the_payloads_run_where_they_are_let(good: Path, mark: Path, tmp_path: Path) -> None:
    """Else the tests above could not fail."""
    yaml.unsafe_load(YAML)
    assert mark.exists()
    mark.unlink()
    pickle.loads(PICKLE)
    assert mark.exists()
    mark.unlink()
    folder = linked(good, tmp_path / "m")
    FOLDERS["auto_map"](folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peek(str(folder), trust_remote_code=True)
    assert mark.exists()
