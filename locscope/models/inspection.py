"""A checkpoint held against its configuration, and a loaded model tried, before anything is tuned.

The model's own classes say which tensors a configuration makes, on the device `meta`, which has no
memory: so what does not fit is known without reading a weight.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.activations import ACT2FN
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from locscope.errors import UsageError, shown
from locscope.models.checkpoint import DTYPES, Checkpoint, Look
from locscope.models.config_checks import text_config
from locscope.models.families import FAMILIES
from locscope.models.files import CONFIG, GENERATION, read_object
from locscope.models.plain_errors import plain_errors, unwritten
from locscope.models.weights import StoredTensor
from locscope.runs.reading import leaves

SENTENCE = "The capital of France is Paris."
"""What a model is tried with."""
BUFFERS = ("inv_freq", "attn.bias", "attention.bias", "masked_bias")
"""Ends of names under a layer that old checkpoints have and no model reads."""
TORCH = {name: getattr(torch, written) for name, written in DTYPES.items()}
"""Names of dtypes in a safetensors header to those of torch."""
REMOTE = "it may need code of its own ({file}: auto_map), read it and give --trust-remote-code"


def read_tokenizer(directory: Path, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder, tried on a sentence.

    Raises UsageError, which names its file, where it cannot be read or used.
    """
    config, whole = directory / "tokenizer_config.json", directory / "tokenizer.json"
    files = ", ".join(path.name for path in (whole, config) if path.is_file())
    doing = f"cannot use the tokenizer in '{directory}' ({files})"
    if not trust_remote_code and config.is_file() and "auto_map" in read_object(config):
        doing = f"{doing}: {REMOTE.format(file=config.name)}"
    try:
        with plain_errors(doing, doing), unwritten():
            return _tried(directory, trust_remote_code)
    except UsageError:
        if whole.is_file():
            with plain_errors(f"cannot read '{whole}'", doing), unwritten():
                Tokenizer.from_file(str(whole))
        raise


def outline(checkpoint: Checkpoint, trust_remote_code: bool) -> PreTrainedModel:
    """The model of a checkpoint on the device `meta`: its shapes, held against the stored ones.

    Raises UsageError, which names file and key, where they differ or no model can be made.
    """
    path = checkpoint.directory / CONFIG
    _refuse_unknown_names(path, checkpoint.config)
    doing = f"cannot make a model from '{path}' and its weights"
    if "auto_map" in checkpoint.config and not trust_remote_code:
        doing = f"{doing}: {REMOTE.format(file=path.name)}"
    full = f"no memory for the shapes of '{path}': let the process have more (ulimit -v)"
    with plain_errors(doing, full):
        model = _made(checkpoint.directory, trust_remote_code)
    if _stored_alike(model, checkpoint):
        return model
    # Names may differ where the checkpoint is older than the code: Hugging Face's loader knows.
    with plain_errors(doing, full):
        model, report = _loaded(
            checkpoint.directory,
            trust_remote_code,
            device_map="meta",
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
        )
    _refuse_misfit(checkpoint, report)
    return model


def read_model(checkpoint: Checkpoint, dtype: torch.dtype, trust: bool) -> PreTrainedModel:
    """The model of a checkpoint that `outline` has accepted, on the CPU."""
    model, report = _loaded(checkpoint.directory, trust, dtype=dtype)
    _refuse_misfit(checkpoint, report)
    # Before 5.21 transformers takes SDPA, which leaves the cap out.
    if getattr(model.config, "attn_logit_softcapping", None):
        model.set_attn_implementation("eager")
    return model


def refuse_stops(directory: Path, model: PreTrainedModel, tokenizer: Any, stops: Any) -> None:
    """Raises UsageError where no token ends an answer, or one that does has no embedding."""
    rows = embeddings(model)
    for name in ("eos_token", "bos_token"):
        token = getattr(tokenizer, f"{name}_id")
        if token is not None and not 0 <= token < rows:
            raise UsageError(
                f"{name} {shown(getattr(tokenizer, name))} of the tokenizer in '{directory}' is "
                f"token {token}, and the model has embeddings for 0 to {rows - 1}: resize them, or "
                "name another in tokenizer_config.json"
            )
    if not stops:
        raise UsageError(
            f"no token ends an answer of the model in '{directory}': name eos_token_id in "
            "generation_config.json, or eos_token in tokenizer_config.json"
        )


def embeddings(model: PreTrainedModel) -> int:
    """How many tokens the model can read."""
    module: Any = model.get_input_embeddings()
    return module.weight.shape[0]


def refuse_not_finite(where: str, tensors: Iterable[tuple[str, Tensor]], dtype: str) -> None:
    """Raises UsageError for the first tensor that holds a NaN or an infinity.

    Reads every number once, without a copy: half a second for 16 GB on a GPU, three on a CPU.
    """
    for name, tensor in tensors:
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        # Both ends are NaN where one number is.
        least, most = torch.aminmax(tensor)
        if not torch.isfinite(least) or not torch.isfinite(most):
            raise UsageError(
                f"{shown(name)} of the model in {where} holds numbers that are not finite in "
                f"{dtype}: {_remedy(dtype)}"
            )


