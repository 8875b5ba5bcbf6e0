"""The next call of a run: the one that does most of those that are let through, found by z3 and tried on the real gates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Any, cast

from answerable.engine.deciding import fact_arguments
from answerable.gates.schema import canonical
from answerable.kernel.tool import fields_of
from answerable.prove.blast_outlook import Outlook
from answerable.prove.blast_peaks import MONEY_MAX, Question, highest, is_there, money_of
from answerable.prove.blast_stand import differs, natural, so_far, stand
from answerable.prove.blast_values import ABSENT, PRESENT, Form, Maker, Path
from answerable.prove.blast_world import Step, copied
from answerable.prove.literals import decimal_of, decimal_units, instant
from answerable.prove.logic import at_most, both, equal, value_of
from answerable.prove.solving import Found
from answerable.prove.values import Many, Number, Parts, Truth, Words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import BaseModel

    from answerable.gates.request import PolicyRequest
    from answerable.kernel.tool import ToolSpec
    from answerable.prove.blast_figures import Measure
    from answerable.prove.blast_outlook import Leaf
    from answerable.prove.blast_world import Judged, Underway, World
    from answerable.prove.logic import Bool, Model

UNBOUNDED_AIM = 1_000_000
"""Where nothing limits an amount, a witness of this much is enough."""
RECIPIENTS_SHOWN = 10
"""The same of recipients."""
PREPARATIONS_MAX = 3
TRIES_MAX = 40
"""So many ways of preparing a call are tried before one more call is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is to be made large, and how much a call of each tool can do at most (None: nothing limits it)."""

    measure: Measure
    unit: str
    per_call: Mapping[str, Decimal | None]
    data_class: str = ""
    """For data that leaves: which."""

    @property
    def largest(self) -> Decimal:
        """The most that any call can do, or as much as is aimed at."""
        return max(
            (Decimal(UNBOUNDED_AIM) if most is None else most for most in self.per_call.values()),
            default=Decimal(0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A call that the gates let through where it was tried, and what it does."""

    step: Step
    judged: Judged
    amount: Decimal


