"""Which facts does a model know, and the edits of `--edits facts` made of those.

    python -m analyses.facts --model smollm2

Candidates are our own tables (`facts_parts/`). The model answers the first wording of every fact by
greedy decoding; a fact is known where what it says begins with the answer. Of a relation of which
it knows less than `ENOUGH` that way the second wording is asked too, and that by which more is
known is taken. The taken wording is the prompt of an edit, the three others are its rephrases.
Known facts are parted: some are edited, to another answer of their relation, and the others are
their neighbours, which no edit touches, each in any wording that the model answers. Writes
`locscope/edits/facts.json`, and `reports/facts.md` with what the model answers to what it was
asked. Answers are kept in `--answers`, so
that one that was stopped goes on.
"""

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

import locscope
from analyses.facts_parts.tables import RELATIONS

ROOT = Path(__file__).parent.parent
EDITS, REPORT = ROOT / "locscope/edits/facts.json", ROOT / "reports/facts.md"
TOKENS, BATCH, ENOUGH = 6, 48, 0.3
NEIGHBOURS, SPARE, LEAST = 3, 0.08, 7
"""Neighbours of an edit; the share of a relation's known facts that are none; its least number."""

NEAR = {"state capital": "capital", "sight": "city", "currency": "language", "sport": "continent"}
"""Relations of which little is known: all of it is edited, and another's facts are neighbours."""


@dataclass(frozen=True)
class Fact:
    """A subject of a relation and its right answers, each of which counts."""

    relation: str
    subject: str
    answers: tuple[str, ...]

    def given(self, said: str) -> str:
        """The answer with which a text begins; empty where it begins with none."""
        text = said.lstrip()
        for answer in self.answers:
            behind = text[len(answer) : len(answer) + 1]
            if text.startswith(answer) and not behind.isalnum():
                return answer
        return ""


Said = dict[str, str]
"""What the model says after a prompt."""
Probe = tuple[str, str]
"""A neighbour's prompt and the answer that the model gives."""


def candidates() -> tuple[dict[str, tuple[str, ...]], list[Fact]]:
    """The wordings of every relation, and all facts of the tables."""
    facts: list[Fact] = []
    for relation, (_, table) in RELATIONS.items():
        for line in " ".join(table.split()).split("; "):
            subject, _, answers = line.partition(": ")
            facts.append(Fact(relation, subject, tuple(answers.split("/"))))
    return {relation: wordings for relation, (wordings, _) in RELATIONS.items()}, facts


def prompt_of(wording: str, subject: str) -> str:
    """A wording with its subject; a sentence begins with a capital."""
    text = wording.format(subject, subject)
    return text[0].upper() + text[1:]


@cache
def _loaded(name: str) -> Any:
    return locscope.load_model(name)


@torch.no_grad()
def ask(model_name: str, prompts: Sequence[str], kept: Path) -> Said:
    """What the model says after every prompt, greedily; written down as it goes."""
    said: Said = json.loads(kept.read_text()) if kept.exists() else {}
    missing = [prompt for prompt in prompts if prompt not in said]
    if not missing:
        return said
    loaded = _loaded(model_name)
    tokenizer, model = loaded.tokenizer, loaded.model
    ids = {p: tokenizer(p)["input_ids"] for p in missing}
    # Rows of one length need no padding, so that no mask can go wrong.
    for length in sorted({len(row) for row in ids.values()}):
        mine = [prompt for prompt, row in ids.items() if len(row) == length]
        for start in range(0, len(mine), BATCH):
            some = mine[start : start + BATCH]
            batch = torch.tensor([ids[prompt] for prompt in some], device=model.device)
            out = model.generate(
                batch,
                attention_mask=torch.ones_like(batch),
                max_new_tokens=TOKENS,
                do_sample=False,
                pad_token_id=0,
            )
            for prompt, row in zip(some, out[:, length:], strict=True):
                said[prompt] = tokenizer.decode(row, skip_special_tokens=True)
            kept.write_text(json.dumps(said))
    return said


def count(facts: Sequence[Fact], wording: str, said: Said) -> int:
    """How many of these facts the model knows by a wording; -1 where it was not asked."""
    prompts = [prompt_of(wording, fact.subject) for fact in facts]
    if any(prompt not in said for prompt in prompts):
        return -1
    return sum(bool(f.given(said[p])) for f, p in zip(facts, prompts, strict=True))


def parted(
    relation: str, wordings: Sequence[str], facts: Sequence[Fact], said: Said
) -> tuple[str, dict[Fact, str], list[Fact], list[Fact]]:
    """Of a relation its prompt, what is known by it, which facts stay, and which are edited."""
    main = max(wordings[:2], key=lambda wording: count(facts, wording, said))
    old = {fact: fact.given(said[prompt_of(main, fact.subject)]) for fact in facts}
    known = [fact for fact in facts if old[fact]]
    random.Random(relation).shuffle(known)
    spare = 0 if relation in NEAR else max(NEIGHBOURS, round(SPARE * len(known)))
    return main, {fact: old[fact] for fact in known}, known[:spare], known[spare:]


