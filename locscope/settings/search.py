"""Settings of `locscope search` and `locscope check`."""

from dataclasses import replace
from importlib.util import find_spec
from math import nan
from typing import Literal, final

from pydantic import field_validator, model_validator

from locscope.errors import UsageError, shown, unknown
from locscope.locations import PAPER_PARTS, PARTS, SHARED_PARTS, Location
from locscope.scoring.objectives import OBJECTIVES, Objective, objective_of
from locscope.selection.strategies import STRATEGIES
from locscope.settings.base import (
    BATCH_SIZE,
    BOUNDS,
    COMPUTE,
    EPOCHS,
    LAYERS,
    MANY,
    MOST_SEED,
    PREFIXES,
    RATE,
    REPEATS,
    SEARCH,
    SharedSettings,
    setting,
)
from locscope.settings.scan import CHEAP, SCAN_NAMES, ScanChoices, scan_names
from locscope.tuning.recipes import RECIPES, recipe_named

EVERY = "every"
"""All recipes; `all` is one of them, full fine-tuning."""
DRAWS = 3
"""Fewest repetitions with the recipe `budget`: each draws its weights anew."""
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
MOST_WORKERS = 1024
LONGEST_BUDGET = 1e9
"""Seconds: thirty years."""


@final
class SearchSettings(SharedSettings, ScanChoices):
    """What is searched, and how much is spent on it."""

    strategy: str = setting(
        "race", "how candidates are gone through; see list strategies", SEARCH, choices=STRATEGIES
    )
    budget: str | None = setting(
        None, "what choosing may take: 0.15 of a sweep's operations, or 90s, 5m, 2h", SEARCH
    )
    scans: tuple[str, ...] = setting((CHEAP,), SCAN_NAMES, SEARCH, validate_default=True)
    objective: str = setting(
        "balanced", "what makes a location good; see list objectives", BOUNDS, choices=OBJECTIVES
    )
    weights: dict[str, float] = setting(
        {}, "weight of a term of the objective, as locality=2", BOUNDS, repeated="--weight"
    )
    bounds: tuple[str, ...] = setting(
        (), "bound of your own, as 'perplexity_ratio<=1.1'", BOUNDS, repeated="--bound"
    )
    bound_margin: float = setting(
        0.4, "share of what bounds on drift allow that a choice leaves free", BOUNDS, ge=0, lt=1
    )
    parts: tuple[str, ...] = setting(PAPER_PARTS, "parts of every layer to try", SEARCH)
    quarters: bool = setting(True, "try quarters of the layers and pairs of them too", SEARCH)
    consecutive: int = setting(1, "try so many layers in a row too", SEARCH, ge=1, le=LAYERS)
    locations: tuple[str, ...] = setting((), "more locations to try", SEARCH)
    finalists: int = setting(
        3,
        "most promising locations: rates searched, then validated on V",
        SEARCH,
        ge=1,
        le=MANY,
    )
    audit: int = setting(
        8,
        "locations drawn and run in full to judge the scans by; 0: none",
        SEARCH,
        ge=0,
        le=MANY,
    )
    validations: int = setting(
        2,
        "subsets of V for each finalist; as many again where it is close",
        SEARCH,
        ge=1,
        le=REPEATS,
    )
    non_inferiority: float = setting(
        0.01, "score that a smaller location may be shown to lack and is chosen", BOUNDS, ge=0, lt=1
    )
    deploy: int | None = setting(
        None,
        "edits that will be made; the recipe is fitted to them",
        SEARCH,
        unset="all",
        ge=1,
        le=MOST_SEED,
    )
    repetitions: int = setting(3, "subsets of T that is reported on", SEARCH, ge=1, le=REPEATS)
    controls: int = setting(5, "random locations to compare with", SEARCH, ge=1, le=REPEATS)
    recipes: tuple[str, ...] = setting(
        (), "recipes to compare at the recommended location, or every", SEARCH, unset="none"
    )
    share: float = setting(0.3, "share of the edits in S, which selects", SEARCH, gt=0, lt=1)
    first_step: float | None = setting(
        None,
        "loss change (nats) of Adam's first step",
        SEARCH,
        unset="by what there is to learn",
        gt=0,
        le=RATE,
    )
    batch_size: int | None = BATCH_SIZE
    epochs: int = EPOCHS
    prefixes: int = PREFIXES
    workers: int | None = setting(
        None,
        "trials side by side, each in a process of its own; 1: all in this one",
        COMPUTE,
        unset="one a core, or a GPU, where the work is long enough",
        ge=1,
        le=MOST_WORKERS,
    )
    ray: str | None = setting(
        None, "run trials on a Ray cluster: local, auto or its address (extra ray)", COMPUTE
    )
    thorough: bool = setting(
        True, "measure the recommendation under other protocols and edit counts too", SEARCH
    )
    curve_to: int | None = setting(
        None,
        "edits of the file that the curve over edit counts goes on to, beyond --limit",
        SEARCH,
        unset="twice those searched",
        ge=1,
        le=MOST_SEED,
    )

    @property
    def allowance(self) -> float | None:
        """The budget as a number, in its unit."""
        return None if self.budget is None else _allowance(self.budget)

    def most_on_curve(self, searched: int) -> int:
        """Edits that the curve over edit counts goes up to where so many are searched, and the
        file has them."""
        return max(searched, self.curve_to or 2 * searched)

    @property
    def budget_unit(self) -> Literal["share", "seconds"]:
        """What the budget is of: the operations of a sweep, or the time of trials."""
        return "seconds" if self.budget and self.budget[-1] in UNITS else "share"

    @property
    def full_objective(self) -> Objective:
        """The objective with the weights and bounds given here."""
        return replace(
            objective_of(self.objective, self.weights, self.bounds), bound_margin=self.bound_margin
        )

    @field_validator("strategy")
    @classmethod
    def _known_strategy(cls, value: str) -> str:
        if value not in STRATEGIES:
            raise unknown("strategy", value, STRATEGIES)
        return value

    @field_validator("budget", mode="before")
    @classmethod
    def _written_budget(cls, value: object) -> object:
        """The budget as text, also where a settings file has the number 0.15."""
        known = isinstance(value, int | float) and not isinstance(value, bool)
        return str(value) if known else value

    @field_validator("budget")
    @classmethod
    def _readable_budget(cls, value: str | None) -> str | None:
        if value is not None:
            _allowance(value)
        return value

    @field_validator("weights")
    @classmethod
    def _weighable(cls, value: dict[str, float]) -> dict[str, float]:
        for name, weight in value.items():
            # Sums of larger ones, and what is divided by them, are no longer finite.
            if weight > MANY:
                raise UsageError(f"weight {weight:g} of {shown(name)}: give at most {MANY}")
        return value

    @field_validator("locations")
    @classmethod
    def _readable_locations(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # In their one way of writing, so that two names of the same weights are tried once.
        return tuple(dict.fromkeys(str(Location.parse(text).tidy) for text in value))

    @field_validator("ray")
    @classmethod
    def _installed(cls, value: str | None) -> str | None:
        # Now, not after minutes of loading.
        if value is not None and find_spec("ray") is None:
            raise UsageError("--ray needs Ray, which is not there: pip install 'locscope[ray]'")
        return value

    @field_validator("recipes")
    @classmethod
    def _known_recipes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = dict.fromkeys(n for name in value for n in (RECIPES if name == EVERY else [name]))
        # Trials of a search have the recipe `full`, so that one is measured anyway.
        return tuple(recipe_named(name).name for name in names if name != "full")

    @field_validator("scans")
    @classmethod
    def _known_scans(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return scan_names(value)

    @field_validator("parts")
    @classmethod
    def _known_parts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            if part not in (*PARTS, *SHARED_PARTS):
                raise unknown("part", part, PARTS)
        return tuple(dict.fromkeys(value))

    @model_validator(mode="after")
    def _enough_draws(self) -> "SearchSettings":
        if "budget" in self.recipes and self.repetitions < DRAWS:
            raise UsageError(
                f"recipe budget draws its weights anew for each of {self.repetitions} repetitions, "
                f"too few to tell it from one lucky draw: give --repetitions {DRAWS} or more"
            )
        return self

    @model_validator(mode="after")
    def _known_objective(self) -> "SearchSettings":
        # Making it refuses unknown terms and bounds now, not after minutes of scans.
        _ = self.full_objective
        return self


def _allowance(text: str) -> float:
    """A share of a sweep's operations, from 0 to 1, or seconds where there is a unit of time."""
    number, unit = text[:-1], text[-1:]
    seconds = UNITS.get(unit)
    try:
        amount = float(text if seconds is None else number) * (seconds or 1)
    except ValueError:
        amount = nan
    if not 0 < amount <= (LONGEST_BUDGET if seconds else 1):
        raise UsageError(
            f"cannot read budget '{text}': write a share of a sweep up to 1, as 0.15, or a time, "
            "as 90s, 5m or 2h"
        )
    return amount
