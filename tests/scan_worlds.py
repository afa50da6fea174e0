"""A tiny model with edits that have subjects, and a context over it: the start of tests of
scans."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch
from families import tiny
from worlds import MATERIAL, loaded_of, text_generator_of

from locscope.evaluation.build_suite import prepare
from locscope.forward.prefix_cache import PrefixCache
from locscope.progress import Silent
from locscope.records import Edit, Probe, ScanOptions
from locscope.scans.context import ScanContext

SCAN_FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "gpt2", "gptneox")
"""The families that the issue of the scans names: grouped-query, post-norms, parallel blocks."""


def _edit(name: str, prompt: str, subject: str, target: str, old: str = "") -> Edit:
    return Edit(
        name,
        prompt,
        target,
        subject=subject,
        old=old,
        rephrases=(f"Who has {subject}? It is", f"{subject} is in"),
        neighbours=(Probe("The capital of Rome is", "Paris"), Probe(f"The old book of {name} is")),
    )


SCAN_EDITS = (
    _edit("p", "The capital of France is", "France", "Rome", "Paris"),
    _edit("q", "The capital of Brazil is", "Brazil", "Tokyo"),
    _edit("r", "The capital of the old country over there, Norway, is now", "Norway", "Oslo"),
    _edit("s", "Poland has the symbol of the", "Poland", "gold"),
    _edit("t", "The symbol of gold is", "gold", "Fe"),
    _edit("u", "The symbol of iron in the book is", "iron", "Au"),
    _edit("v", "Who wrote the book?", "Tokyo", "Tokyo"),
    _edit("w", "The answer to Norway is", "Norway", "Lima"),
    _edit("x", "The old language in Brazil was", "Brazil", "Latin"),
)
"""Subjects of some lengths, so that they can be swapped; one prompt begins with its subject, and
that of `v` does not hold it."""


def scan_context(
    family: str,
    edits: Sequence[Edit] = SCAN_EDITS,
    *,
    tokens_at_once: int = 16384,
    options: ScanOptions | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    **changes,
) -> ScanContext:
    model = tiny(family, **changes).to(dtype).requires_grad_(False)
    suite = prepare(text_generator_of(model), edits, MATERIAL)
    prefix_cache = PrefixCache(model, suite.packed, tokens_at_once=tokens_at_once)
    return ScanContext(
        loaded_of(model),
        suite,
        prefix_cache,
        tuple(edit.id for edit in edits),
        seed,
        Silent(),
        options or ScanOptions(),
    )


@cache
def _world(family: str) -> ScanContext:
    return scan_context(family)


def shared_context(family: str, options: ScanOptions | None = None) -> ScanContext:
    """A context over all edits whose model, hooked model and facts are made once for all tests,
    which must leave them as they are."""
    one = _world(family)
    context = replace(one, options=options or ScanOptions())
    context.__dict__.update(hooked=one.hooked, facts=one.facts)
    return context
