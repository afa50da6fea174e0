"""The benchmark of streaming, on a checkpoint of some hundred MB: what an edit takes of it."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # analyses/ is not part of the installed package

from analyses import bench_streaming  # noqa: E402

LAYERS, WIDTH, INNER = 16, 768, 2048
BLOCK = 4 * (4 * WIDTH**2 + 3 * WIDTH * INNER)
"""Bytes of a block in float32."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by /proc")
def test_a_streamed_edit_holds_two_blocks_in_place_of_all(tmp_path: Path) -> None:
    options = argparse.Namespace(
        **{"layers": LAYERS, "width": WIDTH, "inner": INNER, "heads": 12, "vocabulary": 2000},
        **{"dtypes": ["float32"], "depths": [0.25], "ways": ["never", "all"]},
    )
    page = bench_streaming.run(tmp_path, options)
    rows = {one["way"]: one for one in json.loads((tmp_path / "rows.json").read_text()).values()}
    size = sum(path.stat().st_size for path in (tmp_path / "base").glob("*.safetensors"))
    assert size > 200e6
    assert rows["all"]["digest"] == rows["never"]["digest"]
    assert page.count("| yes |") == 1
    assert rows["all"]["written"] == f"1 of {LAYERS + 1}"
    # Of the blocks two or three are there instead of all of them.
    saved = rows["never"]["peak"] - rows["all"]["peak"]
    assert saved > (LAYERS - 4) * BLOCK


def test_memory_of_a_process_is_told_without_files() -> None:
    code = "import sys; x = bytearray(64 << 20); print(flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    assert 64 << 20 < bench_streaming.held(process.pid) < 96 << 20
    process.communicate()
