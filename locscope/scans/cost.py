"""The cost of a scan in forward passes, computed from the formula of its table entry."""

import ast
import operator
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

_OPERATIONS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Sizes:
    """The sizes that a formula may name.

    `layers` and `heads` are the model's; `tokens` is the mean length of a prompt, `asked` the mean
    number of rows about one edit; `neutral` is how many times as many tokens the neutral texts have
    as the prompts. `samples` and `steps` are options.
    """

    layers: float
    heads: float
    tokens: float
    asked: float
    neutral: float
    samples: float
    steps: float


def passes(formula: str, sizes: Sizes) -> float:
    """Forward passes over one request; a backward pass counts as two.

    Raises ValueError where a formula has more than the names of `Sizes`, numbers and the four
    operations.
    """
    # Parsed rather than evaluated: a name that is no size is an error, never code.
    return _value(ast.parse(formula, mode="eval").body, asdict(sizes))


def _value(node: Any, names: dict[str, float]) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return float(node.value)
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = _value(node.left, names), _value(node.right, names)
        return _OPERATIONS[type(node.op)](left, right)
    raise ValueError(f"cannot compute '{ast.unparse(node)}' of a cost formula")
