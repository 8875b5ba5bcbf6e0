"""Sums: the four operations on exact numbers, and nothing else that Python could be talked into."""

from __future__ import annotations

import ast
from collections.abc import Callable
from decimal import Decimal, InvalidOperation, localcontext

CENT = Decimal("0.01")
DIGITS_MAX = 28
_OPERATIONS: dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}


def reckon(expression: str) -> str:
    """The value of a sum, to the cent. Raises `ValueError` for what is no sum or has no value."""
    try:
        with localcontext(prec=DIGITS_MAX):
            found = _value(ast.parse(expression.strip(), mode="eval").body, expression.strip())
            return f"{found.quantize(CENT):f}"
    except (SyntaxError, InvalidOperation, ArithmeticError, RecursionError):
        message = "this is no sum that has a value"
        raise ValueError(message) from None


def _value(node: ast.expr, text: str) -> Decimal:
    match node:
        case ast.BinOp(left, operation, right) if type(operation) in _OPERATIONS:
            return _OPERATIONS[type(operation)](_value(left, text), _value(right, text))
        case ast.UnaryOp(ast.USub(), inner):
            return -_value(inner, text)
        case ast.UnaryOp(ast.UAdd(), inner):
            return _value(inner, text)
        case ast.Constant():
            # As it is written: what Python makes of `0.1` is another number.
            return Decimal(ast.get_source_segment(text, node) or "")
        case _:
            message = "only numbers, + - * / and parentheses"
            raise ValueError(message)
