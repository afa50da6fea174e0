"""Records to write, read and make tables of."""

from math import nan

from locscope.locations import Location
from locscope.records import (
    Descriptor,
    EditOutcome,
    Epoch,
    Measure,
    Recipe,
    ScanResult,
    ScanScore,
    Trial,
    TrialRecord,
)


def trial_record(location: str = "L2.mlp.down", seed: int = 0) -> TrialRecord:
    trial = Trial(
        Location.parse(location), Recipe(5e-4, 8), ("a", "b"), "S", "sweep", seed, "demo", "demo"
    )
    return TrialRecord(
        trial=trial,
        status="done",
        score=0.75,
        score_name="harmonic(reliability)",
        measures=(
            Measure("reliability", 1.0, 2, "normalised", 0.5, 1.0, 0.0),
            Measure("locality", nan, 0, "span"),
        ),
        outcomes=(
            EditOutcome("a", 1.0, 1.0, nan, 0.5, " Rome", ("N", "M")),
            EditOutcome("b", 1.0, 0.0, nan, nan),
        ),
        epochs=(Epoch(2.5, 1, 0), Epoch(0.005, 0, 1)),
        parameters=("model.layers.2.mlp.down_proj.weight",),
        parameter_count=64,
        change_norm=0.1,
        decoded=1,
        seconds=0.5,
        flops=nan,
    )


def scan_result() -> ScanResult:
    descriptor = Descriptor("gradient", "Weight gradient", "", "", "locscope.scans.gradient:scan")
    scores = (
        ScanScore("norm", 1, "mlp.down", 0.5),
        ScanScore("norm", 0, "attn", 0.25, head=3, role="last", low=0.2, high=0.3, count=9),
    )
    return ScanResult(descriptor, scores, 10, 9, 0, 1.5)
