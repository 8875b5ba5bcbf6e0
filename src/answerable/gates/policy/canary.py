"""Proof at load time that the guards work: each rule can apply, and a wrong context is refused.

A forbid that nothing can fire looks like a guard and is none. So each rule is run in a bundle of its own
(a forbid beside "permit everything") on contexts made from the literals in its conditions. Cedar itself
is the judge of every step; this module only chooses what to try. A rule for which nothing is found is
refused: better one that has to be written more plainly than one that is believed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, NoReturn

from cedarpy import pst

from answerable.gates.policy import cedar
from answerable.gates.policy.candidates import Literals, Path, assemble, candidates, literals_of, variables
from answerable.gates.policy.cedar import Answer
from answerable.gates.policy.refusal import refuse
from answerable.gates.policy.shape import STRING, Record, Scalar
from answerable.gates.policy.tree import Reads, chain, context_reads, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from answerable.gates.policy.rules import Rule
    from answerable.gates.policy.schema import ToolShape
    from answerable.gates.policy.shape import Shape
    from answerable.gates.policy.slices import Asked, Slice

TRIES_MAX = 10_000
"""Evaluations spent on one rule before it counts as one that cannot be shown to apply."""

_PERMIT_ALL = "permit (principal, action, resource);"
Chosen = dict[Path, object]
"""Values chosen so far, by path."""

_TENANT: Path = ("principal", "tenant")
_TENANT_CHAIN = ("principal", ("tenant",))


@dataclass(frozen=True, slots=True)
class Goal:
    """An expression and what it has to come out as."""

    expr: pst.Expr
    is_true: bool


@dataclass(slots=True)
class _Trial:
    """One rule tried on one tool and agent."""

    rule: Rule
    where: Slice
    asked: Asked
    literals: Literals
    tries_left: int
    atoms: dict[Goal, cedar.PolicySet] = field(default_factory=dict[Goal, cedar.PolicySet])
    variables: dict[Goal, dict[Path, Shape | None]] = field(
        default_factory=dict["Goal", "dict[Path, Shape | None]"]
    )

    def applies(self) -> bool:
        """Whether some choice of values makes the whole rule decide, with no error in it."""
        is_forbid = self.rule.effect == "forbid"
        own = cedar.PolicySet.from_str(f"{_PERMIT_ALL if is_forbid else ''}\n{self.rule.source}")
        wanted = Answer("deny" if is_forbid else "allow", (self.rule.id,), ())
        goals = tuple(Goal(clause.expr, isinstance(clause, pst.When)) for clause in self.rule.body.clauses)
        return any(self._ask(own, chosen) == wanted for chosen in self._search(goals, {}))

    def _search(self, goals: tuple[Goal, ...], chosen: Chosen) -> Iterator[Chosen]:
        """Choices under which every goal holds.

        What is certain is taken apart first, then one atom after another is met, and only then are ways
        tried one by one: each atom that cannot be met cuts off all that would follow.
        """
        if self.tries_left <= 0:
            return
        if not goals:
            yield chosen
            return
        ways = {goal: alternatives(goal) for goal in goals}
        atoms = [goal for goal in goals if ways[goal] is None]
        compound = sorted(
            (goal for goal in goals if ways[goal] is not None), key=lambda each: len(ways[each] or ())
        )
        if compound and (not atoms or len(ways[compound[0]] or ()) <= 1):
            rest = tuple(goal for goal in goals if goal != compound[0])
            for way in ways[compound[0]] or ():
                yield from self._search((*way, *rest), chosen)
            return
        nearest = min(atoms, key=lambda goal: len(self._open(goal, chosen)))
        rest = tuple(goal for goal in goals if goal != nearest)
        for more in self._choices(nearest, chosen):
            yield from self._search(rest, more)

    def _choices(self, atom: Goal, chosen: Chosen) -> Iterator[Chosen]:
        """What is chosen so far, with values added under which the atom holds."""
        free = self._open(atom, chosen)
        for values in product(*(self._domain(shape) for shape in free.values())):
            if self.tries_left <= 0:
                return
            more = chosen | dict(zip(free, values, strict=True))
            if self._holds(atom, more):
                yield more

    def _open(self, goal: Goal, chosen: Chosen) -> dict[Path, Shape | None]:
        """The variables of an atom that nothing is chosen for yet."""
        found = self.variables.get(goal)
        if found is None:
            found = dict(variables(self.where.tool.context, context_reads((goal.expr,))))
            if any(chain(node) == _TENANT_CHAIN for node in walk(goal.expr)):
                found[_TENANT] = STRING
            self.variables[goal] = found
        return {path: shape for path, shape in found.items() if path not in chosen}

    def _domain(self, shape: Shape | None) -> list[object]:
        return [True, False] if shape is None else candidates(shape, self.literals)

    def _holds(self, goal: Goal, chosen: Chosen) -> bool:
        atom = self.atoms.get(goal)
        if atom is None:
            atom = self.atoms[goal] = _as_policy(goal)
        answer = self._ask(atom, chosen)
        return answer.verdict == "allow" and not answer.errors

    def _ask(self, policies: cedar.PolicySet, chosen: Chosen) -> Answer:
        self.tries_left -= 1
        context = assemble(self.where.tool.context, chosen)
        asked = replace(self.asked, tenant=str(chosen.get(_TENANT, self.asked.tenant)))
        return self.where.ask(policies, *self.where.request(asked, context))


def can_apply(rule: Rule, places: Iterable[tuple[Slice, Asked]]) -> bool:
    """Whether the rule was seen to decide in one of these places."""
    literals = literals_of(rule.body)
    tries_left = TRIES_MAX
    for where, asked in places:
        trial = _Trial(rule, where, asked, literals, tries_left)
        if trial.applies():
            return True
        tries_left = trial.tries_left
        if tries_left <= 0:
            break
    return False


def alternatives(goal: Goal) -> list[tuple[Goal, ...]] | None:
    """The ways in which a compound goal can be met, each a list of smaller goals; None for an atom."""
    match goal.expr:
        case pst.BoolLit(value):
            return [()] if value is goal.is_true else []
        case pst.UnaryOp("not", arg):
            return [(Goal(arg, not goal.is_true),)]
        case pst.BinaryOp("and" | "or" as op, left, right):
            both = (Goal(left, goal.is_true), Goal(right, goal.is_true))
            return [both] if (op == "and") is goal.is_true else [(both[0],), (both[1],)]
        case pst.IfThenElse(cond, then_expr, else_expr):
            return [
                (Goal(cond, is_true=True), Goal(then_expr, goal.is_true)),
                (Goal(cond, is_true=False), Goal(else_expr, goal.is_true)),
            ]
        case _:
            return None


def check_validator(tool: ToolShape) -> None:
    """Refuse to go on unless a wrong type and an unknown name are refused at every place of the context."""
    present = {path: True for path, shape in variables(tool.context, Reads(is_whole=True)) if shape is None}
    sound = assemble(tool.context, present)
    if not tool.validator.is_valid(sound):
        _unsound(tool, "a sound context is refused")
    for damaged, place in _damaged(sound, tool.context, "context"):
        if tool.validator.is_valid(damaged):
            _unsound(tool, f"a wrong `{place}` is accepted")


def _damaged(value: dict[str, object], record: Record, path: str) -> Iterator[tuple[dict[str, object], str]]:
    yield value | {"no_such_name": "x"}, f"{path}.no_such_name"
    for each in record.attributes:
        place = f"{path}.{each.name}"
        is_text = isinstance(each.shape, Scalar) and each.shape.kind == "String"
        yield value | {each.name: 0 if is_text else "wrong"}, place
        if isinstance(each.shape, Record):
            inner = value[each.name]
            for damaged, where in _damaged(inner, each.shape, place):  # pyright: ignore[reportArgumentType]
                yield value | {each.name: damaged}, where


def _as_policy(goal: Goal) -> cedar.PolicySet:
    """A policy that permits exactly where the goal is met."""
    clause = pst.When(goal.expr) if goal.is_true else pst.Unless(goal.expr)
    policy = pst.Template(
        id="atom",
        effect="permit",
        principal=pst.ScopeAny(),
        action=pst.ScopeAny(),
        resource=pst.ScopeAny(),
        clauses=(clause,),
        annotations=pst.FrozenMap(),
    )
    return cedar.PolicySet.from_pst(
        pst.PolicySet(
            templates=pst.FrozenMap(), static_policies=pst.FrozenMap({"atom": policy}), template_links=()
        )
    )


def _unsound(tool: ToolShape, what: str) -> NoReturn:
    refuse(
        f"the context check of tool `{tool.spec.name}` does not work: {what}",
        "this is a defect in the package or in an installed library; please report it",
    )
