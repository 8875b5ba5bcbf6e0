"""Which classes of data can leave: what the run may have read, and a call that hands it outside with nobody asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from answerable.prove.blast_figures import Figure, Limit, Witness
from answerable.prove.blast_next import Goal
from answerable.prove.blast_outlook import is_read
from answerable.prove.logic import both, implies
from answerable.prove.values import Many, Words, holds, same

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from answerable.prove.blast_drive import Driver
    from answerable.prove.blast_figures import Call, Period
    from answerable.prove.blast_limits import Bounded
    from answerable.prove.blast_subject import Subject
    from answerable.prove.logic import Bool


@dataclass(slots=True, eq=False)
class Leaving:
    """The data that can leave an agent."""

    subject: Subject
    tools: Sequence[Bounded]
    driver: Driver

    def figure(self, period: Period) -> Figure:
        """The classes, as a figure. A day is no more than its runs here."""
        undeclared = [tool.spec.name for tool in self.tools if self._is_undeclared(tool)]
        if undeclared:
            missing = [
                f"declare `impact=Impact(...)` on `{name}`: whom a call of it tells" for name in undeclared
            ]
            return Figure(measure="classes", period=period, bound=None, missing=tuple(missing))
        out = [tool for tool in self.tools if tool.spec.is_outward]
        open_to: dict[str, list[Bounded]] = {}
        kept: list[Limit] = []
        for name in sorted(self._readable()):
            ways = [
                tool
                for tool in out
                if tool.is_sent() and tool.question.is_possible(tool.question.sent(), _holding(tool, name))
            ]
            if ways:
                open_to[name] = ways
            else:
                kept += self._keeping(out, name)
        witness = self._witness(open_to)
        return Figure(
            measure="classes",
            period=period,
            bound=Decimal(len(open_to)),
            binding=tuple(dict.fromkeys(kept)),
            classes=tuple(open_to),
            witness=witness,
        )

    def _is_undeclared(self, tool: Bounded) -> bool:
        return tool.spec.is_write and tool.spec.impact is None and tool.is_sent()

    def _readable(self) -> set[str]:
        """Classes of what a run may have read: its task, and whatever is called with nobody asked."""
        return {self.subject.task_class} | {tool.spec.data_class for tool in self.tools if tool.is_sent()}

    def _keeping(self, out: Sequence[Bounded], name: str) -> Iterator[Limit]:
        """What keeps a class in, tool by tool."""
        for tool in out:
            if tool.is_sent():
                rules = tool.question.binding(_holding(tool, name))
                why = f"`{tool.spec.name}` cannot carry `{name}` out"
            else:
                held, rules = tool.held_back()
                why = f"`{tool.spec.name}`: {held}"
            yield Limit(
                name=" and ".join(f"`{rule}`" for rule in rules) or "autonomy", amount=Decimal(0), why=why
            )

    def _witness(self, open_to: dict[str, list[Bounded]]) -> Witness:
        calls: list[Call] = []
        users: list[str] = []
        seen: list[str] = []
        for name, ways in open_to.items():
            readers = [
                tool.spec.name
                for tool in self.tools
                if tool.spec.data_class == name and tool.is_sent() and name != self.subject.task_class
            ]
            search = self.driver.search
            preparing = [*readers, *(each for each in search.preparing if each not in readers)]
            driver = replace(self.driver, search=replace(search, preparing=preparing))
            per_call = {tool.spec.name: tool.per_call("recipients").amount for tool in ways}
            goal = Goal(measure="recipients", unit="", per_call=per_call, data_class=name)
            one = Figure(measure="recipients", period="run", bound=Decimal(1))
            found = driver.drive(one, goal)
            if found.amount:
                seen.append(name)
                users += found.on_behalf_of
                calls += [replace(call, run=len(seen)) for call in found.calls]
        return Witness(
            amount=Decimal(len(seen)), calls=tuple(calls), on_behalf_of=tuple(users), classes=tuple(seen)
        )


def _holding(tool: Bounded, name: str) -> Bool:
    """The run has read this class, and every argument that is not handed over by a handle may carry it.

    What no rule looks at can be anything, and nothing is asked of it.
    """
    symbolic = tool.question.symbolic
    texts = symbolic.vocabulary.texts
    reads = symbolic.place.slice(tool.question.subject.tenant)[0].reads
    terms: list[Bool] = []
    read = symbolic.at("run", "classes_read")
    joined = read if isinstance(read, Many) and is_read(reads, "run", "classes_read") else None
    if joined is not None:
        terms.append(holds(joined, Words(name), texts))
    for parameter in tool.spec.arguments.model_fields:
        if not is_read(reads, "labels", parameter, "classes") or tool.spec.takes.inside[parameter].kinds():
            continue  # a value of a kind may come by a handle, and then carries only what its source has
        there = symbolic.present("args", parameter)
        carried = symbolic.at("labels", parameter, "classes")
        assert isinstance(carried, Many)
        terms.append(implies(there, holds(carried, Words(name), texts)))
        if joined is not None:
            terms.append(implies(there, same(joined, carried, texts)))
    return both(*terms)
