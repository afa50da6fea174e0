"""What every test needs: the helpers in this folder importable, no network, two threads in all."""

import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# Read when torch is first imported, so that tests without torch need not import it here.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
# Threads that wait by spinning make two processes on two cores ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

sys.path.insert(0, str(Path(__file__).parent))

import shape_checks
from hypothesis import settings

# Before any module of the package is loaded.
shape_checks.install()

# A deadline on one example fails on a busy machine, whatever is tested.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