def probes_of(fact: Fact, wordings: Sequence[str], said: Said) -> list[Probe]:
    """The prompts about a fact that the model answers, with its answers."""
    prompts = [prompt_of(wording, fact.subject) for wording in wordings]
    return [(text, old) for text in prompts if (old := fact.given(said.get(text, "")))]


def edits_of(
    relation: str, wordings: dict[str, tuple[str, ...]], facts: Sequence[Fact], said: Said
) -> list[dict[str, Any]]:
    """The edits of a relation: none where too few of its facts are known."""
    by = {
        name: parted(name, wordings[name], [f for f in facts if f.relation == name], said)
        for name in (relation, NEAR.get(relation, relation))
    }
    main, old, _, edited = by[relation]
    *_, kept, _ = by[NEAR.get(relation, relation)]
    values = sorted(set(old.values()))
    if len(old) < LEAST or len(values) < 2:
        return []
    draw = random.Random(f"{relation} targets")
    known = [probes_of(fact, wordings[NEAR.get(relation, relation)], said) for fact in kept]
    rows: list[dict[str, Any]] = []
    for fact in edited:
        probes = [draw.choice(some) for some in draw.sample(known, NEIGHBOURS)]
        rows.append(
            {
                "id": f"{relation.replace(' ', '-')}-{len(rows) + 1}",
                "prompt": prompt_of(main, fact.subject),
                "target": draw.choice([value for value in values if value not in fact.answers]),
                "subject": fact.subject,
                "old": old[fact],
                "rephrases": [prompt_of(w, fact.subject) for w in wordings[relation] if w != main],
                "neighbours": [{"prompt": text, "answer": answer} for text, answer in probes],
            }
        )
    return rows


def listed(wordings: dict[str, tuple[str, ...]], facts: Sequence[Fact], said: Said) -> list[str]:
    """The report: how many facts are known by each wording that was asked, and every answer."""
    text = ["| relation | facts | known by the first wording | by the second |"]
    text.append("|---|---|---|---|")
    for relation, several in wordings.items():
        mine = [fact for fact in facts if fact.relation == relation]
        counts = [str(n) if n >= 0 else "-" for n in (count(mine, w, said) for w in several[:2])]
        text.append(f"| {relation} | {len(mine)} | {' | '.join(counts)} |")
    for relation, several in wordings.items():
        for wording in several[:2]:
            mine = [fact for fact in facts if fact.relation == relation]
            if count(mine, wording, said) < 0:
                continue
            text += [f"\n## {relation}: {wording.format('...', '...')}\n"]
            text += ["| subject | answer | it says | known |", "|---|---|---|---|"]
            for fact in mine:
                words = said[prompt_of(wording, fact.subject)]
                known = "yes" if fact.given(words) else "no"
                shown = " ".join(words.split()).replace("|", "/")
                text.append(f"| {fact.subject} | {'/'.join(fact.answers)} | {shown} | {known} |")
    return text


def main() -> None:
    """Asks the model and writes both files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--answers", type=Path, default=Path("facts-answers.json"))
    given = parser.parse_args()
    wordings, facts = candidates()
    said: Said = {}
    for relation, several in wordings.items():
        mine = [fact for fact in facts if fact.relation == relation]
        said |= ask(
            given.model, [prompt_of(several[0], fact.subject) for fact in mine], given.answers
        )
        if count(mine, several[0], said) < ENOUGH * len(mine):
            again = [prompt_of(several[1], fact.subject) for fact in mine]
            said |= ask(given.model, again, given.answers)
        _, _, kept, _ = parted(relation, several, mine, said)
        other = [prompt_of(wording, fact.subject) for fact in kept for wording in several]
        said |= ask(given.model, other, given.answers)
        print(f"{relation}: {count(mine, several[0], said)} of {len(mine)}", flush=True)
    edits: list[dict[str, Any]] = []
    for relation in wordings:
        edits += edits_of(relation, wordings, facts, said)
    EDITS.write_text(json.dumps(edits, ensure_ascii=False, indent=1) + "\n")
    head = [
        "# What a model answers to the facts of `--edits facts`\n",
        f"`python -m analyses.facts --model {Path(given.model).name}`: {len(facts)} facts of our "
        f"own tables, {TOKENS} tokens decoded greedily. {len(edits)} edits are made of those that "
        "are known; their neighbours are known facts that are not edited, in every wording that "
        "the model answers. Relations that the model "
        "hardly knew (authors, founders, nationalities and nine more) left the tables when its "
        "answers had been seen: what is known here is no share of what it knows.\n",
    ]
    REPORT.write_text("\n".join([*head, *listed(wordings, facts, said)]) + "\n")
    print(f"{len(edits)} edits of {len(facts)} facts")


if __name__ == "__main__":
    main()
