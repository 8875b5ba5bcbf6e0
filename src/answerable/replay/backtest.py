"""The backtest of rules: every recorded call decided again, by the rules in force and by a candidate.

First the baseline: a decision that was made under the rules in force must come out as it was recorded, or else nothing that
follows would mean anything. Then the flips: calls, the last decision of each, that the candidate decides otherwise, with
nobody having approved anything. Each call is judged by what was known when it was decided; what a run would have done after
another answer is not guessed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, cast

from answerable.gates import pipeline
from answerable.gates.policy.bundle import GATE
from answerable.gates.policy.pair import Pair
from answerable.gates.policy.slices import remember
from answerable.kernel.decision import Verdict
from answerable.replay.asked import asked_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from answerable.engine.agent import Agent
    from answerable.gates.policy import Bundle
    from answerable.gates.policy.pair import Twofold
    from answerable.gates.request import PolicyRequest
    from answerable.journal.store import JournalStore, RunRow
    from answerable.kernel.decision import Decision
    from answerable.kernel.events import CallDecided
    from answerable.kernel.state import CallStep
    from answerable.replay.asked import Asked, RunAsked

Answer = Literal["allow", "ask", "deny", "ask others"]
"""What rules say to a call: `ask others` is the question to other people than now."""
Became = Literal[
    "done", "failed", "unknown", "shadowed", "refused", "stopped", "no", "expired", "waiting", "not sent"
]
"""What became of a call in reality."""
FLIPS: tuple[tuple[Answer, Answer], ...] = (
    ("deny", "allow"),
    ("ask", "allow"),
    ("deny", "ask"),
    ("ask", "ask others"),
    ("allow", "ask"),
    ("ask", "deny"),
    ("allow", "deny"),
)
"""Every way in which an answer can change; what newly goes through comes first."""
_ANSWERS: dict[Verdict, Answer] = {
    Verdict.ALLOW: "allow",
    Verdict.REQUIRE_APPROVAL: "ask",
    Verdict.DENY: "deny",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one bundle says to a call: the rules that decide, id → text, and who would be asked."""

    answer: Answer
    rules: dict[str, str]
    people: tuple[tuple[tuple[str, ...], int], ...] = ()
    """Roles, any of which may say yes, and how many people."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stake:
    """What a call would change at most, as its tool declares."""

    money: Decimal | None = None
    currency: str = ""
    records: int = 0
    is_declared: bool = True
    """False for a write that does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A call that the candidate decides otherwise."""

    run: str
    path: str
    time: int
    tool: str
    agent: str
    current: Side
    candidate: Side
    stake: Stake
    became: Became
    stopped_by: str = ""
    """The other gate that said no to it, whatever the rules say."""
    is_exact: bool = True

    @property
    def kind(self) -> tuple[Answer, Answer]:
        """From which answer to which."""
        return self.current.answer, self.candidate.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlike:
    """A decision that does not come out as it was recorded, although the rules are the same."""

    run: str
    path: str
    tool: str
    recorded: str
    now: str


@dataclass(slots=True, kw_only=True)
class Sum:
    """The flips of one kind together."""

    calls: int = 0
    money: dict[str, Decimal] = field(default_factory=dict[str, Decimal])
    """By currency."""
    records: int = 0
    undeclared: int = 0
    """Writes that do not say what they change."""
    runs: set[str] = field(default_factory=set[str])
    became: Counter[Became] = field(default_factory=Counter["Became"])

    def add(self, flip: Flip) -> None:
        """Count one more."""
        self.calls += 1
        self.runs.add(flip.run)
        self.records += flip.stake.records
        self.undeclared += not flip.stake.is_declared
        self.became[flip.became] += 1
        if flip.stake.money is not None:
            known = self.money.get(flip.stake.currency, Decimal(0))
            self.money[flip.stake.currency] = known + flip.stake.money


@dataclass(slots=True, kw_only=True)
class BacktestReport:
    """What a backtest found. Where anything is `unlike`, there are no flips: the baseline does not hold."""

    agent: str
    current: str
    """Digest of the rules in force."""
    candidate: str
    runs: int = 0
    """Runs with a decision."""
    decisions: int = 0
    """Decisions that were made again."""
    calls: int = 0
    """Calls of which the last decision was: these are compared."""
    reproduced: int = 0
    """Decisions under the rules in force that came out as recorded."""
    other_rules: int = 0
    """Decisions that were made under other rules: there the baseline is what the rules in force say now."""
    approximate: int = 0
    """Decisions of which the journal does not hold all that the rules were told; see `Asked.is_exact`."""
    unasked: int = 0
    """Decisions that were made before the rules were asked."""
    erased: int = 0
    """Decisions that cannot be made again: their content is gone."""
    changed: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    """Tool → decisions that cannot be made again because it is another one now, and why the first cannot."""
    unlike: list[Unlike] = field(default_factory=list[Unlike])
    flips: list[Flip] = field(default_factory=list[Flip])

    @property
    def is_baseline_sound(self) -> bool:
        """Whether what was recorded under these rules comes out as recorded."""
        return not self.unlike

    @property
    def undecided(self) -> int:
        """Decisions that cannot be made again, although rules were asked."""
        return self.erased + sum(count for count, _ in self.changed.values())

    def sums(self) -> dict[tuple[Answer, Answer], Sum]:
        """The flips by kind, those that there are, in the order of `FLIPS`."""
        found = {kind: Sum() for kind in FLIPS}
        for flip in self.flips:
            found[flip.kind].add(flip)
        return {kind: each for kind, each in found.items() if each.calls}


async def backtest(
    store: JournalStore,
    agent: Agent,
    current: Bundle,
    candidate: Bundle,
    *,
    rows: Iterable[RunRow] | None = None,
    since: int = 0,
) -> BacktestReport:
    """Decide the recorded calls of `agent` again; reads the journal, and writes nothing.

    `rows` are the runs to look at (by default all of the agent's), `since` leaves earlier decisions out (microseconds of
    UTC). Both bundles must have been loaded for the agent. Raises `JournalUnreadable` for a run that cannot be folded.
    """
    chosen = [row for row in (await store.runs() if rows is None else rows) if row.agent == agent.name]
    report = BacktestReport(agent=agent.name, current=current.digest, candidate=candidate.digest)
    pair = Pair(current, candidate)
    looking = _Looking(pair, report)
    recent = (row for row in chosen if row.ended is None or row.ended >= since)
    reading = asked_of(store, agent, recent, since=since, is_read=lambda tool: pair.is_read(tool, agent.name))
    async for told in reading:
        looking.take(told)
    if report.unlike:
        report.flips.clear()
    report.flips.sort(key=_weight)
    return report


def _weight(flip: Flip) -> tuple[int, Decimal, int]:
    """What newly goes through first, and the most money first."""
    return FLIPS.index(flip.kind), -(flip.stake.money or Decimal(0)), flip.time


@dataclass(slots=True, eq=False)
class _Looking:
    """Takes runs in, one after the other."""

    pair: Pair
    report: BacktestReport
    _texts: tuple[dict[str, str], dict[str, str]] = field(init=False)
    """Id → text of the rules of each bundle."""
    _outcomes: dict[tuple[int, str, str, tuple[str, ...]], tuple[Decision, Outcome]] = field(
        default_factory=dict["tuple[int, str, str, tuple[str, ...]]", "tuple[Decision, Outcome]"]
    )
    """What a decision leads to. The pair gives the same one again and again; it is held, so that its id stays its own."""

    def __post_init__(self) -> None:
        ours, theirs = self.pair.current.rules, self.pair.candidate.rules
        self._texts = {rule.id: rule.text for rule in ours}, {rule.id: rule.text for rule in theirs}

    def take(self, told: RunAsked) -> None:
        """Take one run in."""
        last = {asked.event.path: asked for asked in told.asked}
        self.report.runs += bool(told.asked)
        for asked in told.asked:
            if asked.request is None:
                self._count_out(asked)
                continue
            said = self.pair.decide(asked.request, frozenset(asked.event.discharged))
            self.report.decisions += 1
            self.report.approximate += not asked.is_exact
            self._check(told, asked, asked.request, said)
            if last[asked.event.path] is asked:
                self.report.calls += 1
                self._compare(told, asked, asked.request, said)

    def _count_out(self, asked: Asked) -> None:
        match asked.why_not:
            case "unasked":
                self.report.unasked += 1
            case "erased":
                self.report.erased += 1
            case _:
                count, first = self.report.changed.get(asked.event.tool, (0, asked.problem))
                self.report.changed[asked.event.tool] = count + 1, first

    def _check(self, told: RunAsked, asked: Asked, request: PolicyRequest, said: Twofold) -> None:
        if asked.event.policy != self.report.current:
            self.report.other_rules += 1
        elif not asked.is_exact:
            pass  # it is not known what it was asked with, so nothing can be held against it
        elif self._is_as_recorded(asked.event, request, said.discharged):
            self.report.reproduced += 1
        else:
            event, now = asked.event, said.discharged
            self.report.unlike.append(
                Unlike(
                    run=told.run,
                    path=event.path,
                    tool=event.tool,
                    recorded=f"{event.verdict} by {event.gate}: {', '.join(event.rules) or 'no rule'}",
                    now=f"{now.verdict.value}: {', '.join(now.rules) or now.reason or 'no rule'}",
                )
            )

    def _is_as_recorded(self, event: CallDecided, request: PolicyRequest, said: Decision) -> bool:
        """Whether what the rules say now, with the approvals that were given, leads to what was recorded.

        Where another gate said no, the rules had not; which of the two that gate answers is not a matter of rules.
        """
        if event.verdict == "deny" and event.gate != GATE:
            return said.verdict is not Verdict.DENY
        key = id(said), request.tool.name, request.autonomy, event.discharged
        known = self._outcomes.get(key)
        if known is None:
            known = said, outcome_of(request, said, frozenset(event.discharged))
            remember(self._outcomes, key, known)
        return known[1] == (event.verdict, event.gate, event.rules)

    def _compare(self, told: RunAsked, asked: Asked, request: PolicyRequest, said: Twofold) -> None:
        if said.current.verdict is said.candidate.verdict is not Verdict.REQUIRE_APPROVAL:
            return
        current = _side(said.current, self._texts[0])
        candidate = _side(said.candidate, self._texts[1])
        if current.answer == candidate.answer:
            if current.people == candidate.people:
                return
            candidate = Side(
                answer="ask others",
                rules=candidate.rules,
                people=candidate.people,
                reason=candidate.reason,
            )
        event = asked.event
        self.report.flips.append(
            Flip(
                run=told.run,
                path=event.path,
                time=asked.time,
                tool=event.tool,
                agent=self.report.agent,
                current=current,
                candidate=candidate,
                stake=stake_of(request),
                became=became(told.state.calls[event.path], is_over=told.state.ended is not None),
                stopped_by=event.gate if event.verdict == "deny" and event.gate != GATE else "",
                is_exact=asked.is_exact,
            )
        )


def _side(decision: Decision, texts: dict[str, str]) -> Side:
    return Side(
        answer=_ANSWERS[decision.verdict],
        rules={rule: texts[rule] for rule in decision.rules},
        people=tuple(sorted({(tuple(sorted(need.roles)), need.count) for need in decision.needs})),
        reason="" if decision.rules else decision.reason,
    )


@dataclass(frozen=True, slots=True)
class _Said:
    """Rules whose answer is known, as the pipeline asks them."""

    decision: Decision

    @property
    def digest(self) -> str:
        return self.decision.digest

    def decide(self, request: PolicyRequest, discharged: frozenset[str] = frozenset()) -> Decision:
        del request, discharged
        return self.decision


Outcome = tuple[str, str, tuple[str, ...]]
"""Verdict, gate and rules, as an entry holds them."""


def outcome_of(request: PolicyRequest, said: Decision, discharged: frozenset[str]) -> Outcome:
    """What is recorded where the rules say this, and no other gate has anything to say but for the agent's autonomy."""
    nothing_else = pipeline.Situation(
        history=(),
        args="",
        unknown_tools=frozenset(),
        is_done=False,
        limits={},
        spent={},
        ask={},
        wall_clock_us=None,
        active_us=0,
        discharged=discharged,
    )
    found = pipeline.decide(request, nothing_else, _Said(said))
    return found.verdict.value, found.gate, found.rules


def stake_of(request: PolicyRequest) -> Stake:
    """The money and the records of a call, as its tool declares them."""
    impact = request.tool.impact
    if not request.tool.is_write:
        return Stake()
    if impact is None:
        return Stake(is_declared=False)
    money = getattr(request.arguments, impact.money) if impact.money is not None else None
    return Stake(
        money=Decimal(money) if isinstance(money, (Decimal, int)) else None,
        currency=impact.currency if impact.money is not None else "",
        records=impact.records,
    )


_SETTLED: dict[str, Became] = {"denied": "no", "expired": "expired"}


def became(step: CallStep, *, is_over: bool) -> Became:
    """What became of a call in reality, as the journal has it."""
    if step.ended is not None and step.ended_as in ("done", "failed", "unknown", "shadowed"):
        return cast("Became", step.ended_as)
    if step.intent is not None:
        return "unknown"
    if step.decided.verdict == "deny":
        return "refused" if step.decided.gate == GATE else "stopped"
    if step.decided.verdict == "allow":
        return "not sent"
    for request in reversed(step.requests):
        settled = step.settled.get(request.request)
        if settled is not None and settled.state in _SETTLED:
            return _SETTLED[settled.state]
        break
    return "not sent" if is_over else "waiting"
