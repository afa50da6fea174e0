"""Trials side by side: who gets which next, and what becomes of those that are lost.

A team is what runs them: processes of this machine or of several. Trials go to it one by one, in
rising layers and falling counts of edits, so that the longest come first and each member's prefix
cache moves up; this process runs some itself until the first member is ready. Records come back and
are kept here alone.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, final, runtime_checkable

from locscope.errors import LocscopeError, OutOfMemory
from locscope.execution.local import note, run_trials
from locscope.progress import Progress, stage
from locscope.records import Trial, TrialRecord
from locscope.scoring.objectives import Objective
from locscope.tuning.workspace import Workspace

TRIES = 2
"""Processes that a trial may end: one that ended two would end the next as well."""
KILLED = "signal 9"
"""In what ended a process: how a system takes memory back."""


class Event(NamedTuple):
    """What a member of a team tells.

    `kind` is `record` (`value` is it), `said` (a line), `failed` (the error), `lost` (why it is
    gone), `parted` (the same where no trial can be the reason, as with a whole machine), or `alone`
    (why the team has ended, and this process goes on by itself).
    """

    kind: str
    member: str
    value: Any = None


@runtime_checkable
class Team(Protocol):
    """Members that run trials, each in a process of its own and one at a time.

    `layers` has those that are ready, and the layer that the prefix cache of each is at.
    """

    layers: dict[str, int]

    def open(self, workspace: Workspace, trials: int | None = None) -> None:
        """Trials that are given from here on, at most so many, are about this workspace; its model
        is untouched."""
        ...

    def give(self, member: str, trial: Trial, objective: Objective, *, alone: bool) -> None:
        """Hands a trial to a member that is ready; `alone` as in `run_trials`."""
        ...

    def events(self, *, wait: bool) -> list[Event]:
        """What was told since; waits a moment for the first where it shall."""
        ...

    def close(self) -> None:
        """Ends all members, whatever they are at; `open` starts others."""
        ...


@final
class Told(Progress):
    """A listener that passes on lines alone: of trials whose stage is open elsewhere."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def start(self, stage: str, total: int, share: float = 0.0) -> None:
        """Ignored."""

    def advance(self, note: str = "") -> None:
        """Ignored."""

    def finish(self, *, failed: bool = False) -> None:
        """Ignored."""

    def say(self, line: str) -> None:
        """Passed on."""
        self._say(line)


@final
class TrialQueue:
    """Trials that wait, are in work, or were lost; `layers` is that of the team."""

    def __init__(self, trials: Sequence[Trial], layers: dict[str, int]) -> None:
        self.waiting = sorted(trials, key=_turn)
        self.at_work: dict[str, Trial] = {}
        self._layers = layers
        self._blamed = Counter[str]()

    def take(self, member: str) -> Trial | None:
        """The next trial for a member; None where none waits.

        One of the layer that it is at; else of the lowest where nobody works, for lower ones take
        longer and layers that others have entered would be entered twice.
        """
        if not self.waiting:
            return None
        here = self._layers.get(member, -1)
        taken = {layer for other, layer in self._layers.items() if other != member}
        mine = [trial for trial in self.waiting if _layer(trial) == here]
        free = [trial for trial in self.waiting if _layer(trial) not in taken]
        trial = (mine or free or self.waiting)[0]
        self.waiting.remove(trial)
        self.at_work[member], self._layers[member] = trial, _layer(trial)
        return trial

    def done(self, member: str) -> None:
        """What the member had is done."""
        del self.at_work[member]

    def back(self) -> None:
        """What members had waits again."""
        self.waiting = sorted([*self.waiting, *self.at_work.values()], key=_turn)
        self.at_work.clear()

    def lost(self, member: str, why: str, *, blamed: bool = True) -> None:
        """A member is gone: what it had goes to another.

        Raises LocscopeError, or OutOfMemory where that may be it, for a trial that was `blamed` for
        one before.
        """
        trial = self.at_work.pop(member, None)
        if trial is None:
            return
        self._blamed[trial.id] += blamed
        if self._blamed[trial.id] >= TRIES:
            no_memory = KILLED in why
            advice = "it may need more memory than there is" if no_memory else "see what it said"
            raise (OutOfMemory if no_memory else LocscopeError)(
                f"trial {trial.location} at {trial.recipe.lr:g} ended {TRIES} processes, the last "
                f"with {why}: {advice}; give fewer --workers, or leave its location out"
            )
        self.waiting.insert(0, trial)


def run_in_team(
    team: Team,
    workspace: Workspace,
    name: str,
    trials: Sequence[Trial],
    keep: Callable[[TrialRecord], None],
    progress: Progress,
    *,
    objective: Objective,
    share: float = 0.0,
    alone: bool = False,
) -> None:
    """As `run_trials`, by a team; records come in any order, and are those of `run_trials`.

    Raises what a trial raised, and as `TrialQueue.lost`. Members that go are told of; where none is
    left, this process goes on by itself.
    """
    queue = TrialQueue(trials, team.layers)
    with stage(progress, name, len(trials), share):
        try:
            team.open(workspace, len(trials))
            while queue.waiting or queue.at_work:
                for member in sorted(team.layers.keys() - queue.at_work.keys()):
                    trial = queue.take(member)
                    if trial is not None:
                        team.give(member, trial, objective, alone=alone)
                none_ready = bool(queue.waiting) and not team.layers
                for event in team.events(wait=not none_ready):
                    _take(event, queue, keep, progress)
                if none_ready and not team.layers:
                    _run_here(queue, workspace, keep, progress, objective, alone=alone)
        except BaseException:
            # What others are at is of no use any more.
            team.close()
            raise


def _run_here(
    queue: TrialQueue,
    workspace: Workspace,
    keep: Callable[[TrialRecord], None],
    progress: Progress,
    objective: Objective,
    *,
    alone: bool,
) -> None:
    """One trial, in this process."""
    trial = queue.waiting.pop(0)
    run_trials(
        workspace,
        "",
        [trial],
        partial(_kept, keep, progress),
        Told(progress.say),
        objective=objective,
        alone=alone,
    )


def _kept(
    keep: Callable[[TrialRecord], None], progress: Progress, record: TrialRecord, by: str = ""
) -> None:
    keep(record)
    progress.advance(f"{note(record)}{by}")


def _take(
    event: Event,
    queue: TrialQueue,
    keep: Callable[[TrialRecord], None],
    progress: Progress,
) -> None:
    """What follows from something that a member told."""
    if event.kind == "record":
        queue.done(event.member)
        _kept(keep, progress, event.value, f" by worker {event.member}")
    elif event.kind == "said":
        progress.say(event.value)
    elif event.kind in ("lost", "parted"):
        again = "; its trial runs elsewhere" if event.member in queue.at_work else ""
        progress.say(f"worker {event.member} is gone ({event.value}){again}")
        queue.lost(event.member, event.value, blamed=event.kind == "lost")
    elif event.kind == "alone":
        progress.say(f"trials run in this process: {event.value}")
        queue.back()
    else:
        raise event.value


def _layer(trial: Trial) -> int:
    return trial.location.lowest


def _turn(trial: Trial) -> tuple[int, int]:
    """Longer trials first: a lower layer, then more edits."""
    return _layer(trial), -len(trial.edits)
