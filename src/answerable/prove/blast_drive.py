"""Whole runs and whole days, call by call, until the gates let nothing more through.

A run stands across as many days as it can, and uses each up before the next. A day is filled with runs: once one is found,
the next ones are the same with other names, and where that is no longer let through the search goes on from there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from answerable.kernel.tool import fields_of, holes, render
from answerable.prove.blast_figures import CONFIRMED_FROM, Call, Figure, Witness
from answerable.prove.blast_next import amount_of
from answerable.prove.blast_outlook import is_label_read
from answerable.prove.blast_values import PRESENT, Form, Path
from answerable.prove.blast_world import Start, World
from answerable.prove.logic import value_of
from answerable.prove.solving import Found
from answerable.prove.values import Number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

    from answerable.prove.blast_next import Goal, Move, Search
    from answerable.prove.blast_subject import Subject
    from answerable.prove.blast_world import Step, Underway

DAY_US = 86_400_000_000
EDGE_US = 60_000_000
"""How close to midnight a run begins that is to stand across it."""
START_US = int(datetime(2030, 6, 3, 12, tzinfo=UTC).timestamp() * 1e6)
"""Noon of a working day: where no rule asks for another time."""
DAYS_DRIVEN_MAX = 40
RUNS_SHOWN = 10
"""Where nothing bounds a day, so many runs show it."""
RUNS_MAX = 2_000
CALLS_MAX = 20_000
VALUES_MAX = 40
SAID_MAX = 6_000
USERS_MAX = 6
"""So many users that rules name are tried."""

Window = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Done:
    """A call of a witness, as it was let through."""

    run: int
    step: Step
    amount: Decimal
    rules: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Driver:
    """Drives an agent towards goals. `seconds_max` is for one witness."""

    subject: Subject
    search: Search
    seconds_max: float
    clock: Any = time.monotonic
    _until: float = field(default=0.0)

    def drive(self, figure: Figure, goal: Goal) -> Witness:
        """The best witness found for a figure. One that is far from the bound is looked for with fewer tools too."""
        self._until = self.clock() + self.seconds_max
        best = Witness(amount=Decimal(0))
        for tools in _choices(goal):
            chosen = replace(goal, per_call={name: goal.per_call[name] for name in tools})
            for windows in self._schedules(figure):
                is_run = figure.period == "run"
                found = (self._run_witness if is_run else self._day)(figure, chosen, windows)
                if found.amount > best.amount or not best.calls:
                    best = found
                if figure.bound is not None and best.amount >= figure.bound:
                    return best
            if self._is_late() or self._is_enough(figure, goal, best):
                break
        return replace(best, is_cut_short=best.is_cut_short or self._is_late())

    def _is_enough(self, figure: Figure, goal: Goal, witness: Witness) -> bool:
        """Whether it is close to the bound; where there is none, whether its runs are as full as runs can be."""
        if figure.bound is not None:
            return bool(replace(figure, witness=witness).is_confirmed)
        full = goal.largest * self.subject.limits["tool_calls"]
        return witness.amount >= full * max(1, witness.runs) * CONFIRMED_FROM

    def _is_late(self) -> bool:
        return self.clock() > self._until

    def _schedules(self, figure: Figure) -> Iterator[list[Window]]:
        """Where in time to begin: at a time that some rule asks for, or at noon; for a run first just before midnight."""
        at = self._time()
        if figure.period == "day":
            midnight = at - at % DAY_US
            yield [(max(midnight, at) if at % DAY_US else midnight, midnight + DAY_US)]
            return
        midnight = at - at % DAY_US + DAY_US
        edge = (
            EDGE_US
            if self.subject.wall_clock_s is None
            else min(EDGE_US, int(self.subject.wall_clock_s * 0.25e6))
        )
        days = min(self.subject.days or DAYS_DRIVEN_MAX, self.subject.limits["tool_calls"], DAYS_DRIVEN_MAX)
        yield [
            (midnight - edge, midnight),
            *((midnight + n * DAY_US, midnight + n * DAY_US + edge) for n in range(max(0, days - 1))),
        ]
        yield [(at, at + edge)]

    def _time(self) -> int:
        """A time at which something can be sent: noon, unless rules ask for another."""
        chosen = START_US
        for outlook in self.search.outlooks.values():
            now = outlook.symbolic.at("now")
            assert isinstance(now, Number)
            question = outlook.question
            sent = question.sent()
            if isinstance(question.find(sent, now.term == START_US // 1000), Found):  # pyright: ignore[reportArgumentType]
                return START_US
            answer = question.find(sent)
            if isinstance(answer, Found):
                chosen = value_of(answer.model, now.term) * 1000
        return chosen

    def _run_witness(self, figure: Figure, goal: Goal, windows: list[Window]) -> Witness:
        best = Witness(amount=Decimal(0))
        for start in self._starts():
            world = World(self.subject)
            calls, _ = self._run(world, start, figure, goal, windows, number=1)
            total = sum((each.amount for each in calls), Decimal(0))
            if total > best.amount:
                best = self._witness(calls, [start])
            if figure.bound is not None and total >= figure.bound:
                break
        return best

    def _run(
        self, world: World, start: Start, figure: Figure, goal: Goal, windows: list[Window], *, number: int
    ) -> tuple[list[_Done], World]:
        """One run, until nothing more is let through on any of its days."""
        run = world.begin(start)
        calls: list[_Done] = []
        for window in windows:
            is_tried = False
            while not self._is_late():
                move = self.search.best(world, run, goal, window)
                if move is None or not (is_tried or move.amount >= goal.largest):
                    is_tried = True
                    beyond = Decimal(0) if move is None else move.amount
                    prepared = self.search.prepared(world, run, goal, window, beyond)
                    if prepared is not None:
                        before = len(run.steps)
                        world, run = prepared
                        calls += [_Done(number, step, Decimal(0), ()) for step in run.steps[before:]]
                        continue
                if move is None:
                    break
                self._perform(world, run, move, calls, number)
                if _is_reached(figure, sum((each.amount for each in calls), Decimal(0))):
                    return calls, world
        return (calls if any(each.amount for each in calls) else []), world

    def _perform(self, world: World, run: Underway, move: Move, calls: list[_Done], number: int) -> None:
        world.perform(run, move.step, move.judged)
        calls.append(_Done(number, move.step, move.amount, move.judged.decision.rules))

    def _day(self, figure: Figure, goal: Goal, windows: list[Window]) -> Witness:
        """A day of runs, one after the other."""
        world = World(self.subject)
        calls: list[_Done] = []
        starts: list[Start] = []
        total = Decimal(0)
        runs_max = RUNS_SHOWN if figure.bound is None else RUNS_MAX
        while len(starts) < runs_max and len(calls) < CALLS_MAX and not self._is_late():
            found = self._again(world, calls, starts, goal) or self._new(world, starts, figure, goal, windows)
            if found is None:
                return self._witness(calls, starts)
            start, more, world = found
            starts.append(start)
            calls += more
            total += sum((each.amount for each in more), Decimal(0))
            if _is_reached(figure, total):
                return self._witness(calls, starts)
        return replace(self._witness(calls, starts), is_cut_short=figure.bound is not None)

    def _new(
        self, world: World, starts: list[Start], figure: Figure, goal: Goal, windows: list[Window]
    ) -> tuple[Start, list[_Done], World] | None:
        for start in self._starts():
            calls, after = self._run(
                world.copy(), start, replace(figure, bound=None), goal, windows, number=len(starts) + 1
            )
            if calls:
                return start, calls, after
        return None

    def _again(
        self, world: World, calls: list[_Done], starts: list[Start], goal: Goal
    ) -> tuple[Start, list[_Done], World] | None:
        """The first run once more, with new names; as far as it is let through, and None where that is not all the way."""
        first = [each for each in calls if each.run == 1]
        if not first:
            return None
        names = _Names(self.search)
        start = replace(
            starts[0], task=names.renamed(starts[0].task), on_behalf_of=names.renamed(starts[0].on_behalf_of)
        )
        world = world.copy()
        run = world.begin(start)
        again: list[_Done] = []
        for each in first:
            step = replace(
                each.step,
                arguments=names.renamed(each.step.arguments),
                facts=names.renamed(each.step.facts),
                result=names.renamed(each.step.result),
            )
            judged = world.judge(run, step)
            if not judged.is_let_through:
                return None
            world.perform(run, step, judged)
            amount = amount_of(judged.request, goal) if each.amount else Decimal(0)
            again.append(_Done(len(starts) + 1, step, amount, judged.decision.rules))
        return start, again, world

    def _starts(self) -> Iterator[Start]:
        """Tasks that a run may begin with: a new one, and one for each user that rules name."""
        template = self.subject.on_behalf_of
        marks = self.subject.task_marks
        form = Form.of(self.subject.task)
        chosen: dict[Path, object] = {tuple(name.split(".")): PRESENT for name in holes(template)}
        for name, inner in marks.inside.items():
            if inner.is_trusted:
                is_free = not inner.kind and inner.sort == "text"
                chosen[name,] = self._said(form.at((name,))) if is_free else PRESENT
        options: list[dict[Path, object]] = [chosen]
        names = holes(template)
        if len(names) == 1 and template == "{" + names[0] + "}":
            place = tuple(names[0].split("."))
            user = form.at(place)
            texts = [text for text in self._mentioned() if user is not None and user.takes(text)]
            options += [{**chosen, place: text} for text in texts[:USERS_MAX]]
        for option in options:
            made = self.search.maker.value(form, option, self.subject.task.model_validate_json)
            if made is not None:
                task = cast("BaseModel", made[1])
                who = render(template, fields_of(task)) if template else ""
                yield Start(task=made[0], on_behalf_of=who)

    def _mentioned(self) -> list[str]:
        """Texts that rules and closed lists name: a user may have to be one of them."""
        found: dict[str, None] = {}
        for outlook in self.search.outlooks.values():
            found.update(dict.fromkeys(outlook.symbolic.vocabulary.strings))
            for leaf in outlook.leaves:
                found.update(dict.fromkeys(leaf.form.closed if leaf.form is not None else ()))
        return list(found)

    def _said(self, form: Form | None) -> str:
        """What a trusted text may say: values that arguments take whose origin rules ask for, as many as a run can use."""
        asked = [
            (name, inner.at(("[]",)) if inner.is_list else inner)
            for outlook in self.search.outlooks.values()
            for name in outlook.spec.arguments.model_fields
            if is_label_read(outlook.reads, name)
            and (inner := Form.of(outlook.spec.arguments).at((name,))) is not None
        ]
        forms = dict.fromkeys((name, str(each.schema)) for name, each in asked if each is not None)
        makes = {(name, str(each.schema)): each for name, each in asked if each is not None}
        limit = SAID_MAX if form is None else form.schema.get("maxLength", SAID_MAX)
        text = "text"
        for _ in range(min(self.subject.limits["tool_calls"], VALUES_MAX)):
            for name, schema in forms:
                word = self.search.maker.text(makes[name, schema], name)
                if word is not None and " " not in word and len(text) + len(word) < limit:
                    text = f"{text} {word}"
        return text[:limit]

    def _witness(self, calls: list[_Done], starts: list[Start]) -> Witness:
        return Witness(
            amount=sum((each.amount for each in calls), Decimal(0)),
            calls=tuple(
                Call(
                    run=each.run,
                    tool=each.step.tool,
                    arguments=each.step.arguments,
                    at=f"{datetime.fromtimestamp(each.step.now_us / 1e6, UTC).isoformat(timespec='milliseconds')}",
                    amount=each.amount,
                    facts=each.step.facts,
                    rules=each.rules,
                )
                for each in calls
            ),
            on_behalf_of=tuple(start.on_behalf_of for start in starts if start.on_behalf_of),
            is_cut_short=self._is_late(),
        )


@dataclass(slots=True, eq=False)
class _Names:
    """New names for those that were made up, the same one everywhere."""

    search: Search
    known: dict[str, str] = field(default_factory=dict[str, str])

    def renamed(self, value: Any) -> Any:
        """The value with every made-up text replaced."""
        match value:
            case str():
                return self._text(value)
            case dict():
                return {name: self.renamed(inner) for name, inner in cast("dict[str, Any]", value).items()}
            case list():
                return [self.renamed(inner) for inner in cast("list[Any]", value)]
            case _:
                return value

    def _text(self, text: str) -> str:
        if text in self.known:
            return self.known[text]
        made = self.search.maker.again(text)
        if made is None and " " in text:
            made = " ".join(self._text(part) for part in text.split(" "))
        self.known[text] = text if made is None else made
        return self.known[text]


def _choices(goal: Goal) -> list[tuple[str, ...]]:
    """Which tools to use: all that add something; all but one, which may close the way for the others; or only one."""
    adding = tuple(name for name, most in goal.per_call.items() if most != 0)
    fewer = [tuple(other for other in adding if other != name) for name in adding]
    return (
        list(dict.fromkeys([adding, *fewer, *((name,) for name in adding)])) if len(adding) > 1 else [adding]
    )


def _is_reached(figure: Figure, total: Decimal) -> bool:
    return figure.bound is not None and total >= figure.bound
