"""Recommended and runner-up under other protocols: tuned once more on T, asked in every way."""

from dataclasses import replace

from locscope.workflows.search.stages import Evidence, TrialRunner

ROLES = ("recommended", "runner-up")
STAGE = "other protocols"


def other_protocols(runner: TrialRunner, evidence: Evidence) -> Evidence:
    """The stage of the protocols; not asked for, nothing is run."""
    if not runner.plan.settings.thorough:
        return evidence
    wanted = [contender for contender in evidence.held_out if contender.role in ROLES]
    return replace(evidence, panels=runner.protocols(STAGE, wanted))
