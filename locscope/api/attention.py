"""Attention patterns of a prompt: what each head reads, as numbers and drawn by CircuitsVis."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from locscope.api.loading import Model, as_loaded
from locscope.errors import UsageError
from locscope.forward.blocks import run_blocks
from locscope.forward.packed import encode_prompt
from locscope.interp.hooked_model import hook_name, hooked_model_of, recording
from locscope.interp.self_test import check_hooked_model
from locscope.locations import Location


class Attention(NamedTuple):
    """The tokens of a prompt, and how much of each head's attention goes from each to each.

    A row of `patterns[layer, head]` is the token that reads, a column the one that is read; rows
    sum to 1.
    """

    tokens: tuple[str, ...]
    patterns: Float[Tensor, "layers heads seq seq"]

    def of(self, heads: Sequence[str]) -> Float[Tensor, "chosen seq seq"]:
        """The patterns of heads by name, as `L4.attn.h3`, in their order.

        Raises:
            UsageError: a name is that of no head of this model.
        """
        if not heads:
            raise UsageError("no head is named: give some, as ['L4.attn.h3']")
        return torch.stack([self.patterns[self._index(name)] for name in heads])

    def show(self, heads: Sequence[str]) -> Any:
        """The patterns of heads by name, drawn by CircuitsVis (extra `notebook`), for a notebook.

        Raises:
            UsageError: CircuitsVis is not installed, or a name is that of no head of this model.
        """
        chosen = self.of(heads)
        try:
            from circuitsvis.attention import attention_heads
        except ImportError:
            raise UsageError(
                "attention is drawn by CircuitsVis: pip install 'locscope[notebook]'"
            ) from None
        # Three digits are what a shade can tell; all of them would be most of a notebook's bytes.
        rounded = chosen.double().numpy().round(3)
        return attention_heads(rounded, list(self.tokens), list(heads))

    def _index(self, name: str) -> tuple[int, int]:
        layers, heads = self.patterns.shape[:2]
        site, *more = Location.parse(name).sites
        several = bool(more) or site.first != site.last
        if several or site.head is None or site.first >= layers or site.head >= heads:
            raise UsageError(
                f"'{name}' is no head here: give L0.attn.h0 to L{layers - 1}.attn.h{heads - 1}"
            )
        return site.first, site.head


@torch.no_grad()
def attention(
    model: Model, prompt: str, *, prompt_format: str = "raw", **settings: Any
) -> Attention:
    """Reads the attention patterns of all heads while the model reads a prompt.

    Args:
        model: a name, or what `load_model` gives.
        prompt: the text.
        prompt_format: `raw`, `chat` or `qa`.
        settings: of loading, as `device`.

    Returns:
        Tokens and patterns on the host, with `show` for the heads that matter.

    Raises:
        UsageError: TransformerLens does not know the model's architecture.

    Example:
        >>> import locscope
        >>> seen = locscope.attention("demo", "The capital of France is", device="cpu")
        >>> seen.patterns.shape[:2], len(seen.tokens) == seen.patterns.shape[-1]
        (torch.Size([10, 4]), True)
    """
    loaded = as_loaded(model, settings)
    ids = encode_prompt(loaded.tokenizer, prompt, prompt_format)
    hooked = hooked_model_of(loaded.model)
    check_hooked_model(hooked, loaded.model, ids)
    names = [hook_name("pattern", layer) for layer in range(hooked.layers)]
    with recording(hooked, *names) as seen:
        run_blocks(hooked.bridged, torch.tensor([ids], device=loaded.model.device))
    patterns = torch.stack([seen[name][0].float().cpu() for name in names])
    return Attention(tuple(str(loaded.tokenizer.decode([token])) for token in ids), patterns)
