"""How much a scan asks for, counted before it runs: its table entry has a formula."""

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
    """What a formula may name: of the model, of a request (mean `tokens` of a prompt, and `asked`,
    the rows about one edit), and the options `samples` and `steps`."""

    layers: float
    heads: float
    tokens: float
    asked: float
    samples: float
    steps: float


def passes(formula: str, sizes: Sizes) -> float:
    """Forward passes over one request (a backward pass counts as two); a ValueError for a formula
    that is not made of the names of `Sizes`, numbers and the four operations."""
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
