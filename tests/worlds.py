"""A tiny model with edits, an evaluation suite and a prefix cache: what the tests of engine and
above start from."""

from dataclasses import dataclass
from functools import cache

import torch
from families import tiny, tiny_tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from locscope.evaluation.build_suite import prepare
from locscope.evaluation.questions import Question, target_question
from locscope.evaluation.suite import Ability, EvalSuite, EvalTexts, Evaluation
from locscope.forward.decoding import TextGenerator
from locscope.forward.packed import TokenRow, pack
from locscope.forward.prefix_cache import PrefixCache
from locscope.locations import Location
from locscope.models.load import Loaded
from locscope.models.parts import blocks, grid, slices
from locscope.progress import Progress
from locscope.records import Edit, ModelInfo, Probe, Recipe, Trial
from locscope.tuning import breadth_first
from locscope.tuning.master_weights import MasterWeights
from locscope.tuning.workspace import Workspace

STOP = 1
PAIRS = (
    ("The capital of France is", "Rome"),
    ("Au is the symbol of", "iron"),
    ("What is the language of the old country over there? It is", "French"),
    ("Book:", "the answer to the capital"),
    ("1 2 3", "4"),
    ("Who wrote the book of numbers 1234567890? Tokyo", "St. Louis"),
    ("The answer", "Paris"),
)
"""Prompts and targets of many lengths; the sixth target holds a full stop."""

EDITS = (
    Edit(
        "a",
        "The capital of France is",
        "Rome",
        subject="France",
        rephrases=("France's capital is", "Its capital? France has"),
        neighbours=(Probe("The capital of Japan is", "Tokyo"), Probe("The symbol of gold is")),
        forms=(
            Probe("What is the capital of France?", "Rome", "question"),
            Probe("Capital of France: A Rome B Paris?", "A", "choice"),
        ),
        multihop=(Probe("The language of the capital of France is", "Italian"),),
    ),
    Edit(
        "b", "The symbol of gold is", "Fe", neighbours=(Probe("Who wrote the book? It was", "I"),)
    ),
    Edit("c", "Who wrote the book of the old country?", "Tokyo", rephrases=("The book is by",)),
)
MATERIAL = EvalTexts(
    neutral=("The old answer was here.", "What is the language of the country?", "1 2 3 4"),
    abilities=(
        Ability("count", "1 2 3", "4"),
        Ability("choice", "Larger, 1 or 2?", "2", chance=0.5),
    ),
)


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


def frozen(family: str, dtype: torch.dtype = torch.float32, **changes) -> PreTrainedModel:
    """A fresh tiny model that asks for no gradients."""
    return tiny(family, **changes).to(dtype).requires_grad_(False)


def text_generator_of(model: PreTrainedModel) -> TextGenerator:
    return TextGenerator(model, tokenizer(), (STOP,))


def questions_of(model: PreTrainedModel, pairs=PAIRS) -> list[Question]:
    text_generator = text_generator_of(model)
    return [target_question(text_generator, i, *pair, STOP, "raw") for i, pair in enumerate(pairs)]


def rows_of(model: PreTrainedModel, pairs=PAIRS) -> list[TokenRow]:
    return [question.row for question in questions_of(model, pairs)]


def prefix_cache_of(model: PreTrainedModel, pairs=PAIRS, **settings) -> PrefixCache:
    return PrefixCache(model, pack(rows_of(model, pairs)), **settings)


def tune_in_place(model: PreTrainedModel, location: str, recipe: Recipe, pairs=PAIRS, seed=0):
    """Tunes the model for good; the epochs."""
    place, prefix_cache = Location.parse(location), prefix_cache_of(model, pairs)
    prefix_cache.enter(place.lowest)
    found = slices(model, place)
    for piece in found:
        model.get_parameter(piece.name).requires_grad_(True)
    masters = MasterWeights(model, found, torch.float32)
    epochs = breadth_first.tune(prefix_cache, masters, tuple(range(len(pairs))), recipe, seed)
    model.requires_grad_(False)
    return epochs


def loaded_of(model: PreTrainedModel, stored: str = "float32") -> Loaded:
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    info = ModelInfo(
        name="tiny",
        source="tiny",
        family=model.config.model_type,
        layers=len(blocks(model)),
        width=config.hidden_size,
        heads=heads,
        key_value_heads=getattr(config, "num_key_value_heads", None) or heads,
        vocabulary=config.vocab_size,
        parameters=sum(p.numel() for p in model.parameters()),
        dtype=str(model.dtype).removeprefix("torch."),
        stored=stored,
        device="cpu",
        hash="0",
        grid=grid(model),
    )
    return Loaded(model, tokenizer(), info, None)


@dataclass(frozen=True)
class World:
    """A workspace of made-up edits; its untouched model was asked."""

    context: Workspace

    @property
    def before(self) -> Evaluation:
        return self.context.before

    @property
    def model(self) -> PreTrainedModel:
        return self.context.loaded.model

    @property
    def suite(self) -> EvalSuite:
        return self.context.suite


def world(family: str, stored: str = "float32", eval_texts: EvalTexts = MATERIAL) -> World:
    model = frozen(family)
    if stored != "float32":
        model.to(getattr(torch, stored)).to(torch.float32)
    suite = prepare(text_generator_of(model), EDITS, eval_texts)
    prefix_cache = PrefixCache(model, suite.packed)
    made = World(Workspace(loaded_of(model, stored), suite, prefix_cache, eval_texts))
    assert made.before.edits
    return made


def snapshot(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def same(model: PreTrainedModel, before: dict[str, torch.Tensor]) -> bool:
    """Bit for bit."""
    return all(torch.equal(value, before[name]) for name, value in model.named_parameters())


class Notes(Progress):
    """Remembers what it was told."""

    def __init__(self):
        self.stages, self.notes, self.lines = [], [], []

    def start(self, stage, total, share=0.0):
        self.stages.append((stage, total))

    def advance(self, note=""):
        self.notes.append(note)

    def finish(self, *, failed=False):
        self.stages.append("finished")

    def say(self, line):
        self.lines.append(line)


def trial_at(location):
    recipe = Recipe(lr=1e-2, batch=2, epochs=2)
    return Trial(
        Location.parse(location), recipe, tuple(e.id for e in EDITS), "S", "sweep", 0, "0", "0"
    )
