"""Expressions of rules as terms: what each comes to, and whether evaluating it is an error, exactly as in Cedar.

Every node of Cedar's tree is either encoded or refused; nothing is approximated. `&&`, `||` and `if` do not look at what
Cedar does not evaluate, so an error there is none. Operations on numbers and times are in `encode_numbers.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from cedarpy import pst

from answerable.prove.encode_numbers import NUMERIC, numeric
from answerable.prove.literals import confirming, plain
from answerable.prove.logic import both, either, negate
from answerable.prove.place import TENANT
from answerable.prove.values import (
    Coded,
    Entity,
    Item,
    Many,
    NoForm,
    Part,
    Parts,
    Truth,
    Value,
    Words,
    holds,
    is_nothing,
    is_within,
    meets,
    merged,
    same,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from answerable.gates.policy import Rule
    from answerable.prove.logic import Bool
    from answerable.prove.place import Place
    from answerable.prove.texts import Text, Texts

_MADE = frozenset({"decimal", "datetime", "duration"})


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """Encodes the expressions of rules in one place, over what its context and its tenant are."""

    place: Place
    texts: Texts
    context: Parts
    tenant: Text

    def condition(self, rule: Rule) -> tuple[Bool, Bool]:
        """Whether the rule's conditions are met, and whether evaluating them is an error.

        Raises `PolicyError`, with the rule's file and line, for what has no exact form.
        """
        met: Bool = True
        error: Bool = False
        try:
            for clause in rule.body.clauses:
                if met is False:
                    break
                found = self.encode(clause.expr)
                term = _truth(found)
                error = either(error, both(met, found.error))
                met = both(met, term if isinstance(clause, pst.When) else negate(term))
        except NoForm as refused:
            rule.refuse(f"it cannot be proven anything about: {refused}", refused.instead)
        return met, error

    def encode(self, expr: pst.Expr) -> Coded:
        """One expression. Raises `NoForm` for what has no exact form."""
        literal = plain(expr)
        if literal is not None:
            if isinstance(expr, pst.UnaryOp) and not self.place.is_true(confirming(expr, literal)):
                raise NoForm(
                    "Cedar reads a literal in it in another way", "write the literal in its plainest form"
                )
            return Coded(literal)
        match expr:
            case pst.Var(name):
                return Coded(self.context if name == "context" else Entity(self.place.uids[name]))
            case pst.EntityLit(uid):
                return Coded(Entity(uid))
            case pst.GetAttr(base, name):
                return self._attribute(self.encode(base), name)
            case pst.HasAttr(base, names):
                return self._has(self.encode(base), names)
            case pst.UnaryOp(op, arg):
                return self._unary(op, arg)
            case pst.BinaryOp():
                return self._binary(expr)
            case pst.IfThenElse(condition, then, otherwise):
                return self._if(self.encode(condition), then, otherwise)
            case pst.Like(base, pattern):
                text = self.encode(base)
                return Coded(Truth(self.texts.like(_words(text), pattern)), text.error)
            case pst.Is(base, kind, inside):
                return self._is(self.encode(base), kind, inside)
            case pst.Set(elements):
                found = [self.encode(each) for each in elements]
                if any(isinstance(each.value, (Many, Parts)) for each in found):
                    raise NoForm("a set of sets or records is written in it", "compare plain values")
                return Coded(Many(tuple(Item(True, each.value) for each in found)), _any_error(found))
            case pst.Record(fields):
                parts = {name: self.encode(each) for name, each in fields.items()}
                value = Parts({name: Part(True, each.value) for name, each in parts.items()})
                return Coded(value, _any_error(parts.values()))
            case _:
                raise _not_understood(type(expr).__name__)

    def _attribute(self, base: Coded, name: str) -> Coded:
        match base.value:
            case Parts(fields) if name in fields:
                part = fields[name]
                return Coded(part.value, either(base.error, negate(part.present)))
            case Entity(uid):
                return Coded(self._fixed(uid, name), base.error)
            case _:
                raise NoForm(f"`{name}` is read where there is none", "guard it with a condition on the tool")

    def _fixed(self, uid: pst.EntityUid, name: str) -> Value:
        if uid == self.place.uids["principal"] and name == TENANT:
            return Words(self.tenant)
        known = self.place.attributes.get(uid, {})
        if name not in known:
            raise NoForm(
                f"`{name}` of `{uid}` is not known here", "read attributes of `principal` and `resource` only"
            )
        return _constant(known[name])

    def _has(self, base: Coded, names: tuple[str, ...]) -> Coded:
        value: Value = base.value
        there: Bool = True
        for name in names:
            match value:
                case Parts(fields) if name in fields:
                    there = both(there, fields[name].present)
                    value = fields[name].value
                case Parts():
                    return Coded(Truth(False), base.error)
                case Entity(uid) if len(names) == 1:
                    is_tenant = uid == self.place.uids["principal"] and name == TENANT
                    return Coded(Truth(is_tenant or name in self.place.attributes.get(uid, {})), base.error)
                case _:
                    raise NoForm(
                        f"`has {name}` is asked of something without parts", "ask for one part at a time"
                    )
        return Coded(Truth(there), base.error)

    def _unary(self, op: pst.UnaryOpName, arg: pst.Expr) -> Coded:
        if op in _MADE or op.startswith(("ip", "is_ip")):
            raise NoForm(f"`{op}(…)` of something that is not written out", "give it a literal")
        found = self.encode(arg)
        if op == "not":
            return Coded(Truth(negate(_truth(found))), found.error)
        if op == "is_empty":
            return Coded(Truth(is_nothing(_many(found))), found.error)
        if op in NUMERIC:
            return numeric(op, found)
        raise _not_understood(op)

    def _binary(self, expr: pst.BinaryOp) -> Coded:
        op = expr.op
        left = self.encode(expr.left)
        if op in ("and", "or"):
            return self._short(op, left, expr.right)
        right = self.encode(expr.right)
        error = either(left.error, right.error)
        match op:
            case "eq":
                return Coded(Truth(same(left.value, right.value, self.texts)), error)
            case "not_eq":
                return Coded(Truth(negate(same(left.value, right.value, self.texts))), error)
            case "in":
                return Coded(Truth(self._is_in(left.value, right.value)), error)
            case "contains":
                return Coded(Truth(holds(_many(left), right.value, self.texts)), error)
            case "contains_all":
                return Coded(Truth(is_within(_many(right), _many(left), self.texts)), error)
            case "contains_any":
                return Coded(Truth(meets(_many(left), _many(right), self.texts)), error)
            case _ if op in NUMERIC:
                return numeric(op, left, right)
            case _:
                raise _not_understood(op)

    def _short(self, op: str, left: Coded, right_expr: pst.Expr) -> Coded:
        """`&&` and `||`: the right side counts only where the left one leaves it open."""
        is_open = _truth(left) if op == "and" else negate(_truth(left))
        if is_open is False or left.error is True:
            return Coded(Truth(op != "and"), left.error)
        right = self.encode(right_expr)
        term = both(_truth(left), _truth(right)) if op == "and" else either(_truth(left), _truth(right))
        return Coded(Truth(term), either(left.error, both(is_open, right.error)))

    def _if(self, condition: Coded, then_expr: pst.Expr, else_expr: pst.Expr) -> Coded:
        term = _truth(condition)
        if isinstance(term, bool):
            found = self.encode(then_expr if term else else_expr)
            return Coded(found.value, either(condition.error, found.error))
        then, otherwise = self.encode(then_expr), self.encode(else_expr)
        error = either(condition.error, both(term, then.error), both(negate(term), otherwise.error))
        return Coded(merged(term, then.value, otherwise.value, self.texts), error)

    def _is(self, base: Coded, kind: pst.EntityType, inside: pst.Expr | None) -> Coded:
        asked: pst.Expr | None = None
        if inside is not None:
            asked = _entities(self.encode(inside).value)
        return Coded(Truth(self.place.is_true(pst.Is(_entities(base.value), kind, asked))), base.error)

    def _is_in(self, left: Value, right: Value) -> bool:
        """Which entity is in which is fixed, so Cedar says it."""
        return self.place.is_true(pst.BinaryOp("in", _entities(left), _entities(right)))


def _truth(found: Coded) -> Bool:
    if not isinstance(found.value, Truth):
        raise NoForm("a condition in it is not true or false", "write a comparison")
    return found.value.term


def _words(found: Coded) -> Text:
    if not isinstance(found.value, Words):
        raise NoForm("`like` stands beside something that is no text", "write a comparison")
    return found.value.term


def _many(found: Coded) -> Many:
    if not isinstance(found.value, Many):
        raise NoForm("something that is no set is asked what it contains", "write a comparison")
    return found.value


def _entities(value: Value) -> pst.Expr:
    """An entity, or a set of them, as Cedar is asked about it."""
    match value:
        case Entity(uid):
            return pst.EntityLit(uid)
        case Many(items):
            return pst.Set(tuple(_entities(item.value) for item in items))
        case _:
            raise NoForm("`in` or `is` stands beside something that is no entity", "write a comparison")


def _constant(value: object) -> Value:
    """A fixed attribute of an entity."""
    match value:
        case bool():
            return Truth(value)
        case str():
            return Words(value)
        case list():
            return Many(tuple(Item(True, _constant(each)) for each in cast("list[object]", value)))
        case _:
            raise NoForm(f"an attribute is a {type(value).__name__}", "read another attribute")


def _any_error(found: Iterable[Coded]) -> Bool:
    return either(*(each.error for each in found))


def _not_understood(what: str) -> NoForm:
    return NoForm(
        f"`{what}` is not understood by the proof", "write it with comparisons, `has`, `like` and sets"
    )
