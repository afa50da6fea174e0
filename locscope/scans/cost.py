"""The cost of a scan in forward passes, computed from the formula of its table entry."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

_OPERATIONS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


NAMES = {
    "layers": "blocks of the model",
    "heads": "heads of a block's attention",
    "tokens": "mean length of a prompt",
    "asked": "mean number of rows about one edit",
    "neutral": "how many times as many tokens the neutral texts have as the edits",
    "samples": "the option of that name; one where a subject is swapped",
    "steps": "the option of that name, one at least",
}
"""What a formula may name."""


def passes(formula: str, sizes: Mapping[str, float]) -> float:
    """Forward passes over one request, with sizes by name; a backward pass counts as two.

    Raises ValueError where a formula has more than these names, numbers and the four operations.
    """
    # Parsed rather than evaluated: a name that is no size is an error, never code.
    return _value(ast.parse(formula, mode="eval").body, sizes)


def _value(node: Any, names: Mapping[str, float]) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return float(node.value)
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = _value(node.left, names), _value(node.right, names)
        return _OPERATIONS[type(node.op)](left, right)
    raise ValueError(f"cannot compute '{ast.unparse(node)}' of a cost formula")
