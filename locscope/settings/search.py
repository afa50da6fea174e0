"""Settings of `locscope search` and `locscope check`."""

from dataclasses import replace
from math import inf, nan
from typing import final

from pydantic import Field, field_validator, model_validator

from locscope.errors import UsageError, unknown
from locscope.locations import PAPER_PARTS, PARTS, Location
from locscope.scoring.objectives import Objective, objective_of
from locscope.selection.candidates import Grid
from locscope.selection.space import Budget
from locscope.selection.strategies import STRATEGIES
from locscope.settings.base import SharedSettings
from locscope.settings.scan import CHEAP, ScanChoices, scan_names
from locscope.tuning.recipes import RECIPES, recipe_named

EVERY = "every"
"""All recipes; `all` is one of them, full fine-tuning."""
DRAWS = 3
"""Fewest draws of the recipe whose weights are arbitrary; each repetition has its own."""
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@final
class SearchSettings(SharedSettings, ScanChoices):
    """What is searched, and how much is spent on it."""

    strategy: str = Field("race", description="how candidates are gone through")
    budget: str | None = Field(
        None, description="what choosing may take: 0.15 of a sweep's operations, or 90s, 5m, 2h"
    )
    scans: tuple[str, ...] = Field(
        (CHEAP,), validate_default=True, description="names of scans, cheap, or all"
    )
    objective: str = Field("balanced", description="what makes a location good")
    weights: dict[str, float] = Field({}, description="weights of the objective's terms")
    bounds: tuple[str, ...] = Field((), description="own bounds, as perplexity_ratio<=1.1")
    bound_margin: float = Field(
        0.4, ge=0, lt=1, description="share of what bounds on drift allow that a choice leaves free"
    )
    parts: tuple[str, ...] = Field(PAPER_PARTS, description="parts of every layer to try")
    quarters: bool = Field(True, description="try quarters of the layers and pairs of them too")
    consecutive: int = Field(1, ge=1, description="try so many layers in a row too")
    locations: tuple[str, ...] = Field((), description="locations to try besides")
    finalists: int = Field(3, ge=1, description="locations whose learning rate is searched")
    audit: int = Field(
        8, ge=0, description="locations drawn and run in full to judge the scans by; 0: no verdict"
    )
    validations: int = Field(2, ge=1, description="subsets of V that the finalists are tuned on")
    non_inferiority: float = Field(
        0.01, ge=0, lt=1, description="score that a smaller location may lack to be chosen"
    )
    deploy: int | None = Field(
        None, ge=1, description="edits that will be made: the recipe is fitted to so many (all)"
    )
    repetitions: int = Field(3, ge=1, description="subsets of T that is reported on")
    controls: int = Field(5, ge=1, description="random locations that it is compared with")
    recipes: tuple[str, ...] = Field(
        (), description="recipes to compare at the recommended place (every: all that there are)"
    )
    share: float = Field(0.3, gt=0, lt=1, description="share of the edits that choose (S)")
    first_step: float | None = Field(
        None, gt=0, description="loss change (nats) of Adam's first step; by what there is to learn"
    )
    batch_size: int | None = Field(None, ge=1, description="edits a batch; N/4 within 8..100")
    epochs: int = Field(25, ge=1, description="passes over the edits at most")
    prefixes: int = Field(0, ge=0, description="random-prefix copies of every edit")
    thorough: bool = Field(
        True, description="measure the recommendation under other protocols and edit counts too"
    )

    @property
    def grid(self) -> Grid:
        """Which places are tried besides those named."""
        return Grid(self.parts, self.quarters, self.consecutive)

    @property
    def allowance(self) -> Budget | None:
        """The budget as strategies take it."""
        return None if self.budget is None else _allowance(self.budget)

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
        """A settings file has 0.15 as a number."""
        return str(value) if isinstance(value, int | float) else value

    @field_validator("budget")
    @classmethod
    def _readable_budget(cls, value: str | None) -> str | None:
        if value is not None:
            _allowance(value)
        return value

    @field_validator("locations")
    @classmethod
    def _readable_locations(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(str(Location.parse(text).tidy) for text in value))

    @field_validator("recipes")
    @classmethod
    def _known_recipes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(
            dict.fromkeys(n for one in value for n in (RECIPES if one == EVERY else [one]))
        )
        return tuple(recipe_named(name).name for name in names if name != "full")

    @field_validator("scans")
    @classmethod
    def _known_scans(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return scan_names(value)

    @field_validator("parts")
    @classmethod
    def _known_parts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            if part not in PARTS:
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
        _ = self.full_objective
        return self


def _allowance(text: str) -> Budget:
    number, unit = text[:-1], text[-1:]
    seconds = UNITS.get(unit)
    try:
        amount = float(text if seconds is None else number) * (seconds or 1)
    except ValueError:
        amount = nan
    if not 0 < amount < inf or (seconds is None and amount > 1):
        raise UsageError(
            f"cannot read budget '{text}': write a share of a sweep up to 1, as 0.15, or a time, "
            "as 90s, 5m or 2h"
        )
    return Budget(amount, "share" if seconds is None else "seconds")
