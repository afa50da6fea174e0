"""Exports read by the tools themselves, where they are installed; none of them is an extra.

Each wants other versions of what locscope stands on, so that they are put, without their
dependencies, into an environment of their own (docs/pages/about/comparison.md has the versions).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from integrations.test_exports import said

from locscope.integrations.exports import Export

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def by_trl(export: Export, folder: Path) -> Any:
    trl = pytest.importorskip("trl")
    file = folder / "trl.yaml"
    file.write_text(export.text + "dataset_name: mine\nuse_cpu: true\nbf16: false\n")
    parser = trl.TrlParser((trl.ScriptArguments, trl.SFTConfig, trl.ModelConfig))
    _, training, model = parser.parse_args_and_config(args=["--config", str(file)])
    assert training.completion_only_loss
    # Of a list of one it makes the text alone.
    return model.lora_target_modules


def by_axolotl(export: Export, folder: Path) -> Any:
    schema = pytest.importorskip("axolotl.utils.schemas.config")
    data = {"datasets": [{"path": "mine", "type": "alpaca"}]}
    return schema.AxolotlInputConfig(**yaml.safe_load(export.text), **data).unfrozen_parameters


def by_llama_factory(export: Export, folder: Path) -> Any:
    arguments = pytest.importorskip("llamafactory.hparams.finetuning_args").FinetuningArguments
    content = yaml.safe_load(export.text)
    known = {key: value for key, value in content.items() if key in arguments.__dataclass_fields__}
    read = arguments(**known)
    return read.finetuning_type, read.freeze_trainable_layers, read.freeze_trainable_modules


def by_torchtune(export: Export, folder: Path) -> Any:
    torchtune, omegaconf = pytest.importorskip("torchtune.config"), pytest.importorskip("omegaconf")
    read = omegaconf.OmegaConf.create(yaml.safe_load(export.text))
    read.model["_component_"] = "torchtune.models.llama3.lora_llama3_8b"
    torchtune.validate(read)
    return list(read.model.lora_attn_modules)


@pytest.mark.parametrize(
    ("name", "location", "read", "wanted"),
    [
        ("trl", "L3.mlp.down", by_trl, "model.layers.3.mlp.down_proj"),
        ("axolotl", "L3.mlp.down", by_axolotl, [r"^model\.layers\.3\.mlp\.down_proj\."]),
        ("llama_factory", "L8-11.block", by_llama_factory, ("freeze", 4, ["all"])),
        ("torchtune", "L0-11.attn.q+L0-11.attn.v", by_torchtune, ["q_proj", "v_proj"]),
    ],
)
def test_a_tool_reads_what_is_exported_for_it(
    name: str, location: str, read: Callable[[Export, Path], Any], wanted: Any, tmp_path: Path
) -> None:
    assert read(said(name, location), tmp_path) == wanted
