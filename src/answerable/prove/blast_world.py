"""A made-up world in which the real gates are driven: what was counted, claimed, answered and read so far.

The gates are the real ones: the schema gate, the labels, the rules, repetition, budgets and autonomy. What stands around them
is kept here as the engine and the journal keep it, with nothing outside: a call that is let through is done. Nobody is ever
asked: a call for which a person is needed is no part of a witness.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from answerable.engine.deciding import fact_arguments
from answerable.gates import pipeline, provenance, schema
from answerable.gates.request import Established, PolicyRequest, TotalValue
from answerable.kernel.decision import Decision, ReasonCode, Verdict, deny
from answerable.kernel.encoding import encode_payload, sha256_hex
from answerable.kernel.ids import utc_day
from answerable.kernel.money import from_micros, to_micros
from answerable.kernel.state import HISTORY, CallRecord, Tally
from answerable.kernel.tool import TemplateError, UpTo, fields_of, holes, look_up, render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

    from answerable.kernel.tool import ToolSpec
    from answerable.prove.blast_subject import Subject

TotalKey = tuple[str, str, str, str]
"""Tool, total, target, day."""
ClaimKey = tuple[str, str]
"""Tool, target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call as it is proposed, and what the world answers it: its facts and its result, all as JSON."""

    tool: str
    arguments: Mapping[str, Any]
    facts: Mapping[str, Any]
    result: Any
    now_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a total has, and the values that its key was made of."""

    holes: tuple[object, ...]
    amount: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What is held of a business key, and the values that it was made of."""

    holes: tuple[object, ...]
    amount: int
    cap: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a fact's read was asked, and what it answered, as JSON."""

    tool: str
    given: Mapping[str, Any]
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What starts a run: its task, and for whom it acts."""

    task: Mapping[str, Any]
    on_behalf_of: str


@dataclass(slots=True, kw_only=True)
class Underway:
    """One run of the world, as the fold of its journal would have it."""

    start: Start
    steps: list[Step] = field(default_factory=list[Step])
    began_us: int = 0
    history: deque[CallRecord] = field(default_factory=lambda: deque[CallRecord](maxlen=HISTORY))
    tallies: dict[str, Tally] = field(default_factory=dict[str, Tally])
    done: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    decided: int = 0
    done_calls: int = 0
    money: int = 0
    origins: provenance.Origins = field(default_factory=provenance.Origins)
    session: dict[str, Established] = field(default_factory=dict[str, Established])


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the gates answered, and what would follow from it."""

    decision: Decision
    request: PolicyRequest | None = None
    totals: tuple[tuple[TotalKey, Counted], ...] = ()
    claim: tuple[ClaimKey, Claimed] | None = None
    answers: tuple[tuple[str, Answered], ...] = ()
    """What facts were answered, by question."""

    @property
    def is_let_through(self) -> bool:
        """Whether it is performed, with nobody asked."""
        if self.request is None or self.decision.verdict is not Verdict.ALLOW:
            return False
        return not (self.request.autonomy == "shadow" and self.request.tool.is_write)


