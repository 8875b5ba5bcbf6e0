# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false, reportUnknownParameterType=false, reportPrivateImportUsage=false
"""The few things said to z3, typed. What is certain stays a plain Python value and never becomes a term.

So the same code that encodes a rule over symbols also evaluates it over plain values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from answerable.errors import ConfigError

if TYPE_CHECKING:
    from types import ModuleType

    import z3

    Bool = z3.BoolRef | bool
    Num = z3.ArithRef | int
    Term = z3.ExprRef
    Model = z3.ModelRef


def engine() -> ModuleType:
    """z3. Raises `ConfigError` where it is not installed."""
    try:
        import z3
    except ImportError:
        raise ConfigError(
            "proofs need z3, which is not installed", hint="install it with `pip install 'answerable[prove]'`"
        ) from None
    return z3


def truth(name: str) -> Bool:
    """A symbol that is true or false."""
    return engine().Bool(name)


def number(name: str) -> Num:
    """A symbol for a whole number, of any size."""
    return engine().Int(name)


def both(*terms: Bool) -> Bool:
    """All of them. Of none: true."""
    open_terms: list[Bool] = []
    for term in terms:
        if term is False:
            return False
        if term is not True:
            open_terms.append(term)
    if not open_terms:
        return True
    return open_terms[0] if len(open_terms) == 1 else engine().And(open_terms)


def either(*terms: Bool) -> Bool:
    """At least one of them. Of none: false."""
    open_terms: list[Bool] = []
    for term in terms:
        if term is True:
            return True
        if term is not False:
            open_terms.append(term)
    if not open_terms:
        return False
    return open_terms[0] if len(open_terms) == 1 else engine().Or(open_terms)


def negate(term: Bool) -> Bool:
    """Not that."""
    return (not term) if isinstance(term, bool) else engine().Not(term)


def implies(given: Bool, then: Bool) -> Bool:
    """If the one, then the other."""
    return either(negate(given), then)


def alike(left: Bool, right: Bool) -> Bool:
    """Both true or both false."""
    if isinstance(left, bool):
        return right if left else negate(right)
    if isinstance(right, bool):
        return left if right else negate(left)
    return left == right  # pyright: ignore[reportReturnType]


def choose(condition: Bool, then: Any, otherwise: Any) -> Any:
    """One or the other term, by a condition. Both are of one sort."""
    if isinstance(condition, bool):
        return then if condition else otherwise
    return engine().If(condition, then, otherwise)


def equal(left: Num, right: Num) -> Bool:
    """The same number."""
    return left == right  # pyright: ignore[reportReturnType]


def less(left: Num, right: Num) -> Bool:
    """Strictly less."""
    return left < right


def at_most(left: Num, right: Num) -> Bool:
    """Less or the same."""
    return left <= right


def between(low: int, term: Num, high: int) -> Bool:
    """Within both bounds."""
    return both(at_most(low, term), at_most(term, high))


def plus(left: Num, right: Num) -> Num:
    """The sum."""
    return cast("Num", left + right)


def minus(left: Num, right: Num) -> Num:
    """The difference."""
    return cast("Num", left - right)


def times(left: Num, right: Num) -> Num:
    """The product."""
    return cast("Num", left * right)


def floor_divide(term: Num, by: int) -> Num:
    """The quotient, rounded down. `by` is positive: there z3 and Python agree."""
    return cast("Num", term // by if isinstance(term, int) else term / by)


def modulo(term: Num, by: int) -> Num:
    """What is left of a division, never negative. `by` is positive."""
    return term % by


def value_of(model: Model, term: Any) -> Any:
    """The plain value that a term has in a model: a bool, an int or a str."""
    if isinstance(term, (bool, int, str)):
        return term
    z3 = engine()
    found = model.eval(term, model_completion=True)
    if z3.is_bool(found):
        if not (z3.is_true(found) or z3.is_false(found)):
            message = f"z3 left a truth value open: {found}"
            raise RuntimeError(message)
        return z3.is_true(found)
    if z3.is_int_value(found):
        return found.as_long()
    return spelt(found)


def spelt(value: Any) -> str:
    """A z3 string as Python has it. `as_string` writes most characters as escapes."""
    return _unescape(value.as_string())


def _unescape(text: str) -> str:
    parts = text.split("\\u{")
    out = [parts[0]]
    for part in parts[1:]:
        code, _, rest = part.partition("}")
        out.extend((chr(int(code, 16)), rest))
    return "".join(out)


def spell(text: str) -> Term:
    """A text as a z3 string: everything but plain letters and digits as an escape, so that nothing is one by chance."""
    return engine().StringVal(
        "".join(each if each.isascii() and each.isalnum() else f"\\u{{{ord(each):x}}}" for each in text)
    )
