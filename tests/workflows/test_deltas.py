"""An edit as a file: put on a model it is that edit, taken off nothing stays, elsewhere it is
refused."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from families import save_tiny, tiny
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import locscope
from locscope.cli.app import app
from locscope.models.delta import read_delta
from locscope.models.load import load
from locscope.progress import Silent
from locscope.records import dumps
from locscope.runs.note import read_note
from locscope.settings import EditSettings
from locscope.workflows.edit import edit, plan_edit


@dataclass(frozen=True)
class Made:
    """A model stored in bfloat16 (`base`), and two edits of it as folders and as deltas."""

    base: Path
    one: Path
    other: Path
    folder: Path


def edited(base: Path, edits: Path, location: str, where: Path) -> None:
    given = {"model": str(base), "edits": str(edits), "location": location, "lr": 1e-2}
    settings = EditSettings(**{**given, "epochs": 1})
    delta = where.with_suffix(".safetensors")
    edit(plan_edit(settings, None, where, delta=delta), Silent())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, edits_file: Path) -> Made:
    home = tmp_path_factory.mktemp("deltas")
    base = save_tiny(home / "base", "llama")
    tiny("llama").to(torch.bfloat16).save_pretrained(base)
    edited(base, edits_file, "L1.mlp.down", home / "one")
    edited(base, edits_file, "L0.attn.h1", home / "other")
    return Made(base, home / "one.safetensors", home / "other.safetensors", home / "one")


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.stderr


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_delta_put_on_is_the_edited_model_and_taken_off_the_base(
    made: Made, tmp_path: Path
) -> None:
    assert run("apply", made.one, "--output", tmp_path / "on")[0] == 0
    assert weights(tmp_path / "on") == weights(made.folder) != weights(made.base)
    note, wanted = read_note(tmp_path / "on"), read_note(made.folder)
    assert note is not None
    assert wanted is not None
    assert dumps(note.record.measures) == dumps(wanted.record.measures)
    assert (note.base, note.base_hash) == (wanted.base, wanted.base_hash)
    assert "altered" in (tmp_path / "on" / "README.md").read_text()
    assert run("revert", made.one, "--model", tmp_path / "on", "--output", tmp_path / "off")[0] == 0
    assert weights(tmp_path / "off") == weights(made.base)
    assert read_note(tmp_path / "off") is None


def test_other_tools_find_the_tuned_tensors_under_their_own_keys(made: Made) -> None:
    tuned, base = (
        load_file(made.folder / "model.safetensors"),
        load_file(made.base / "model.safetensors"),
    )
    for path in (made.one, made.other):
        for key, tensor in load_file(path).items():
            before = key.removeprefix("before.")
            wanted = base[before] if before != key else tensor
            assert torch.equal(tensor, wanted), key
    assert {k for k in load_file(made.one) if not k.startswith("before.")} == {
        key for key in base if not torch.equal(base[key], tuned[key])
    }


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_several_deltas_are_put_on_and_taken_off_together(
    made: Made, tmp_path: Path, order: tuple[int, int]
) -> None:
    both = [(made.one, made.other)[index] for index in order]
    code, said = run("apply", *both, "--model", made.base, "--output", tmp_path / "on")
    assert code == 0
    assert "does not hold for it" in said
    assert read_note(tmp_path / "on") is None, "nothing was measured of both"
    now, base = (load_file(one / "model.safetensors") for one in (tmp_path / "on", made.base))
    deltas = {**load_file(made.one), **load_file(made.other)}
    for key, tensor in now.items():
        assert torch.equal(tensor, deltas.get(key, base[key])), key
    run("revert", *both, "--model", tmp_path / "on", "--output", tmp_path / "off")
    assert weights(tmp_path / "off") == weights(made.base)


def test_what_a_delta_does_not_fit_is_refused_by_name(made: Made, tmp_path: Path) -> None:
    stranger = save_tiny(tmp_path / "stranger", "llama")
    tiny("llama", seed=1).to(torch.bfloat16).save_pretrained(stranger)
    wide = save_tiny(tmp_path / "wide", "llama")
    other = save_tiny(tmp_path / "gpt2", "gpt2")
    deltas: tuple[tuple[list[object], str], ...] = (
        (["apply", made.one, "--model", stranger], "was made on another model"),
        (["apply", made.one, "--model", wide], "not torch.bfloat16"),
        (["apply", made.one, "--model", other], "has no tensor"),
        (["apply", made.one, "--model", made.folder], "already on"),
        (["apply", made.one, made.one, "--model", made.base], "already on"),
        (["revert", made.one, "--model", made.base], "is not on"),
        (["revert", made.one, "--model", stranger], "changed since"),
        (["apply", made.base / "model.safetensors"], "no delta"),
        (["apply", made.base / "config.json"], "safetensors"),
        (["apply", tmp_path / "nothing.safetensors"], "no file"),
    )
    for words, why in deltas:
        code, said = run(*words, "--output", tmp_path / "out")
        assert (code, len(said.splitlines())) == (2, 1), (words, said)
        assert why in said, said
        assert not (tmp_path / "out").exists()


def test_two_edits_of_one_tensor_are_a_conflict(
    made: Made, edits_file: Path, tmp_path: Path
) -> None:
    edited(made.base, edits_file, "L0-1.mlp.down", tmp_path / "both")
    both = [made.one, tmp_path / "both.safetensors"]
    code, said = run("apply", *both, "--model", made.base, "--output", tmp_path / "out")
    assert code == 2
    assert "both change model.layers.1.mlp.down_proj.weight" in said
    # Made on the model that has the first, the second can follow it.
    edited(made.folder, edits_file, "L1.mlp.down", tmp_path / "second")
    chain = [made.one, tmp_path / "second.safetensors"]
    assert run("apply", *chain, "--model", made.base, "--output", tmp_path / "chain")[0] == 0
    assert weights(tmp_path / "chain") == weights(tmp_path / "second")
    code, said = run(
        "revert", *chain[:1], "--model", tmp_path / "chain", "--output", tmp_path / "x"
    )
    assert code == 2
    assert "changed since" in said


def test_in_memory_it_is_put_on_and_taken_off_bit_for_bit(made: Made) -> None:
    model = load(str(made.base), device="cpu")
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    on = locscope.apply(model, [made.one, made.other])
    stored = {**load_file(made.one), **load_file(made.other)}
    for name, tensor in on.model.state_dict().items():
        assert torch.equal(tensor, stored.get(name, before[name]).float()), name
        assert torch.equal(model.model.state_dict()[name], before[name]), (
            "the given one is as it was"
        )
    off = locscope.revert(on, [made.one, made.other], inplace=True)
    assert off.model is on.model
    assert all(torch.equal(t, before[n]) for n, t in off.model.state_dict().items())
    with pytest.raises(locscope.errors.UsageError, match="already on"):
        locscope.apply(locscope.apply(model, made.one), made.one)
    with torch.no_grad():
        off.model.get_parameter("model.layers.1.mlp.down_proj.weight").add_(1e-6)
    with pytest.raises(locscope.errors.UsageError, match="another model"):
        locscope.apply(off, made.one)


def damaged(path: Path, name: str, out: Path) -> Path:
    """The delta with one thing wrong."""
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = dict(file.metadata())
    key = next(key for key in tensors if not key.startswith("before."))
    note = json.loads(metadata["locscope"])
    changes = {
        "no note": lambda: metadata.pop("locscope"),
        "no names": lambda: metadata.update(parameters="[1]"),
        "names of others": lambda: metadata.update(parameters='{"a": "b"}'),
        "note of a newer program": lambda: note.update(schema_number=99),
        "half a note": lambda: note.pop("record"),
        "nothing before": lambda: tensors.pop("before." + key),
        "another shape before": lambda: tensors.update({"before." + key: torch.zeros(2)}),
        "no tensor after": lambda: tensors.pop(key),
        "integers": lambda: tensors.update(
            {key: tensors[key].int(), "before." + key: tensors["before." + key].int()}
        ),
        "not finite": lambda: tensors[key].view(-1)[0:1].fill_(float("nan")),
    }
    changes[name]()
    if "locscope" in metadata:
        metadata["locscope"] = json.dumps(note)
    save_file(tensors, out, metadata)
    return out


@pytest.mark.parametrize(
    "name",
    [
        *("no note", "no names", "names of others", "note of a newer program", "half a note"),
        *("nothing before", "another shape before", "no tensor after", "integers", "not finite"),
    ],
)
def test_a_damaged_delta_is_refused_in_a_line(made: Made, tmp_path: Path, name: str) -> None:
    path = damaged(made.one, name, tmp_path / "bad.safetensors")
    with pytest.raises(locscope.errors.UsageError, match=r"bad\.safetensors") as raised:
        read_delta(path)
    assert "\n" not in str(raised.value)


def test_nothing_is_written_over(made: Made, edits_file: Path, tmp_path: Path) -> None:
    words = ["edit", "--model", made.base, "--edits", edits_file, "--location", "L0.mlp"]
    taken = made.one.read_bytes()
    code, said = run(*words, "--delta", made.one)
    assert code == 2
    assert "is there already" in said
    assert made.one.read_bytes() == taken
    assert made.one.stat().st_mode == (made.folder / "config.json").stat().st_mode
    code, said = run(*words, "--delta", tmp_path / "edit.pt")
    assert code == 2
    assert "end its name in .safetensors" in said
    code, said = run(*words, "--delta", tmp_path.rename(tmp_path.with_suffix(".safetensors")))
    assert code == 2
    assert said.count("\n") == 1
    code, said = run(*words)
    assert code == 2
    assert "--delta FILE" in said


def test_apply_and_revert_say_which_files_are_those_of_the_base(
    edits_file: Path, tmp_path: Path
) -> None:
    base, on, off = (tmp_path / name for name in ("base", "on", "off"))
    save_tiny(base, "llama")
    (base / "model.safetensors").unlink()
    tiny("llama").save_pretrained(base, max_shard_size="60KB")
    edited(base, edits_file, "L1.mlp.down", tmp_path / "one")
    delta = tmp_path / "one.safetensors"
    for words in (("apply", delta), ("revert", delta, "--model", on)):
        output = on if words[0] == "apply" else off
        code, said = run(*words, "--output", output)
        assert code == 0
        shards = [path.name for path in output.glob("*.safetensors")]
        source = base if output == on else on
        same = sum((source / name).samefile(output / name) for name in shards)
        assert 0 < same < len(shards)
        assert f"{same} of {len(shards)} weight files of {output} are unchanged" in " ".join(
            said.split()
        )
