"""How much faster an edit is than a plain loop on the whole model, as whole processes.

    python -m analyses.bench_edit --model FOLDER --edits FILE [--epochs 25] [--pairs 1]

Tunes one matrix on the same edits in the same batches: `locscope edit --no-evaluate` against a
plain loop (forward through all blocks with logits of all tokens, backward, AdamW on that matrix),
and `locscope edit` against that loop with an evaluation by `generate` before and after, in batches
of 32: up to 32 tokens for every prompt and rephrase, 10 for every neighbour, and the loss and the
divergence on the shipped neutral texts. Every run is a process of its own that loads the model and
saves it; runs alternate. Seconds are processor time (user and system), which a busy machine changes
little, beside wall time. Writes `reports/bench_edit.md`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from statistics import median

BATCH, LIMIT, SPAN = 32, 32, 10
THREADS = os.environ.get("OMP_NUM_THREADS", "2")
KINDS = ("plain", "locscope --no-evaluate", "plain, evaluated", "locscope")
BARS = {("plain", KINDS[1]): 2.5, (KINDS[2], KINDS[3]): 4.0}


def main() -> None:
    """Prints the table and writes it; with `--plain` it is the plain loop itself."""
    options = _options()
    if options.plain:
        _plain(options)
        return
    seconds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for _ in range(options.pairs):
        for kind in KINDS if options.evaluated else KINDS[:2]:
            seconds[kind].append(_run(_words(options, kind)))
            print(kind, *(f"{value:.1f}" for value in seconds[kind][-1]), flush=True)
    text = _page(options, seconds)
    print(text)
    options.report.write_text(text, encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--edits", default="demo")
    parser.add_argument("--location", default="L22.mlp.down")
    parser.add_argument("--lr", type=float, default=1e-3)
    for name, value in {"limit": 100, "epochs": 25, "batch-size": 100, "pairs": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--no-evaluated", dest="evaluated", action="store_false")
    parser.add_argument("--plain", choices=("tune", "evaluate"), help="run the plain loop")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--report", type=Path, default=Path("reports/bench_edit.md"))
    return parser.parse_args()


def _words(options: argparse.Namespace, kind: str) -> list[str]:
    same = ["--model", options.model, "--edits", options.edits, "--limit", str(options.limit)]
    same += ["--location", options.location, "--lr", str(options.lr)]
    same += ["--epochs", str(options.epochs), "--batch-size", str(options.batch_size)]
    if kind.startswith("plain"):
        how = "evaluate" if kind.endswith("evaluated") else "tune"
        return ["-m", "analyses.bench_edit", "--plain", how, *same]
    more = ["--no-evaluate"] if kind.endswith("evaluate") else []
    return ["-m", "locscope", "edit", *same, *more]


def _run(words: Sequence[str]) -> tuple[float, float]:
    """Seconds of processor time and of wall time of a process."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *words, "--output", f"{folder}/model"],
            env={**os.environ, "OMP_NUM_THREADS": THREADS},
            stdout=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        # 3: the edit has not learned or is out of bounds, which is a result.
        if process.returncode not in (0, 3):
            raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
        return usage.ru_utime + usage.ru_stime, time.perf_counter() - began


def _plain(options: argparse.Namespace) -> None:
    """The plain loop, as a user of transformers writes it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from locscope.edits import read_edits

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tokenizer.padding_side = "left"
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    model.requires_grad_(False)
    edits = read_edits(options.edits, limit=options.limit, seed=0).edits
    before = _evaluate(model, tokenizer, edits, None) if options.plain == "evaluate" else None
    layer, _, part = options.location.removeprefix("L").partition(".")
    assert part == "mlp.down", "the plain loop tunes mlp.down of a Llama"
    weight = model.model.layers[int(layer)].mlp.down_proj.weight.requires_grad_(True)
    adam = torch.optim.AdamW([weight], lr=options.lr)
    torch.manual_seed(0)
    for _ in range(options.epochs):
        for rows in torch.randperm(len(edits)).split(options.batch_size):
            _step(model, tokenizer, [edits[i] for i in rows], adam)
    if before is not None:
        _evaluate(model, tokenizer, edits, before)
    model.to(torch.bfloat16).save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)


def _step(model, tokenizer, edits, adam) -> None:
    import torch.nn.functional as F

    texts = [f"{edit.prompt} {edit.target}{tokenizer.eos_token}" for edit in edits]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    labels = ids.masked_fill(mask == 0, -100)
    for row, edit in enumerate(edits):
        answer = len(tokenizer(f" {edit.target}{tokenizer.eos_token}")["input_ids"])
        labels[row, :-answer] = -100
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
    wanted = labels[:, 1:]
    losses = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
    loss = (losses.view_as(wanted).sum(1) / (wanted != -100).sum(1)).mean()
    adam.zero_grad()
    loss.backward()
    adam.step()


def _evaluate(model, tokenizer, edits, before):
    """Generates after every prompt, and reads neutral texts; what is compared with afterwards."""
    import torch

    prompts = [text for edit in edits for text in (edit.prompt, *edit.rephrases)]
    neighbours = [probe.prompt for edit in edits for probe in edit.neighbours]
    said = [_generate(model, tokenizer, *asked) for asked in ((prompts, LIMIT), (neighbours, SPAN))]
    texts = (files("locscope.evaluation") / "neutral.txt").read_text("utf-8").splitlines()
    found = []
    with torch.no_grad():
        for start in range(0, len(texts), BATCH):
            batch = tokenizer(texts[start : start + BATCH], return_tensors="pt", padding=True)
            logp = model(**batch).logits.float().log_softmax(-1)
            logp[:, :-1].gather(-1, batch["input_ids"][:, 1:, None]).sum()
            found.append(logp)
        if before is not None:
            pairs = zip(before[1], found, strict=True)
            print([float((p.exp() * (p - q)).sum(-1).mean()) for p, q in pairs])
    return said, found


def _generate(model, tokenizer, prompts: Sequence[str], limit: int) -> list[str]:
    ordered, said = sorted(prompts, key=len), []
    for start in range(0, len(ordered), BATCH):
        batch = tokenizer(ordered[start : start + BATCH], return_tensors="pt", padding=True)
        length = batch["input_ids"].shape[1]
        out = model.generate(**batch, max_new_tokens=limit, do_sample=False)
        said += tokenizer.batch_decode(out[:, length:], skip_special_tokens=True)
    return said


def _page(options: argparse.Namespace, seconds: dict[str, list[tuple[float, float]]]) -> str:
    medians = {
        kind: [median(col) for col in zip(*s, strict=True)] for kind, s in seconds.items() if s
    }
    rows = [f"| {kind} | {cpu:.0f} | {wall:.0f} |" for kind, (cpu, wall) in medians.items()]
    ratios = [
        f"{slow} over {fast}: {medians[slow][0] / medians[fast][0]:.2f} (bar {bar})."
        for (slow, fast), bar in BARS.items()
        if fast in medians
    ]
    return "\n".join(
        [
            "# An edit and a plain loop",
            "",
            f"`python -m analyses.bench_edit`; {options.limit} edits of "
            f"{Path(options.edits).name}, {Path(options.model).name}, {options.location}, "
            f"{options.epochs} epochs, batch {options.batch_size}, {THREADS} threads; medians of "
            f"{options.pairs} runs each, in turns on a shared machine.",
            "",
            "| whole process | processor s | wall s |",
            "|---|---:|---:|",
            *rows,
            "",
            f"Processor time, {' '.join(ratios)}",
            "",
        ]
    )


if __name__ == "__main__":
    main()
