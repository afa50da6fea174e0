"""Settings and figures of LocFT-BF as published (arXiv 2509.22072 v4; code ICT-STAR/LocFT).

Learning rates, batch and passes stand in the code alone; the paper names neither hardware,
precision nor seeds. Capability is the mean of lm-eval's tasks in per cent.
"""

from dataclasses import dataclass
from math import nan

BATCH, EPOCHS = 100, 25
"""Edits a batch and passes at most (code, fine-tune.py)."""
MAIN_EDITS, SWEEP_EDITS = 3000, 1000
"""Section 4, table 3; section 3, figure 5."""
SWEEP_SET = "zsre"
FILES = {
    "zsre": "zsre_3k.json",
    "counterfact": "counterfact_3k.json",
    "wikibigedit": "wikibigedit_3k.json",
}
"""The paper's samples, as its code repository has them (`data/`)."""
SWEEP_TASKS = ("gsm8k", "mmlu", "wmt16-de-en")
MAIN_TASKS = ("mmlu", "nq_open", "sst2", "wmt16-de-en", "gsm8k")
"""Sections 3 and 4; by lm-eval's names."""


@dataclass(frozen=True)
class PaperModel:
    """A model of the paper: its alias here, the location chosen for it (table 2), the rate of Adam,
    and its capability before editing (table 1)."""

    title: str
    name: str
    location: str
    lr: float
    capability: float = nan


MODELS = (
    PaperModel("LLaMA-3-8B-Instruct", "llama-3-8b", "L22.mlp.down", 5e-4, 57.26),
    PaperModel("Mistral-7B-v0.1", "mistral-7b-v0.1-base", "L23.block", 5e-5, 44.82),
    PaperModel("Qwen2.5-7B-Instruct", "qwen2.5-7b", "L6.mlp.down", 5e-4, 58.52),
)


@dataclass(frozen=True)
class Figures:
    """A cell of a table, in per cent, and seconds per edit; NaN where none is given."""

    method: str
    model: str
    edits: str
    reliability: float
    generalization: float
    capability: float = nan
    seconds: float = nan


_LLAMA, _MISTRAL, _QWEN = (model.name for model in MODELS)
LOCFT = "LocFT-BF"
MAIN = (
    Figures(LOCFT, _LLAMA, "zsre", 98.97, 75.83, 57.04, 0.27),
    Figures(LOCFT, _MISTRAL, "zsre", 98.93, 49.57, 42.73, 0.31),
    Figures(LOCFT, _QWEN, "zsre", 98.87, 74.37, 59.07, 0.49),
    Figures(LOCFT, _LLAMA, "counterfact", 99.73, 33.23, 57.13, 0.38),
    Figures(LOCFT, _MISTRAL, "counterfact", 99.67, 39.53, 41.46, 0.24),
    Figures(LOCFT, _QWEN, "counterfact", 99.73, 11.77, 58.53, 0.48),
    Figures(LOCFT, _LLAMA, "wikibigedit", 98.87, 73.77, 56.93, 0.54),
    Figures(LOCFT, _MISTRAL, "wikibigedit", 98.90, 74.97, 42.39, 0.39),
    Figures(LOCFT, _QWEN, "wikibigedit", 99.43, 53.30, 59.83, 0.98),
)
"""Section 4, table 3, the paper's own method."""
RIVALS = (
    Figures("MEMIT", _LLAMA, "zsre", 26.2, 23.3, 25.7, 9.90),
    Figures("MEMIT", _MISTRAL, "zsre", 24.3, 19.6, 18.1, 10.3),
    Figures("MEMIT", _QWEN, "zsre", 39.6, 32.1, 47.9, 9.93),
    Figures("RECT", _LLAMA, "zsre", 0.0, 0.0, 15.0, 25.4),
    Figures("RECT", _MISTRAL, "zsre", 0.2, 0.3, 14.9, 25.8),
    Figures("RECT", _QWEN, "zsre", 9.7, 8.2, 16.1, 24.3),
    Figures("WISE", _LLAMA, "zsre", 4.2, 3.5, nan, 14.4),
    Figures("WISE", _MISTRAL, "zsre", 15.9, 11.3, nan, 13.0),
    Figures("WISE", _QWEN, "zsre", 7.7, 5.2, nan, 31.0),
    Figures("AlphaEdit", _LLAMA, "zsre", 64.5, 40.6, 54.7, 12.3),
    Figures("AlphaEdit", _MISTRAL, "zsre", 3.3, 3.0, 15.1, 11.0),
    Figures("AlphaEdit", _QWEN, "zsre", 2.7, 2.3, 16.3, 10.6),
    Figures("RLEdit", _LLAMA, "zsre", 66.7, 59.4, 57.4, 0.58),
    Figures("RLEdit", _MISTRAL, "zsre", 26.1, 19.5, 21.3, 0.47),
    Figures("RLEdit", _QWEN, "zsre", 54.6, 47.6, 60.7, 0.65),
    Figures("UltraEdit", _LLAMA, "zsre", 34.9, 22.7, 55.9, 0.22),
    Figures("UltraEdit", _MISTRAL, "zsre", 40.4, 23.4, 44.2, 0.04),
    Figures("UltraEdit", _QWEN, "zsre", 40.1, 19.8, 59.3, 0.27),
    Figures("LocFT-BF in LLaMA-Factory", _LLAMA, "zsre", 95.07, 79.10, 56.03),
    Figures("LocFT-BF in LLaMA-Factory", _MISTRAL, "zsre", 95.00, 71.43, 41.38),
    Figures("LocFT-BF in LLaMA-Factory", _QWEN, "zsre", 98.77, 75.67, 60.83),
    Figures("LocFT-BF by CrispEdit, no context", _LLAMA, "zsre", 25.2, 22.1),
    Figures("LocFT-BF by CrispEdit, no context", _LLAMA, "counterfact", 10.9, 13.3),
    Figures("LocFT-BF by CrispEdit, no context", _LLAMA, "wikibigedit", 16.7, 15.7),
)
"""Section 4, table 3, other methods; its port to LLaMA-Factory; and an independent run under
another protocol (CrispEdit, arXiv 2602.15823 v2: a judge, up to 40 tokens)."""
SWEEP = (
    "reliability is near perfect almost everywhere and steadiest at mlp.down",
    "generalization has a peak at layers 3 to 8, a dip, and a smaller peak at layers 20 to 25; "
    "coarse parts have more of it than fine ones",
    "capability is kept better by mlp.up and mlp.down than by coarse parts, early and late layers "
    "best",
)
"""Section 3, figure 5: what is said of 160 runs of which no table is given."""


def published(model: str, edits: str) -> Figures:
    """What table 3 has for a model and a data set; NaN for others."""
    for figures in MAIN:
        if (figures.model, figures.edits) == (model, edits):
            return figures
    return Figures(LOCFT, model, edits, nan, nan)
