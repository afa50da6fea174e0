import json
from dataclasses import dataclass
from math import inf, isnan, nan

import pytest
from pydantic import ValidationError

from locscope.locations import Location
from locscope.records import BoundPoint, Epoch, Margin, Measure, Recipe, Trial, dumps, loads
from locscope.records.codec import Number


@dataclass(frozen=True)
class Nested:
    """Numbers wherever a record can have them."""

    one: Number
    many: tuple[Number, ...]
    named: dict[str, Number]


@pytest.mark.parametrize(("value", "text"), [(inf, '"inf"'), (-inf, '"-inf"'), (1.5, "1.5")])
def test_infinity_survives(value, text):
    record = Nested(value, (value, 0.0), {"a": value})
    written = dumps(record)
    assert written == f'{{"one":{text},"many":[{text},0.0],"named":{{"a":{text}}}}}'
    assert loads(Nested, written) == record


def test_not_measured_is_null():
    written = dumps(Measure("kl", nan, 0, "p", high=inf))
    assert '"value":null' in written
    found = loads(Measure, written)
    assert isnan(found.value)
    assert found.high == inf


def test_numbers_keep_every_bit():
    value = 0.1 + 0.2
    assert loads(Epoch, dumps(Epoch(value, 1, 0))).loss == value


@pytest.mark.parametrize("text", ['"far"', "[]", "{}", '""'])
def test_other_things_are_no_numbers(text):
    with pytest.raises(ValidationError):
        loads(Epoch, f'{{"loss": {text}, "steps": 1, "skipped": 0}}')


def test_a_trial_keeps_its_name():
    """Names of records on disk: a change here would make every run start anew."""
    trial = Trial(Location.parse("L1.mlp"), Recipe(1e-3, 8), ("a",), "S", "sweep", 0, "m", "e")
    assert trial.id == loads(Trial, dumps(trial)).id
    assert trial.id == "95283044c7de"


def test_a_location_is_text_in_json_and_parsed_when_it_is_read():
    trial = Trial(Location.parse("L1.mlp"), Recipe(1e-3, 8), ("a",), "S", "sweep", 0, "m", "e")
    assert json.loads(dumps(trial))["location"] == "L1.mlp"
    assert loads(Trial, dumps(trial)).location == Location.at(1, "mlp")
    for unreadable in ('"nowhere"', "7", "null", "[]"):
        with pytest.raises(ValidationError):
            loads(Trial, dumps(trial).replace('"L1.mlp"', unreadable))


@pytest.mark.parametrize("location", [Location.at(1, "mlp"), "mean of 3 random locations"])
def test_words_stand_for_several_locations(location):
    margin = Margin("random", location, 0.1, 0.0, 0.2)
    assert json.loads(dumps(margin))["location"] == str(location)
    assert loads(Margin, dumps(margin)) == margin


@pytest.mark.parametrize(("location", "text"), [(Location.at(1, "mlp"), "L1.mlp"), (None, "")])
def test_no_location_is_empty_text(location, text):
    point = BoundPoint(1.1, location, 1e-3, 0.5, 0.5, 1.0)
    assert json.loads(dumps(point))["location"] == text
    assert loads(BoundPoint, dumps(point)) == point
