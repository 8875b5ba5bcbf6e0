"""One place as formulas: what the policy answers, what autonomy makes of it, and who is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

from answerable.gates import autonomy
from answerable.gates.request import Autonomy
from answerable.kernel.decision import ApproverNeed, Verdict
from answerable.prove.assumptions import Assumption, assumed, at, present
from answerable.prove.encode import Encoder
from answerable.prove.logic import both, either, negate
from answerable.prove.place import TENANT
from answerable.prove.requests import request_of
from answerable.prove.symbols import Symbols
from answerable.prove.values import NoForm, Words

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from answerable.gates.policy import Rule
    from answerable.gates.request import PolicyRequest
    from answerable.prove.logic import Bool, Model, Num
    from answerable.prove.place import Place
    from answerable.prove.texts import Text
    from answerable.prove.values import Parts, Value
    from answerable.prove.vocabulary import Vocabulary

LEVELS: tuple[Autonomy, ...] = get_args(Autonomy)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Met:
    """A rule in a place: whether its conditions are met, and whether evaluating them is an error."""

    rule: Rule
    fires: Bool
    error: Bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asking:
    """Somebody who has to say yes, and the requests for which that is so."""

    need: ApproverNeed
    asked: Bool


@dataclass(slots=True, kw_only=True, eq=False)
class Symbolic:
    """See the package. Made by `symbolize`."""

    place: Place
    vocabulary: Vocabulary
    prefix: str
    context: Parts
    tenant: Text
    valid: Bool
    assumptions: tuple[Assumption, ...]
    earlier: Mapping[str, Num]
    """By total: what was counted before this call."""
    rules: tuple[Met, ...]
    allow: Bool
    asks: Bool
    deny: Bool
    sent: Bool
    performable: Bool
    withheld: Bool
    """Not denied, and performed by nobody: a write in shadow."""
    asking: tuple[Asking, ...]
    _encoder: Encoder = field(repr=False)

    def at(self, *path: str) -> Value:
        """The value at a path of the context. Raises `KeyError` where there is none."""
        found = at(self.context, path)
        if found is None:
            raise KeyError(".".join(path))
        return found

    def present(self, *path: str) -> Bool:
        """Whether the path is there."""
        return present(self.context, path)

    def need(self, roles: Collection[str], count: int = 1) -> Bool:
        """A person is asked, and only people of these roles, so many different ones, can say yes."""
        return either(
            *(
                each.asked
                for each in self.asking
                if set(each.need.roles) <= set(roles) and each.need.count >= count
            )
        )

    def encode(self, rule: Rule) -> tuple[Bool, Bool]:
        """Whether another rule, head and conditions, is met here, and whether evaluating it is an error."""
        if not self.place.is_covered(rule.body):
            return False, False
        return self._encoder.condition(rule)

    def request(self, model: Model) -> PolicyRequest:
        """The request that a model describes."""
        return request_of(self.place, self.vocabulary.texts, self.context, self.tenant, model)


def symbolize(
    place: Place, vocabulary: Vocabulary, *, prefix: str = "", shared: Collection[str] = ()
) -> Symbolic:
    """A place as formulas. Raises `PolicyError` for a rule that has no exact form, with file, line and what to do."""
    symbols = Symbols(vocabulary, prefix, frozenset(shared))
    context = symbols.record(place.tool.context, vocabulary.reads)
    tenant = vocabulary.texts.symbol(symbols.name((TENANT,)))
    known = assumed(place, context, symbols)
    encoder = Encoder(place, vocabulary.texts, context, tenant)
    rules = tuple(_met(rule, encoder) for rule in place.rules if _is_covered(place, rule))
    error = either(*(each.error for each in rules))
    permitted = either(*(each.fires for each in rules if each.rule.effect == "permit"))
    asked = [each for each in rules if each.rule.decision == "require_approval"]
    final = either(*(each.fires for each in rules if each.rule.decision == "deny"))
    asking = either(*(each.fires for each in asked))
    is_open = both(negate(error), permitted, negate(final))
    allow, asks = both(is_open, negate(asking)), both(is_open, asking)
    levels = _levels(place, context, vocabulary)
    return Symbolic(
        place=place,
        vocabulary=vocabulary,
        prefix=prefix,
        context=context,
        tenant=tenant,
        valid=both(*symbols.limits, *(each.term for each in known.assumptions)),
        assumptions=known.assumptions,
        earlier=known.earlier,
        rules=rules,
        allow=allow,
        asks=asks,
        deny=negate(is_open),
        sent=both(allow, levels.lets),
        performable=both(is_open, levels.goes_on),
        withheld=both(is_open, levels.withholds),
        asking=(
            *(Asking(need=_need(each.rule), asked=both(asks, each.fires, levels.goes_on)) for each in asked),
            *(Asking(need=need, asked=both(is_open, term)) for need, term in levels.asks),
        ),
        _encoder=encoder,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Levels:
    """What the autonomy gate makes of a call here, by the level that the request has."""

    lets: Bool
    """It may be sent without asking."""
    asks: tuple[tuple[ApproverNeed, Bool], ...]
    withholds: Bool
    """A write in shadow: decided, and performed by nobody."""

    @property
    def goes_on(self) -> Bool:
        """It may be sent, perhaps after somebody said yes."""
        return either(self.lets, *(term for _, term in self.asks))


def _levels(place: Place, context: Parts, vocabulary: Vocabulary) -> _Levels:
    """The gate itself is asked, level by level; what is not one of its levels goes nowhere."""
    spec = place.tool.spec
    level = at(context, ("run", "autonomy"))
    if not isinstance(level, Words):
        place.refuse(
            "its context says nothing of autonomy", "load the bundle with this version of the package"
        )
    lets: list[Bool] = []
    asks: list[tuple[ApproverNeed, Bool]] = []
    withholds: Bool = False
    for name in LEVELS:
        answer = autonomy.check(spec, name, discharged=frozenset())
        term = vocabulary.texts.same(level.term, name)
        if name == "shadow" and spec.is_write:
            withholds = term
        elif answer.verdict is Verdict.ALLOW:
            lets.append(term)
        elif answer.verdict is Verdict.REQUIRE_APPROVAL:
            asks.extend((need, term) for need in answer.needs)
    return _Levels(either(*lets), tuple(asks), withholds)


def _met(rule: Rule, encoder: Encoder) -> Met:
    fires, error = encoder.condition(rule)
    return Met(rule=rule, fires=both(fires, negate(error)), error=error)


def _is_covered(place: Place, rule: Rule) -> bool:
    try:
        return place.is_covered(rule.body)
    except NoForm as refused:
        rule.refuse(f"it cannot be proven anything about: {refused}", refused.instead)


def _need(rule: Rule) -> ApproverNeed:
    return ApproverNeed(rule=rule.id, roles=rule.approvers, count=rule.count)
