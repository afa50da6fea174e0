"""Shapes and types are checked in every call, of functions within functions too."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from beartype import beartype
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float, TypeCheckError
from shape_checks import jaxtyped
from torch import Tensor

from locscope.forward.head import wide_product

checked = jaxtyped(typechecker=beartype)
Refused = (BeartypeCallHintViolation, TypeCheckError)
TWO, THREE = torch.zeros(2), torch.zeros(3)


@checked
def joined(one: Float[Tensor, " n"], two: Float[Tensor, " n"], plain: int = 0) -> Tensor:
    return one + two if plain == 0 else one[0]


@checked
def doubled(one: Float[Tensor, " n"], wrong: bool = False) -> Float[Tensor, " n"]:
    return torch.cat([one, one]) if wrong else one * 2


@checked
def length(one: object) -> int:
    return one if isinstance(one, str) else 3  # type: ignore[return-value]


@checked
@dataclass(frozen=True)
class Pair:
    one: Float[Tensor, " n"]
    two: Float[Tensor, " n"]


def scaling(by: float) -> Callable[..., Tensor]:
    @checked
    def scaled(one: Float[Tensor, " n"], two: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return two[:1].repeat(9) if by == 0 else (one + two) * by

    return scaled


@contextmanager
@checked
def lent(one: Float[Tensor, " n"]) -> Iterator[Float[Tensor, " n"]]:
    yield doubled(one)


@pytest.mark.parametrize(
    "call",
    [
        lambda: joined(TWO, THREE),
        lambda: joined(TWO.int(), TWO),
        lambda: joined(TWO, TWO, "0"),
        lambda: doubled(TWO, wrong=True),
        lambda: length("3"),
        lambda: Pair(TWO, THREE),
        lambda: lent(TWO[None]).__enter__(),
        lambda: scaling(2.0)(TWO, THREE),
        lambda: scaling(0.0)(TWO, TWO),
        lambda: wide_product(torch.zeros(4, 3), torch.zeros(5, 2)),
    ],
)
def test_what_does_not_fit_is_refused_each_time(call: Callable[[], object]) -> None:
    for _ in range(2):
        with pytest.raises(Refused):
            call()


def test_what_fits_is_let_through_and_each_function_is_itself() -> None:
    assert joined(TWO, TWO, 1).shape == ()
    assert Pair(THREE, THREE).one is THREE
    twice, thrice = scaling(2.0), scaling(3.0)
    with pytest.raises(Refused):
        scaling(5.0)(TWO, THREE)
    one = torch.ones(2)
    assert twice(one, two=one).tolist() == [4.0, 4.0]
    assert thrice(one, one).tolist() == [6.0, 6.0]
    with lent(one) as two:
        assert two.tolist() == [2.0, 2.0]


def test_axes_of_one_call_say_nothing_in_another() -> None:
    @checked
    def outer(one: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        doubled(THREE)
        scaling(1.0)(torch.zeros(5), torch.zeros(5))
        return one

    assert outer(TWO) is TWO
