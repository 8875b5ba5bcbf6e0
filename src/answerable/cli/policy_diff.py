"""`answerable policy diff`: what a change of the rules newly lets through, asks about or stops, with a call for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from answerable.cli.common import FAILED, AgentName, AsJson, ProjectDir, Timeout, agents_of, print_json, talk

if TYPE_CHECKING:
    from answerable.errors import PolicyError
    from answerable.prove.changes import RuleChange
    from answerable.prove.diff import Comparison, Transition

Candidate = Annotated[
    Path,
    typer.Option("--candidate", metavar="DIR", help="A folder of .cedar files: the rules as they would be."),
]
FailOnNewAllow = Annotated[
    bool,
    typer.Option(
        "--fail-on-new-allow",
        help="Exit 1 where something is newly allowed, or somebody who had to say yes no longer has to; or is open.",
    ),
]


def diff(
    candidate: Candidate,
    project_dir: ProjectDir = None,
    agent: AgentName = None,
    timeout: Timeout = 20.0,
    *,
    fail_on_new_allow: FailOnNewAllow = False,
    as_json: AsJson = False,
) -> None:
    """Compare the rules in force with others, over every possible call and not only over recorded ones.

    For each tool and each way in which an answer can change there is a call that the real gates answered so, or a proof
    that there is none. Exits 1 where the candidate cannot be loaded, or for what --fail-on-new-allow names.
    """
    from dataclasses import replace

    from answerable.errors import PolicyError
    from answerable.project import bundle_of, load_project
    from answerable.prove.diff import compare

    project = load_project(project_dir or Path())
    said: list[dict[str, Any]] = []
    is_failed = False
    for each in agents_of(project, agent):
        name = each.name
        current = project.bundle(name)
        try:
            other = bundle_of(replace(each, policy=candidate))
        except PolicyError as error:
            said.append({"agent": name, "is_ok": False, "error": error.args[0], "hint": error.hint})
            _say_unusable(name, error, as_json=as_json)
            is_failed = True
            continue
        found = compare(current, other, timeout_s=timeout)
        is_failed = is_failed or (fail_on_new_allow and found.is_looser)
        said.append({"agent": name, "is_ok": True, **found.described()})
        if not as_json:
            _say(name, found)
    if as_json:
        print_json({"is_ok": all(each["is_ok"] for each in said), "agents": said})
    raise typer.Exit(FAILED if is_failed else 0)


def _say_unusable(agent: str, error: PolicyError, *, as_json: bool) -> None:
    if as_json:
        return
    typer.echo(f"✗ {agent}: the candidate cannot be loaded: {error.args[0]}")
    if error.hint:
        talk(f"hint: {error.hint}")


def _say(agent: str, found: Comparison) -> None:
    from answerable.prove.diff import LOOSER

    proven = "proven" if found.is_proven else "not all of it proven"
    digests = (
        f"{found.before_digest[:12]} → {found.after_digest[:12]}, {proven}, {found.duration_ms / 1000:.1f} s"
    )
    if not found.transitions and not found.tools_changed:
        typer.echo(f"✓ {agent}: every call is answered as before; {digests}")
    else:
        what = "calls are answered otherwise" + (
            ", some more freely" if found.is_looser else ", none more freely"
        )
        typer.echo(f"{'✗' if found.is_looser else '✓'} {agent}: {what}; {digests}")
    for change in found.rules:
        typer.echo(f"  {_change_in_words(change)}")
    for name, tools in (
        ("only before", found.tools_before_only),
        ("only after", found.tools_after_only),
        ("changed, so not compared", found.tools_changed),
    ):
        if tools:
            typer.echo(f"  tools {name}: {', '.join(f'`{tool}`' for tool in tools)}")
    for transition in sorted(found.transitions, key=lambda each: each.kind not in LOOSER):
        _say_transition(transition, is_looser=transition.kind in LOOSER)
    for title, texts in (("assumed of every call:", found.assumptions), ("relied on:", found.trusted)):
        if texts:
            typer.echo(("\n" if title.startswith("assumed") else "") + title)
        for text in texts:
            typer.echo(f"  {text}")


def _change_in_words(change: RuleChange) -> str:
    rule = change.after or change.before
    assert rule is not None
    if change.parts:
        return f"rule `{change.id}` changed: {', '.join(change.parts)}"
    return f"rule `{change.id}` {change.kind}: {rule.text}"


def _say_transition(transition: Transition, *, is_looser: bool) -> None:
    from answerable.prove.diff import WORDS
    from answerable.prove.witness import answer_in_words, parts_in_words

    mark = "!" if is_looser else "·"
    typer.echo(f"\n{mark} `{transition.tool}` by `{transition.agent}`: {WORDS[transition.kind]}")
    if transition.witness is None or transition.before is None:
        typer.echo(f"    open: {transition.why}")
        return
    was, would_be = answer_in_words(transition.before), answer_in_words(transition.witness.confirmed)
    typer.echo(f"    was {was}; would be {would_be}, for instance with")
    for part in parts_in_words(transition.witness):
        typer.echo(f"      {part}")
