"""Pins of the two environments, and the ranges that they were taken from."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
NEWEST, LOWEST = "constraints.txt", "constraints-lowest.txt"
PIN = re.compile(r"[A-Za-z0-9][\w.-]*==[\w.]+")


def _pins(file: str) -> list[str]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _pinned(file: str) -> dict[str, Version]:
    pairs = (pin.split("==") for pin in _pins(file))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def _dependencies() -> dict[str, Requirement]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = map(Requirement, tomllib.load(file)["project"]["dependencies"])
        return {canonicalize_name(one.name): one for one in listed}


@pytest.mark.parametrize("file", [NEWEST, LOWEST])
def test_constraints_are_pins_without_local_versions(file: str) -> None:
    pins, names = _pins(file), _pinned(file)
    assert [pin for pin in pins if not PIN.fullmatch(pin)] == []
    assert "torch==2.13.0" in pins
    assert len(names) == len(pins)
    assert "locscope" not in names


@pytest.mark.parametrize("file", [NEWEST, LOWEST])
def test_pins_are_in_the_ranges(file: str) -> None:
    pinned = _pinned(file)
    assert [n for n, one in _dependencies().items() if pinned[n] not in one.specifier] == []


@pytest.mark.parametrize("name", _dependencies())
def test_the_lowest_version_of_a_range_is_the_one_that_is_tested(name: str) -> None:
    (lowest,) = (s.version for s in _dependencies()[name].specifier if s.operator == ">=")
    assert _pinned(LOWEST)[name] == Version(lowest)
