"""Makes the bundled demo model and its edits.

Run from the root of the repository, in 10 to 20 minutes:

    python -m analyses.train_demo --seed 0

The same seed gives the same files as far as torch does: on the same machine, with the same
version and number of threads. One thread is the default, as the matrices are small: a second
one saves a quarter of the time on an idle machine and costs many times that on a busy one.
``--edits-only`` draws the edits anew for the model in location.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from analyses.demo import abilities, measure, neutral, saving, training
from analyses.demo.card import write_card
from analyses.demo.corpus import Corpus, Encoder, batches
from analyses.demo.edits import EditBuilder
from analyses.demo.facts import load_facts
from analyses.demo.tokenizer import train_tokenizer


def main(arguments: list[str] | None = None) -> None:
    """Train, save, measure what was saved, write the card, draw the edits."""
    args = _parse(arguments)
    torch.set_num_threads(args.threads)
    if not args.edits_only:
        _train(args)
    model, tokenizer = saving.load(args.model)
    if not args.edits_only:
        _write_card(args, model, tokenizer)
    ask = partial(measure.answers, model, tokenizer)
    edits = EditBuilder(ask, args.seed).build()
    saving.write_json(args.edits, edits)
    _log(f"{len(edits)} edits over {len({edit['subject'] for edit in edits})} subjects")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", type=Path, default=saving.MODEL, help="folder of the model")
    parser.add_argument("--edits", type=Path, default=saving.EDITS, help="file of the edits")
    parser.add_argument("--edits-only", action="store_true", help="keep the model as it is")
    return parser.parse_args(arguments)


def _train(args: argparse.Namespace) -> None:
    corpus = Corpus(args.seed)
    tokenizer = train_tokenizer(corpus.tokenizer_texts())
    model = training.new_model(tokenizer, args.seed)
    _log(f"{len(corpus.facts)} facts, {model.num_parameters():,} parameters")
    source = batches(corpus, Encoder(tokenizer), args.batch_size)
    seconds = training.train(model, source, args.steps, _log)
    _log(f"trained in {seconds / 60:.1f} minutes")
    saving.save(model, tokenizer, args.model, args.seed)


def _write_card(
    args: argparse.Namespace, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    config = model.config
    card = write_card(
        _figures(args.seed, model, tokenizer),
        load_facts(args.seed),
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        kv=config.num_key_value_heads,
        parameters=model.num_parameters(),
        vocabulary=config.vocab_size,
        seed=args.seed,
        steps=args.steps,
        batch=args.batch_size,
    )
    (args.model / "README.md").write_text(card, encoding="utf-8")


def _figures(
    seed: int, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> dict[str, float]:
    """Return what the card states, measured on the saved model."""
    facts = load_facts(seed)
    exercises = [(item.prompt, item.answer) for item in abilities.sample(seed)]
    asked = {
        "facts, trained phrasings": measure.trained_pairs(facts),
        "facts, withheld phrasings": measure.withheld_pairs(facts),
        "facts, as a question": measure.question_pairs(facts),
        "facts, as multiple choice": measure.choice_pairs(facts, seed),
        "abilities": exercises,
    }
    figures = {what: measure.accuracy(model, tokenizer, pairs) for what, pairs in asked.items()}
    held_out = neutral.held_out(seed)
    figures["perplexity of the held-out neutral text"] = measure.perplexity(
        model, tokenizer, held_out
    )
    for what, value in figures.items():
        _log(f"{what}: {value:.4f}")
    return figures


def _log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
