"""The loss of an edit: cross-entropy on target and stop token, a mean for each example."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from locscope.forward.head import logits
from locscope.forward.prefix_cache import Batch, PrefixCache


def answer_losses(prefix_cache: PrefixCache, batch: Batch) -> Float[Tensor, " batch"]:
    """Mean negative log-probability (nats per token) of every row's answer, resumed from the prefix
    cache.

    Source: LocFT-BF code (`fine-tune.py`): the token mean is taken per example.
    """
    return _row_means(prefix_cache.model, prefix_cache.final(batch), batch)


def _row_means(
    model: PreTrainedModel, hidden: Float[Tensor, "batch seq width"], batch: Batch
) -> Float[Tensor, " batch"]:
    answers, (count, length) = batch.answers, batch.ids.shape
    scores = logits(model, hidden.flatten(0, 1)[answers])
    losses = F.cross_entropy(scores, batch.labels.flatten()[answers], reduction="none")
    row = answers // length
    sums = losses.new_zeros(count).index_add(0, row, losses)
    return sums / losses.new_zeros(count).index_add(0, row, torch.ones_like(losses))
