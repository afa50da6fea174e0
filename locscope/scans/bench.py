"""What every scan is given."""

from dataclasses import dataclass

from locscope.engine.exam import Exam
from locscope.engine.trunk import Trunk
from locscope.models.load import Loaded
from locscope.progress import Progress


@dataclass(frozen=True)
class ScanBench:
    """The untouched model, the exam, a trunk over it, and the ids of the edits to scan for."""

    loaded: Loaded
    exam: Exam
    trunk: Trunk
    edits: tuple[str, ...]
    seed: int
    progress: Progress
