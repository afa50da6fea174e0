"""What does an edit take of a model that is streamed, beside one that is whole in memory?

    python -m analyses.bench_streaming
    python -m analyses.bench_streaming --folder DIR --dtypes float32 --depths 0.25 --ways all

A random Llama in bfloat16 in one file a block (by default of 26 blocks, width 3200: 6.4 GiB), the
bundled tokenizer, a few of the bundled edits, tuned at three quarters of the depth and at a quarter
with nothing measured. Every edit is a process of its own with one thread. Memory is the most that
it held of anonymous and shared pages (RssAnon and RssShmem, read every 20 ms): pages of files that
are mapped can be taken back at any time. The edited models of one depth and dtype have to be equal,
byte for byte. The checkpoint is made in a temporary folder; in a `--folder` it is kept, with what
was measured, so that runs can be made one by one: each adds its rows to those that are there.
Writes `reports/bench_streaming.md`.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from locscope.models.load import load

GIB = 1 << 30
BAR = 0.45
"""Of the checkpoint's bytes, the most that a streamed edit may take."""
QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
Row = dict[str, Any]
"""What was measured of one edit."""
TUNING = ["--evaluate", "none", "--lr", "1e-4", "--limit", "4", "--epochs", "2"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("layers", 26), ("width", 3200), ("inner", 8640), ("heads", 32)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--vocabulary", type=int, default=32000)
    parser.add_argument("--dtypes", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--depths", nargs="*", type=float, default=[0.75, 0.25])
    parser.add_argument("--ways", nargs="*", default=["never", "prefix", "all"])
    parser.add_argument("--folder", type=Path, help="where the checkpoint is made and kept")
    parser.add_argument("--output", type=Path, default=Path("reports/bench_streaming.md"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        text = run(options.folder or Path(temporary), options)
    print(text)
    options.output.write_text(text, encoding="utf-8")


def run(folder: Path, options: argparse.Namespace) -> str:
    """Measures what is asked for; returns the report on all that was measured in the folder."""
    base, rows = folder / "base", folder / "rows.json"
    if not base.is_dir():
        made(base, options)
    size = sum(path.stat().st_size for path in base.glob("*.safetensors"))
    found: dict[str, Row] = json.loads(rows.read_text("utf-8")) if rows.is_file() else {}
    for dtype in options.dtypes:
        for share in options.depths:
            for way in options.ways:
                location = f"L{int(share * options.layers)}.mlp.down"
                row = measured(base, folder / "out", dtype, location, way)
                found[f"{dtype} {location} {way}"] = row
                rows.write_text(json.dumps(found), encoding="utf-8")
                print(row, flush=True)
    return page(options, size, list(found.values()))


def made(folder: Path, options: argparse.Namespace) -> None:
    """Writes the checkpoint, one block after the other."""
    config = LlamaConfig(
        vocab_size=options.vocabulary,
        hidden_size=options.width,
        intermediate_size=options.inner,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        num_key_value_heads=options.heads,
        dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
        bos_token_id=None,
    )
    folder.mkdir()
    config.save_pretrained(folder)
    load("demo", device="cpu").tokenizer.save_pretrained(folder)
    with torch.device("meta"):
        shapes = {name: p.shape for name, p in LlamaForCausalLM(config).named_parameters()}
    torch.manual_seed(0)
    weight_map: dict[str, str] = {}
    for number, names in enumerate(_by_block(shapes)):
        file = f"model-{number + 1:05}-of-{options.layers + 1:05}.safetensors"
        tensors = {name: _random(shapes[name]) for name in names}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _by_block(shapes: dict[str, torch.Size]) -> Iterator[list[str]]:
    blocks: dict[str, list[str]] = {}
    for name in shapes:
        parts = name.split(".")
        blocks.setdefault(parts[2] if "layers" in parts else "", []).append(name)
    yield from blocks.values()


def _random(shape: torch.Size) -> torch.Tensor:
    # Norms are ones, as every model begins.
    return (
        torch.ones(shape).bfloat16() if len(shape) == 1 else (0.02 * torch.randn(shape)).bfloat16()
    )


def measured(base: Path, out: Path, dtype: str, location: str, way: str) -> Row:
    """One edit, and a digest of the model that it saves, which is removed."""
    words = ["edit", "--model", str(base), "--edits", "demo", "--output", str(out), *TUNING]
    words += ["--location", location, "--device", "cpu", "--dtype", dtype, "--offload", way]
    wall, user, peak = _run(words)
    shards = sorted(out.glob("*.safetensors"))
    written = sum(path.stat().st_nlink == 1 for path in shards)
    row: Row = {"dtype": dtype, "location": location, "way": way, "wall": wall, "user": user}
    row |= {"peak": peak, "written": f"{written} of {len(shards)}", "digest": _digest(shards)}
    shutil.rmtree(out)
    return row


def _run(words: list[str]) -> tuple[float, float, int]:
    """Seconds and user seconds of a command, and the most it held in anonymous and shared pages."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    process = subprocess.Popen(
        [sys.executable, "-m", "locscope", *words],
        stdout=subprocess.DEVNULL,
        env={**os.environ, **QUIET},
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, held(process.pid))
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    user = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return time.perf_counter() - began, user, peak


def held(pid: int) -> int:
    """Bytes of anonymous and shared memory of a process; 0 once it has ended."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    named = dict(line.split(":", 1) for line in lines if ":" in line)
    kept = [named[name] for name in ("RssAnon", "RssShmem") if name in named]
    return sum(int(value.split()[0]) * 1024 for value in kept)


def _digest(shards: list[Path]) -> str:
    total = hashlib.sha256()
    for path in shards:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def page(options: argparse.Namespace, size: int, rows: list[Row]) -> str:
    lines = [
        "# An edit of a model that is streamed",
        "",
        f"`python -m analyses.bench_streaming`; a random Llama of {options.layers} blocks, width "
        f"{options.width}, in bfloat16: {size / GIB:.2f} GiB in {options.layers + 1} files. "
        f"`locscope edit {' '.join(TUNING)}` on one thread of a CPU that others use too. Memory is "
        "the most of anonymous and shared pages, in GiB and as a share of the checkpoint: the bar "
        f"for what is streamed is {BAR:.0%}. Edited models are compared byte for byte with that of "
        "`never` of the same dtype and location.",
        "",
        "| dtype | location | `--offload` | GiB | of the checkpoint | user seconds | seconds | "
        "files written anew | equal |",
        "|---|---|---|---:|---:|---:|---:|---:|---|",
        *(_line(row, size, rows) for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row, size: int, rows: list[Row]) -> str:
    beside = {(one["dtype"], one["location"], one["way"]): one["digest"] for one in rows}
    wanted = beside.get((row["dtype"], row["location"], "never"))
    equal = "not compared" if wanted is None else "yes" if wanted == row["digest"] else "NO"
    if row["way"] == "never":
        equal = ""
    return (
        f"| {row['dtype']} | {row['location']} | {row['way']} | {row['peak'] / GIB:.2f} | "
        f"{row['peak'] / size:.0%} | {row['user']:.0f} | {row['wall']:.0f} | {row['written']} | "
        f"{equal} |"
    )


if __name__ == "__main__":
    main()