@dataclass(slots=True)
class World:
    """See the module. `totals` and `claims` outlive a run; `answers` are what facts were answered."""

    subject: Subject
    totals: dict[TotalKey, Counted] = field(default_factory=dict[TotalKey, Counted])
    claims: dict[ClaimKey, Claimed] = field(default_factory=dict[ClaimKey, Claimed])
    answers: dict[str, Answered] = field(default_factory=dict[str, Answered])
    used: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """What the budget of a day has given, by day and unit."""
    seen: set[str] = field(default_factory=set[str])
    """Every text of calls that were let through: no other call has them as new ones."""
    _specs: dict[str, ToolSpec] = field(default_factory=dict[str, "ToolSpec"])

    def __post_init__(self) -> None:
        self._specs = {spec.name: spec for spec in self.subject.tools}

    def copy(self) -> World:
        """The same world, to try something in."""
        return replace(
            self,
            totals=dict(self.totals),
            claims=dict(self.claims),
            answers=dict(self.answers),
            used=dict(self.used),
            seen=set(self.seen),
        )

    def begin(self, start: Start) -> Underway:
        """A run that has read its prompt and its task."""
        run = Underway(start=start)
        prompt = (("", self.subject.prompt),)
        run.origins.add(provenance.Source(name="prompt", values=prompt, is_trusted=True))
        marks = self.subject.task_marks
        source = provenance.source_of("task", marks, start.task, classes=(self.subject.task_class,))
        leaves = [node for node in marks.nodes() if not node.inside and node.items is None]
        is_trusted = all(node.is_trusted or node.sort in ("closed", "number") for node in leaves)
        run.origins.add(replace(source, is_trusted=is_trusted))
        return run

    def limits(self, run: Underway, now_us: int) -> tuple[dict[str, int], dict[str, int]]:
        """The limits that hold at a time, and what is spent of each."""
        limits = dict(self.subject.limits)
        spent = {"tool_calls": run.decided, "model_calls": 0, "tokens": 0, "money": run.money}
        day = utc_day(now_us)
        for unit, limit in self.subject.limits_per_day.items():
            limits[f"{unit}_per_day"] = limit
            spent[f"{unit}_per_day"] = self.used.get((day, unit), 0)
        return limits, spent

    def judge(self, run: Underway, step: Step) -> Judged:
        """Ask every gate about a step, as the engine does."""
        spec = self._specs[step.tool]
        try:
            arguments = schema.accept(spec, step.arguments)
            facts, answers = self._facts(spec, arguments, step)
            values = {**fields_of(arguments), **facts}
            totals = self._totals(spec, values, step.now_us)
            claim = _claim(spec, values)
        except schema.Refused as refused:
            return Judged(decision=deny("schema", ReasonCode.INVALID_CALL, str(refused)))
        except (_Inconsistent, TemplateError, ValueError) as problem:
            return Judged(decision=deny("facts", ReasonCode.FACT_UNAVAILABLE, str(problem)))
        request = self._request(run, spec, arguments, facts=facts, totals=totals, now_us=step.now_us)
        decision = pipeline.decide(request, self._situation(run, request), self.subject.bundle)
        if decision.verdict is Verdict.ALLOW and (refused := self._guard(run, spec, claim, step.now_us)):
            decision = refused
        return Judged(
            decision=decision,
            request=request,
            totals=tuple(
                (key, replace(seen, amount=seen.amount + added, count=seen.count + 1))
                for key, seen, added in totals
            ),
            claim=self._taken(claim),
            answers=answers,
        )

    def _request(
        self,
        run: Underway,
        spec: ToolSpec,
        arguments: BaseModel,
        *,
        facts: Mapping[str, Any],
        totals: list[tuple[TotalKey, Counted, int]],
        now_us: int,
    ) -> PolicyRequest:
        """What the rules are asked."""
        limits, spent = self.limits(run, now_us)
        return PolicyRequest(
            agent=self.subject.name,
            tenant=self.subject.tenant,
            on_behalf_of=run.start.on_behalf_of,
            tool=spec,
            arguments=arguments,
            labels=provenance.label_all(spec.takes, schema.canonical(arguments), run.origins, {}),
            facts=facts,
            totals={
                key[1]: TotalValue(amount=from_micros(seen.amount + added), count=seen.count)
                for key, seen, added in totals
            },
            autonomy=self.subject.level(spec.name),
            calls_before=run.decided,
            classes_read=frozenset(run.origins.classes),
            has_read_untrusted=not run.origins.is_clean,
            session=dict(run.session),
            history=dict(run.tallies),
            budget_left={unit: max(0, limit - spent.get(unit, 0)) for unit, limit in limits.items()},
            now_us=now_us,
        )

    def _situation(self, run: Underway, request: PolicyRequest) -> pipeline.Situation:
        """What the other gates are asked. Nothing here is unknown, and nobody has said yes to anything."""
        limits, spent = self.limits(run, request.now_us)
        digest = _digest(schema.canonical(request.arguments))
        wall_clock_s = self.subject.wall_clock_s
        return pipeline.Situation(
            history=list(run.history),
            args=digest,
            unknown_tools=frozenset(),
            is_done=(request.tool.name, digest) in run.done,
            limits=limits,
            spent=spent,
            ask={"tool_calls": 1, "tool_calls_per_day": 1},
            wall_clock_us=None if wall_clock_s is None else int(wall_clock_s * 1e6),
            active_us=max(0, request.now_us - (run.began_us or request.now_us)),
            discharged=frozenset(),
        )

    def perform(self, run: Underway, step: Step, judged: Judged) -> None:
        """Let a call that was let through happen: it is done, and everything that it counts for is counted."""
        assert judged.is_let_through
        assert judged.request is not None
        spec, request = judged.request.tool, judged.request
        run.began_us = run.began_us or step.now_us
        self.answers.update(judged.answers)
        self.seen.update(plain_texts((step.arguments, step.facts, step.result)))
        self.totals.update(judged.totals)
        if judged.claim is not None and spec.business_key is not None:
            self.claims[judged.claim[0]] = judged.claim[1]
        canonical = schema.canonical(request.arguments)
        digest, price = _digest(canonical), to_micros(spec.price_usd)
        run.decided, run.done_calls = run.decided + 1, run.done_calls + 1
        run.money += price
        for unit, amount in (("tool_calls", 1), ("money", price)):
            used = (utc_day(step.now_us), unit)
            self.used[used] = self.used.get(used, 0) + amount
        before = run.tallies.get(spec.name, Tally())
        run.tallies[spec.name] = Tally(decided=before.decided + 1, done=before.done + 1, last=run.done_calls)
        cls = spec.effect_class.value
        run.history.append(
            CallRecord(
                tool=spec.name, args=digest, cls=cls, state="done", result=_digest([step.result, run.decided])
            )
        )
        if spec.is_write:
            run.done.add((spec.name, digest))
            run.origins.wrote(provenance.untrusted_texts(spec.takes, canonical, request.labels))
        self._learn(run, spec, step.result)
        run.steps.append(step)

    def known(self, tool: str, given: Mapping[str, Any]) -> Answered | None:
        """What a fact's read answered before."""
        return self.answers.get(_question(tool, given))

    def _learn(self, run: Underway, spec: ToolSpec, result: Any) -> None:
        run.origins.add(
            provenance.source_of(
                spec.name, spec.gives, result, classes=(spec.data_class,), is_trusted=spec.is_result_trusted
            )
        )
        for each in self.subject.sessions:
            if spec.name in each.tools and each.name not in run.session:
                value = spec.result.validate_json(encode_payload(result))
                try:
                    found = look_up(f"result.{each.value}" if each.value else "result", {"result": value})
                except TemplateError:
                    continue
                if found is not None:
                    run.session[each.name] = Established(by=spec.name, value=found)

    def _facts(
        self, spec: ToolSpec, arguments: BaseModel, step: Step
    ) -> tuple[dict[str, Any], tuple[tuple[str, Answered], ...]]:
        """The facts of a step. Equal questions get equal answers, in this world and at this moment."""
        found: dict[str, Any] = {}
        answers: dict[str, Answered] = {}
        for fact in spec.facts:
            reader = self.subject.known[fact.tool]
            given = fact_arguments(fact.arguments, fields_of(arguments))
            schema.accept(reader, given)
            key = _question(fact.tool, given)
            answer = Answered(tool=fact.tool, given=given, value=step.facts[fact.name])
            if (answers.get(key) or self.answers.get(key, answer)).value != answer.value:
                raise _Inconsistent(f"the fact `{fact.name}` was answered in another way before")
            answers[key] = answer
            found[fact.name] = reader.result.validate_json(encode_payload(answer.value))
        return found, tuple(answers.items())

    def _totals(
        self, spec: ToolSpec, values: Mapping[str, Any], now_us: int
    ) -> list[tuple[TotalKey, Counted, int]]:
        found: list[tuple[TotalKey, Counted, int]] = []
        for total in spec.totals:
            target = render(total.by, values) if total.by else self.subject.name
            key = (spec.name, total.name, target, utc_day(now_us) if total.per == "day" else "")
            fresh = Counted(holes=_holes(total.by, values), amount=0, count=0)
            found.append((key, self.totals.get(key, fresh), _amount(values, total.of)))
        return found

    def _guard(
        self, run: Underway, spec: ToolSpec, claim: tuple[ClaimKey, Claimed] | None, now_us: int
    ) -> Decision | None:
        """What the journal refuses when an intent is written, after all gates said yes."""
        price = to_micros(spec.price_usd)
        limits, spent = self.limits(run, now_us)
        for unit in ("money", "money_per_day"):
            if price and unit in limits and spent.get(unit, 0) + price > limits[unit]:
                return deny("journal", ReasonCode.BUDGET_EXHAUSTED, f"the budget `{unit}` is spent")
        if claim is None or spec.business_key is None:
            return None
        key, wanted = claim
        held = self.claims.get(key)
        if not isinstance(spec.cardinality, UpTo):
            return (
                deny("journal", ReasonCode.CLAIM_HELD, "this was done already") if held is not None else None
            )
        cap = wanted.cap if held is None else min(wanted.cap, held.cap)
        taken = 0 if held is None else held.amount
        if taken + wanted.amount > cap:
            return deny("journal", ReasonCode.CLAIM_HELD, "the amount is over what this target can take")
        return None

    def _taken(self, claim: tuple[ClaimKey, Claimed] | None) -> tuple[ClaimKey, Claimed] | None:
        """What is held of a key once this call is done."""
        if claim is None or (held := self.claims.get(claim[0])) is None:
            return claim
        key, new = claim
        return key, replace(new, amount=held.amount + new.amount, cap=min(held.cap, new.cap))