@dataclass(slots=True, eq=False)
class Search:
    """Finds calls. `preparing` are tools whose calls can make others possible."""

    maker: Maker
    outlooks: Mapping[str, Outlook]
    preparing: Sequence[str]

    def best(self, world: World, run: Underway, goal: Goal, window: tuple[int, int]) -> Move | None:
        """The call that does most, of those that are possible now."""
        found: Move | None = None
        if goal.data_class and goal.data_class not in run.origins.classes:
            return None
        last = [step.tool for step in run.steps[-1:] if goal.per_call.get(step.tool)]
        for name in dict.fromkeys([*last, *_by_size(goal, self.outlooks)]):
            most = goal.per_call[name]
            if found is not None and most is not None and found.amount >= most:
                continue
            move = self.call(world, run, name, goal, window)
            if move is not None and (found is None or move.amount > found.amount):
                found = move
        return found

    def call(
        self, world: World, run: Underway, name: str, goal: Goal | None, window: tuple[int, int]
    ) -> Move | None:
        """A call of one tool, as large as can be where there is a goal; None where the gates let none through."""
        if run.decided >= world.subject.limits["tool_calls"]:
            return None
        outlook = self.outlooks[name]
        after = run.steps[-1].now_us + 1000 if run.steps else window[0]
        window = (max(window[0], after), window[1])
        if window[0] >= window[1]:
            return None
        question = outlook.question
        if not question.is_possible(question.sent(), *so_far(outlook, world, run, window)):
            return None
        terms = stand(outlook, world, run, window)
        if outlook.spec.is_write:
            terms.extend(differs(outlook, step.arguments) for step in run.steps if step.tool == name)
        model = self._model(outlook, world, terms, goal)
        if model is None:
            return None
        is_wide = goal is not None and goal.measure == "recipients"
        for chosen in (_widened(outlook.spec, self.maker) if is_wide else {}, {}):
            step = self._step(outlook, world, model, window, chosen)
            judged = None if step is None else world.judge(run, step)
            if step is None or judged is None or not judged.is_let_through:
                continue
            amount = amount_of(judged.request, goal)
            if goal is None or amount:
                return Move(step=step, judged=judged, amount=amount)
        return None

    def prepared(
        self, world: World, run: Underway, goal: Goal, window: tuple[int, int], beyond: Decimal = Decimal(0)
    ) -> tuple[World, Underway] | None:
        """The run after calls that make a call possible which does more than `beyond`; None where none of those tried does."""
        larger = {name: most for name, most in goal.per_call.items() if most is None or most > beyond}
        goal = replace(goal, per_call=larger)
        if not self._is_helpable(world, run, goal, window):
            return None
        tries = 0
        level = [(world, run)]
        for _ in range(PREPARATIONS_MAX):
            reached: list[tuple[World, Underway]] = []
            for (before, sofar), name in product(level, self.preparing):
                for then, after in self._after(before, sofar, name, window):
                    tries += 1
                    move = self.best(then, after, goal, window)
                    if move is not None and move.amount > beyond:
                        return then, after
                    reached.append((then, after))
                    if tries >= TRIES_MAX:
                        return None
            level = reached
        return None

    def _after(
        self, world: World, run: Underway, name: str, window: tuple[int, int]
    ) -> Iterator[tuple[World, Underway]]:
        """The run after a call of a tool, once for each result that may make a difference."""
        first = self.call(world, run, name, None, window)
        if first is None:
            return
        for result in self._results(self.outlooks[name], world):
            then, after = world.copy(), copied(run)
            made = self._result(self.outlooks[name].spec, result)
            if made is None:
                continue
            step = replace(first.step, result=made[0])
            then.perform(after, step, first.judged)
            yield then, after

    def _is_helpable(self, world: World, run: Underway, goal: Goal, window: tuple[int, int]) -> bool:
        """Whether any call would be possible if the run had made other calls before."""
        if run.decided + 1 >= world.subject.limits["tool_calls"] or not self.preparing:
            return False
        for name in _by_size(goal, self.outlooks):
            outlook = self.outlooks[name]
            terms = stand(outlook, world, run, window, is_open=True)
            if isinstance(outlook.question.find(outlook.question.sent(), *terms), Found):
                return True
        return False

    def _model(self, outlook: Outlook, world: World, terms: list[Bool], goal: Goal | None) -> Model | None:
        """The largest call, as z3 sees it; one that reads naturally, where there is one."""
        question, impact = outlook.question, outlook.spec.impact
        sent = both(question.sent(), *terms)
        nature = natural(outlook)
        argument = None if impact is None else impact.money
        money = None if argument is None else money_of(outlook.symbolic, argument)
        if money is None or argument is None:
            return _first(question, (sent, nature), (sent,))
        if goal is None or goal.measure != "money":
            small = at_most(money.term, decimal_units(Decimal(1)))
            return _first(question, (sent, small, nature), (sent, nature), (sent,))
        sent = both(sent, is_there(outlook.symbolic, argument))
        most = goal.per_call[outlook.spec.name]
        aim = decimal_units(Decimal(UNBOUNDED_AIM) if most is None else most)
        first = _first(
            question, (sent, equal(money.term, aim), nature), (sent, equal(money.term, aim)), (sent,)
        )
        if first is None or (low := value_of(first, money.term)) >= aim:
            return first
        marks = question.marks("decimal")
        marks |= {mark - each.amount // 100 for mark in marks for each in [*world.totals.values()][-8:]}
        low, _ = highest(lambda *wanted: question.find(sent, *wanted), money.term, marks, low, aim)
        return (
            _first(question, (sent, equal(money.term, low), nature), (sent, equal(money.term, low))) or first
        )

    def _step(
        self,
        outlook: Outlook,
        world: World,
        model: Model,
        window: tuple[int, int],
        widened: Mapping[Path, object],
    ) -> Step | None:
        """The call that a model describes, with all that the model leaves open made up."""
        spec = outlook.spec
        chosen: dict[str, dict[Path, object]] = {"args": {}}
        moment = outlook.symbolic.at("now")
        assert isinstance(moment, Number)
        for leaf in outlook.leaves:
            root, depth = ("args", 1) if leaf.path[0] == "args" else (leaf.path[1], 2)
            value = self._read(leaf, model)
            if value is not None:
                chosen.setdefault(root, {})[leaf.path[depth:]] = value
        chosen["args"].update(widened)
        arguments = self.maker.value(
            Form.of(spec.arguments), chosen["args"], spec.arguments.model_validate_json
        )
        if arguments is None:
            return None
        facts = self._facts(outlook, world, cast("BaseModel", arguments[1]), chosen)
        made = self._result(spec, self._results(outlook, world)[0])
        if facts is None:
            return None
        return Step(
            tool=spec.name,
            arguments=canonical(arguments[1]),
            facts=facts,
            result=None if made is None else made[0],
            now_us=max(window[0], value_of(model, moment.term) * 1000) if outlook.reads_time else window[0],
        )

    def _facts(
        self,
        outlook: Outlook,
        world: World,
        arguments: BaseModel,
        chosen: Mapping[str, Mapping[Path, object]],
    ) -> dict[str, Any] | None:
        """What the facts of a call answer: what they answered before, or else as was chosen; None where nothing fits."""
        found: dict[str, Any] = {}
        said: dict[str, Any] = {}
        for fact in outlook.spec.facts:
            reader = world.subject.known[fact.tool]
            given = fact_arguments(fact.arguments, fields_of(arguments))
            key = f"{fact.tool} {given}"
            known = world.known(fact.tool, given)
            if known is not None or key in said:
                found[fact.name] = said[key] if known is None else known.value
                continue
            answer = self.maker.value(
                Form.of(reader.result), chosen.get(fact.name, {}), reader.result.validate_json
            )
            if answer is None:
                return None
            found[fact.name] = said[key] = answer[0]
        return found

    def _read(self, leaf: Leaf, model: Model) -> object:
        """What a model says of a place, as JSON; None where it says nothing that matters."""
        if not value_of(model, leaf.present):
            return ABSENT
        match leaf.value:
            case Truth(term):
                return value_of(model, term)
            case Number(term, "decimal"):
                return f"{decimal_of(value_of(model, term))}"
            case Number(term, "datetime"):
                at = instant(value_of(model, term))
                is_date = leaf.form is not None and leaf.form.schema.get("format") == "date"
                return f"{at:%Y-%m-%d}" if is_date else at.isoformat().replace("+00:00", "Z")
            case Number(term):
                return value_of(model, term)
            case Words(term):
                return value_of(model, term) if isinstance(term, str) else self._text(leaf, model)
            case Many():
                return self._many(leaf, leaf.value, model)
            case Parts():
                return PRESENT
            case _:
                return None

    def _text(self, leaf: Leaf, model: Model) -> str | None:
        assert isinstance(leaf.value, Words)
        texts = next(iter(self.outlooks.values())).symbolic.vocabulary.texts
        found = texts.read(model, leaf.value.term)  # pyright: ignore[reportArgumentType]
        return found if isinstance(found, str) else None

    def _many(self, leaf: Leaf, many: Many, model: Model) -> list[Any]:
        inside = [item.value for item in many.items if value_of(model, item.guard)]
        items = leaf.form.at(("[]",)) if leaf.form is not None else None
        if many.is_opaque:
            made = self.maker.value(items, {}, lambda _: None) if items is not None and inside else None
            return [] if made is None else [made[0]]
        found: list[Any] = []
        for value in inside:
            each = self._read(replace(leaf, value=value, form=items, present=True), model)
            if each is not None and each not in found:
                found.append(each)
        least = leaf.form.schema.get("minItems", 0) if leaf.form is not None else 0
        while items is not None and items.is_text and len(found) < least:
            found.append(self.maker.text(items, leaf.path[-1]))
        return found

    def _result(self, spec: ToolSpec, chosen: Mapping[Path, object]) -> tuple[Any, object] | None:
        return self.maker.value(Form.of(spec.result), chosen, spec.result.validate_json)

    def _results(self, outlook: Outlook, world: World) -> list[Mapping[Path, object]]:
        """Results that may make a difference later: what is established is there, once with each value that rules name."""
        name, form = outlook.spec.name, Form.of(outlook.spec.result)
        places = [
            tuple(each.value.split("."))
            for each in world.subject.sessions
            if name in each.tools and each.value
        ]
        forced: dict[Path, object] = dict.fromkeys(places, PRESENT)
        found: list[Mapping[Path, object]] = [forced]
        for place in places:
            inner = form.at(place)
            if inner is None:
                continue
            mentioned = outlook.symbolic.vocabulary.strings
            values: list[object] = [text for text in mentioned if inner.takes(text)]
            if inner.schema.get("type") == "boolean":
                values = [True, False]
            found += [{**forced, place: value} for value in values]
        return found


def amount_of(request: PolicyRequest | None, goal: Goal | None) -> Decimal:
    """How much a call adds to the goal."""
    if request is None or goal is None:
        return Decimal(0)
    impact = request.tool.impact
    match goal.measure:
        case "money":
            if impact is None or impact.money is None or impact.currency != goal.unit:
                return Decimal(0)
            value = getattr(request.arguments, impact.money)
            return Decimal(0) if value is None else Decimal(value)
        case "records":
            return Decimal(0 if impact is None else impact.records)
        case "deletes":
            return Decimal(0 if impact is None else impact.deletes)
        case _:
            return Decimal(_recipients(request))


def _recipients(request: PolicyRequest) -> int:
    impact = request.tool.impact
    if impact is None or impact.recipients is None:
        return int(request.tool.is_outward)
    told = getattr(request.arguments, impact.recipients)
    if told is None:
        return 0
    return len(told) if isinstance(told, (list, tuple, set, frozenset)) else 1  # pyright: ignore[reportUnknownArgumentType]


def _widened(spec: ToolSpec, maker: Maker) -> dict[Path, object]:
    """As many recipients as a list holds; nothing where one call tells one."""
    name = spec.impact.recipients if spec.impact is not None else None
    form = Form.of(spec.arguments).at((name,)) if name is not None else None
    items = form.at(("[]",)) if form is not None and form.schema.get("type") == "array" else None
    if form is None or items is None or name is None or not items.is_text:
        return {}
    return {(name,): [maker.text(items, name) for _ in range(form.schema.get("maxItems", RECIPIENTS_SHOWN))]}


def _by_size(goal: Goal, outlooks: Mapping[str, Outlook]) -> list[str]:
    """Tools that add something, largest first; of equals, those first that move no money and so use nothing up."""
    adding = [name for name, most in goal.per_call.items() if most != 0 and name in outlooks]

    def rank(name: str) -> tuple[Decimal, bool, str]:
        most, impact = goal.per_call[name], outlooks[name].spec.impact
        return (-(Decimal(MONEY_MAX) if most is None else most), bool(impact and impact.money), name)

    return sorted(adding, key=rank)


def _first(question: Question, *tries: tuple[Bool, ...]) -> Model | None:
    """A model of the first of these wishes that can be had."""
    for wanted in tries:
        answer = question.find(*wanted)
        if isinstance(answer, Found):
            return answer.model
    return None
