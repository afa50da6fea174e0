"""The beginning of every verb: the model in, the evaluation suite written."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path

from locscope.edits import EditSet
from locscope.evaluation.build_suite import remembering, written
from locscope.evaluation.limits import refuse_unreadable, refuse_unreadable_texts
from locscope.evaluation.suite import EvalSuite, EvalTexts
from locscope.forward.batching import tokens_that_fit
from locscope.forward.decoding import TextGenerator
from locscope.forward.prefix_cache import Budget, PrefixCache
from locscope.models.checkpoint import read_checkpoint
from locscope.models.files import in_words, other_weights
from locscope.models.gguf import note_of
from locscope.models.load import Loaded, load, stop_ids
from locscope.models.streaming.blocks import hold_tail
from locscope.progress import Progress, stage
from locscope.records import Edit
from locscope.selection.candidates import first_step_for
from locscope.settings import SharedSettings
from locscope.settings.base import warn_of_code
from locscope.tuning.workspace import Workspace
from locscope.workflows.eval_texts import PREFIX_TOKENS, check_files, drawn_prefixes, gather

GIB = 1 << 30
PREFIX_ROOM = 2 * PREFIX_TOKENS
"""Tokens of a prefix before a prompt: it may tokenise differently there."""


def first_step(workspace: Workspace, edits: Sequence[str], batch: int, epochs: int) -> float:
    """The loss change (nats) of the first step where trials on these edits (ids) start."""
    return first_step_for(workspace.to_learn(edits), epochs * ceil(len(edits) / batch))


def open_model(settings: SharedSettings, loaded: Loaded | None = None) -> Loaded:
    """The model of the settings, unless it is `loaded` already.

    Before minutes of loading, the files of texts and abilities that were given are read.
    """
    check_files(settings.neutral, settings.abilities)
    if loaded is None:
        warn_of_code(settings.model, settings.trust_remote_code)
    return loaded or load(
        settings.model,
        device=settings.device,
        dtype=settings.dtype,
        trust_remote_code=settings.trust_remote_code,
        offload=settings.offload,
        activations=settings.device_memory * GIB,
    )


def note_on_weights(loaded: Loaded) -> tuple[str, ...]:
    """Which weights were read, where the model's folder has others too, or were dequantised."""
    if loaded.directory is None:
        return ()
    made = note_of(loaded.directory)
    weights = read_checkpoint(loaded.directory).shards
    others = other_weights(loaded.directory, weights)
    if not others:
        return made
    read = in_words([path.name for path in weights])
    return (
        *made,
        f"weights are read from {read}, not from {in_words(others)}",
    )


def text_generator_of(loaded: Loaded) -> TextGenerator:
    """What decoding needs of a model."""
    return TextGenerator(loaded.model, loaded.tokenizer, stop_ids(loaded.model, loaded.tokenizer))


def open_workspace(
    settings: SharedSettings,
    loaded: Loaded,
    edit_set: EditSet,
    progress: Progress,
    *,
    prefixes: int = 0,
    layer: int = 0,
) -> Workspace:
    """Writes the evaluation suite and asks the untouched model all of it.

    The prefix cache enters `layer` first: what is asked is read from there on.
    """
    with stage(progress, "untouched model", 2, share=4):
        workspace = write_suite(settings, loaded, edit_set, prefixes=prefixes, layer=layer)
        progress.advance("the evaluation suite is written")
        notes = workspace.notes  # Asks the untouched model, before anything can tune it.
        progress.advance()
    for note in notes[len(workspace.suite_notes) :]:
        progress.say(note)
    return workspace


def write_suite(
    settings: SharedSettings,
    loaded: Loaded,
    edit_set: EditSet,
    *,
    prefixes: int = 0,
    layer: int = 0,
    texts: bool = True,
) -> Workspace:
    """Writes the evaluation suite; the model is not asked yet.

    Without `texts` there is nothing in it to ask besides the edits. Raises UsageError for a text
    that the model cannot read.
    """
    reader, form = (loaded.model, loaded.tokenizer), settings.prompt_format
    before = PREFIX_ROOM if prefixes else 0
    # Before the model writes texts of its own, which takes seconds on a CPU.
    refuse_unreadable(*reader, edit_set.edits, form, before)
    text_generator = text_generator_of(loaded)
    sizes = (settings.device_memory, settings.host_memory, settings.prefix_cache)
    budget = Budget(*(int(size * GIB) for size in sizes))
    home = loaded.directory
    if texts:
        eval_texts = _eval_texts(settings, text_generator, edit_set.edits, home, prefixes)
    else:
        eval_texts = EvalTexts((), prefixes=drawn_prefixes(text_generator, prefixes, settings.seed))
    refuse_unreadable_texts(*reader, eval_texts, form)
    suite = written(text_generator, edit_set.edits, eval_texts, form)
    prefix_cache = PrefixCache(
        loaded.model, suite.packed, budget, tokens_that_fit(loaded.model, budget.device)
    )
    hold_tail(loaded.model, layer)
    prefix_cache.enter(layer)
    suite = remembering(suite, prefix_cache)
    notes = (*edit_set.notes, *note_on_weights(loaded))
    if suite.unaligned:
        notes = (*notes, f"{suite.unaligned} rows tokenise differently with answer: decoded")
    return Workspace(loaded, suite, prefix_cache, eval_texts, notes)


def _eval_texts(
    settings: SharedSettings,
    text_generator: TextGenerator,
    edits: Sequence[Edit],
    home: Path | None,
    prefixes: int,
) -> EvalTexts:
    return gather(
        text_generator,
        edits,
        home,
        neutral=settings.neutral and settings.neutral.expanduser(),
        abilities=settings.abilities and settings.abilities.expanduser(),
        prefixes=prefixes,
        seed=settings.seed,
    )


def with_text_generator(suite: EvalSuite, loaded: Loaded) -> EvalSuite:
    """The same evaluation suite for another model (of the same tokenizer) to sit."""
    return replace(suite, text_generator=text_generator_of(loaded))