class _Inconsistent(Exception):
    """The same question got two answers."""


def plain_texts(value: object) -> Iterator[str]:
    """Every text in a JSON value."""
    match value:
        case str():
            yield value
        case Mapping():
            for inner in cast("Mapping[str, object]", value).values():
                yield from plain_texts(inner)
        case list() | tuple():
            for inner in cast("Iterable[object]", value):
                yield from plain_texts(inner)
        case _:
            return


def copied(run: Underway) -> Underway:
    """The same run, to try something in."""
    return deepcopy(run)


def _question(tool: str, given: Mapping[str, Any]) -> str:
    return f"{tool} {encode_payload(dict(given)).decode()}"


def _digest(value: object) -> str:
    return sha256_hex(encode_payload(value))


def _holes(template: str, values: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(schema.canonical(look_up(name, values)) for name in holes(template))


def _amount(values: Mapping[str, Any], path: str) -> int:
    value = look_up(path, values)
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        message = f"`{path}` is not an amount"
        raise TemplateError(message)
    return to_micros(Decimal(value))


def _claim(spec: ToolSpec, values: Mapping[str, Any]) -> tuple[ClaimKey, Claimed] | None:
    """What a write claims. Without a business key it holds its own arguments, and only while it is under way."""
    if not spec.is_write or spec.business_key is None:
        return None
    amount = cap = 0
    if isinstance(spec.cardinality, UpTo):
        amount, cap = _amount(values, spec.cardinality.amount), _amount(values, spec.cardinality.total)
    held = Claimed(holes=_holes(spec.business_key, values), amount=amount, cap=cap)
    return (spec.name, render(spec.business_key, values)), held