def finite_look(where: str, stored: str) -> Look:
    """What refuses a tensor that is not finite while its file is read for the digest.

    Buffers are passed over: they are not loaded, and masks among them are infinite in float16.
    """

    def look(name: str, tensor: StoredTensor, content: bytearray) -> None:
        kind = TORCH.get(tensor.dtype)
        if kind is not None and content and not name.endswith(BUFFERS):
            refuse_not_finite(where, [(name, torch.frombuffer(content, dtype=kind))], stored)

    return look


@torch.no_grad()
def try_forward(directory: Path, model: PreTrainedModel, tokenizer: Any, dtype: str) -> None:
    """Raises UsageError where the model's own forward fails on a sentence, or gives no numbers."""
    rows = embeddings(model)
    ids = [token for token in tokenizer(SENTENCE)["input_ids"] if token < rows] or [0]
    doing = f"the model's own forward fails, of '{directory}' as its config.json says"
    with plain_errors(doing, f"no memory to run the model in '{directory}': try --dtype bfloat16"):
        logits = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits
        finite = bool(logits.isfinite().all())
    if not finite:
        raise UsageError(
            f"the untouched model in '{directory}' gives no finite numbers in {dtype}: "
            f"{_remedy(dtype)}, or its config.json is wrong (norm, rope)"
        )


def _remedy(dtype: str) -> str:
    if dtype == "float16":
        return "try --dtype bfloat16 or float32, which have larger numbers"
    return "its weights are broken, download them again"


def _tried(directory: Path, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(
        directory, local_files_only=True, trust_remote_code=trust_remote_code
    )
    # Offsets tell the tokens of an answer from those of its prompt.
    coded = tokenizer(SENTENCE, return_offsets_mapping=True)
    tokenizer.decode(list(coded["input_ids"]), skip_special_tokens=True)
    return tokenizer


def _made(directory: Path, trust_remote_code: bool) -> PreTrainedModel:
    """The model of a configuration on `meta`, with the folder's generation config."""
    own = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    with torch.device("meta"):
        config = AutoConfig.from_pretrained(directory, **own)
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    if (directory / GENERATION).is_file():
        model.generation_config = GenerationConfig.from_pretrained(directory, local_files_only=True)
    return model


def _stored_alike(model: PreTrainedModel, checkpoint: Checkpoint) -> bool:
    """Whether the files hold exactly the model's tensors, by name and shape."""
    stored = {
        name: tensor.shape
        for tensors in checkpoint.shards.values()
        for name, tensor in tensors.items()
    }
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if model.config.get_text_config().tie_word_embeddings is True:
        # Written once, under the name of the embeddings.
        wanted = {n: shape for n, shape in wanted.items() if n in stored or n != "lm_head.weight"}
    return stored == wanted


def _loaded(directory: Path, trust: bool, **how: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The model, and what Hugging Face says of keys that it did not find or use."""
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        directory,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=trust,
        output_loading_info=True,
        **how,
    )
    return loaded


def _refuse_unknown_names(path: Path, config: dict[str, Any]) -> None:
    for key, value in leaves(config):
        outer, _, name = key.rpartition(".")
        known: Iterable[str] = ()
        if name in ("hidden_act", "hidden_activation", "activation_function"):
            known = ACT2FN
        elif name in ("rope_type", "type") and "rope" in outer:
            # `su` is the name that the first Phi-3 models have for longrope.
            known = ("default", "su", *ROPE_INIT_FUNCTIONS)
        if known and value is not None and value not in known:
            raise UsageError(
                f"cannot use '{path}': {shown(key)} is {shown(value)}, which transformers does not "
                f"know: {', '.join(sorted(known)[:6])} and others are"
            )


def _refuse_misfit(checkpoint: Checkpoint, report: dict[str, Any]) -> None:
    """Raises UsageError where Hugging Face would fill with random numbers, or leave weights out."""
    fit = f"the weights in '{checkpoint.directory}' do not fit its config.json"
    different = sorted(report["mismatched_keys"], key=str)
    if different:
        name, stored, wanted = different[0]
        raise UsageError(
            f"{fit}: {name} is {_sizes(stored)} in the file and {_sizes(wanted)} by "
            f"{_key_of(checkpoint.config, stored, wanted)}"
        )
    lost = sorted(report["missing_keys"])
    if lost:
        raise UsageError(
            f"{fit}: {len(lost)} tensors are missing ({lost[0]}): num_hidden_layers or another key "
            "asks for more than is stored"
        )
    family = FAMILIES.get(checkpoint.config["model_type"])
    lists = (family.layers,) if family else ("layers", "h", "blocks")
    unread = [
        name
        for name in sorted(report["unexpected_keys"])
        if any(name.startswith(f"{path}.") or f".{path}." in name for path in lists)
        and not name.endswith(BUFFERS)
    ]
    if unread:
        raise UsageError(
            f"{fit}: {len(unread)} tensors of its layers would be left out ({shown(unread[0])}): "
            "num_hidden_layers or another key asks for less than is stored"
        )


def _sizes(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape))


def _key_of(config: dict[str, Any], stored: Iterable[int], wanted: Iterable[int]) -> str:
    """The keys of a configuration whose value is the size that differs, as far as one is."""
    sizes = set(wanted) - set(stored)
    stated = text_config(config).items()
    keys = [key for key, value in stated if type(value) is int and value in sizes]
    return " or ".join(keys) or "other keys of it"
