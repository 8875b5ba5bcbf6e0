"""What a blast radius rests on, in words: printed with every one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answerable.prove.blast_bounds import Bounds
    from answerable.prove.blast_figures import Figure
    from answerable.prove.blast_limits import Bounded
    from answerable.prove.blast_subject import Subject

_ALWAYS: tuple[str, ...] = (
    "the model is hijacked from its first word: it calls any of the agent's tools, in any order, with any arguments",
    "nobody is asked: a call for which a person is needed is not made, and no run waits for one",
    "records, customers and orders exist without end, and facts answer anything that fits their types, but for rules",
    "every call that is sent is done; the amounts, keys and records that a tool declares are what it really does",
    "what the agent's own code does (compensating, taking in, endorsing, declassifying) is not the model's, and not looked at",
    "the schema gate lets only valid arguments through; the journal's totals, claims and budgets are kept (`spec/effects.md`)",
    "bounds rest on the encoding of the rules as formulas (z3); witnesses on the real gates alone",
)


def assumptions(subject: Subject, tools: Sequence[Bounded], bounds: Bounds) -> tuple[str, ...]:
    """Everything that is assumed: always, because of what was declared, and because a bound needed it."""
    found: list[str] = [*_ALWAYS]
    if subject.wall_clock_s is not None:
        days = subject.days
        found.append(
            f"a run is at work for {subject.wall_clock_s:g} s at most, without pause, and so sees {days} UTC days at most: "
            "a worker that stands still and goes on another day would add one"
        )
    if subject.narrows_tools:
        found.append("`tools_for` is not looked at: the worst task gets every tool of the agent")
    if subject.has_program:
        found.append(
            "the agent has a program of its own; whatever it does, the model is taken to choose every call"
        )
    found.extend(bounds.assumed)
    found.extend(
        dict.fromkeys(
            each.text
            for tool in tools
            if tool.is_sent() and tool.spec.is_write
            for each in tool.question.symbolic.assumptions
        )
    )
    return tuple(found)


def notes(subject: Subject, figures: Sequence[Figure]) -> tuple[str, ...]:
    """What is particular to this agent, and is easily misread."""
    found: list[str] = []
    others = sorted(set(subject.known) - {tool.name for tool in subject.tools})
    if others:
        listed = ", ".join(f"`{name}`" for name in others)
        found.append(
            f"not offered to the model, and so not counted: {listed} (used by facts, undos and the done check)"
        )
    if any(node.is_hidden for tool in subject.tools for node in tool.gives.nodes()):
        found.append("values that only a handle can pass on count in the bounds; no witness passes one on")
    if any(figure.witness is not None and figure.witness.is_cut_short for figure in figures):
        found.append(
            "a search for a witness was stopped for time or length: its figure may be higher than what is shown"
        )
    return tuple(found)
