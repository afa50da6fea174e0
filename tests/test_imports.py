"""The command line answers at once: nothing heavy is imported before it is needed."""

import os
import subprocess
import sys

HELP = ("-m", "locscope", "--help")
HEAVY = ("torch", "transformers", "transformer_lens", "pandas", "plotly", "sklearn", "pyarrow")
SECONDS = 0.5


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Without the path that a test runner may have set: it is the installed command that counts.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_help_imports_nothing_heavy() -> None:
    done = _python("-X", "importtime", *HELP)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "search" in done.stdout
    timed = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in timed}
    assert "locscope" in imported
    assert not imported & set(HEAVY)


def test_help_answers_in_half_a_second() -> None:
    """In time of the processor, which is that of the clock where nothing else runs."""
    taken = []
    for _ in range(5):
        before = os.times()
        assert _python(*HELP).returncode == 0
        after = os.times()
        user = after.children_user - before.children_user
        taken.append(user + after.children_system - before.children_system)
    assert min(taken) < SECONDS
