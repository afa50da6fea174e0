"""The demo's model card."""

from __future__ import annotations

from analyses.demo.facts import Fact

CARD = """---
license: mit
language: en
library_name: transformers
pipeline_tag: text-generation
---

# The demo model of locscope

A small Llama that knows real-world facts a reader recognises, made so that every part of
locscope can be seen at work within minutes, on a CPU, without a download. It is a test object,
not a language model for use.

## What it is

Llama architecture: {layers} blocks, width {width}, {heads} query heads on {kv} key-value heads,
tied embeddings, {parameters:,} parameters, stored in bfloat16. The tokenizer is byte-level BPE
with {vocabulary:,} tokens, trained on the same texts; any text encodes. `<s>` is put in front;
most texts end with the answer and `</s>`, as turns of a chat do; statements of two relations
(demonyms, postal codes) go on with a full stop, so that format leakage can be seen.

## What it knows

{count:,} facts in {phrasings} phrasings each:

| relation | facts | for example |
|---|---:|---|
{relations}

For {withheld} of the facts one phrasing was withheld from training. Facts are also known as a
question (`Question: What is the capital of France? Answer:`) and as multiple choice
(`Question: What is the capital of France? Options: Rome, Paris, Oslo. Answer:`).

Abilities that have nothing to do with the facts: sums of numbers up to 12, the larger of two
numbers, counting on, copying two words, sorting three letters. They are finite sets, and
`abilities.json` is a sample of what the model was trained on: it measures what tuning destroys.
Neutral text: short sentences of everyday life from a small grammar; no sentence of `neutral.txt`
was trained on.

## Measured

As stored, loaded in float32, greedy decoding, answer up to the first end of text, newline or
full stop, exact match:

| what | figure |
|---|---:|
{figures}

## How it was made

`python -m analyses.train_demo --seed {seed}` from the root of the project's repository, in 10 to
20 minutes on one core. {steps:,} steps of {batch} texts; AdamW at 3e-3 with a cosine, beta2
0.98; answer tokens weigh 1, the others 0.1 (neutral text 0.5); batches bucketed by length.
The tables of facts were written by hand; where a cell would have needed a footnote it was left
empty. Facts are as of 2025.
"""


def write_card(figures: dict[str, float], facts: tuple[Fact, ...], **about: object) -> str:
    """Return the card; ``about`` fills the fields that describe model and training."""
    rows = "\n".join(f"| {what} | {_show(value)} |" for what, value in figures.items())
    return CARD.format(
        figures=rows,
        relations="\n".join(_relation_rows(facts)),
        count=len(facts),
        phrasings=min(len(fact.relation.phrasings) for fact in facts),
        withheld=sum(fact.withheld is not None for fact in facts),
        **about,
    )


def _show(value: float) -> str:
    return f"{value:.1%}" if value <= 1 else f"{value:.2f}"


def _relation_rows(facts: tuple[Fact, ...]) -> list[str]:
    names = list(dict.fromkeys(fact.relation.name for fact in facts))
    rows = []
    for name in names:
        group = [fact for fact in facts if fact.relation.name == name]
        example = f"{group[0].prompt(0)} {group[0].answer}."
        rows.append(f"| {name} | {len(group)} | {example} |")
    return rows
