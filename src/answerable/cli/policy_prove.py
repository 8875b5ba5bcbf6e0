"""`answerable policy prove`: whether the rules imply the project's invariants, for every possible call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from answerable.cli.common import FAILED, AgentName, AsJson, ProjectDir, Timeout, agents_of, print_json, talk

if TYPE_CHECKING:
    from answerable.engine.agent import Agent
    from answerable.prove.invariants import Finding, Proof

Candidate = Annotated[
    Path | None,
    typer.Option(
        "--candidate", metavar="DIR", help="A folder of .cedar files, in the place of the rules in force."
    ),
]
Invariants = Annotated[
    Path | None,
    typer.Option(
        "--invariants", metavar="DIR", help="A folder of invariants, in the place of the project's own."
    ),
]
MARKS = {"holds": "✓", "refuted": "✗", "not proven": "?"}


def prove(
    project_dir: ProjectDir = None,
    agent: AgentName = None,
    candidate: Candidate = None,
    invariants: Invariants = None,
    timeout: Timeout = 20.0,
    *,
    as_json: AsJson = False,
) -> None:
    """Prove the invariants in `policy/invariants/` of the rules, or show a call that breaks one.

    An invariant is a `forbid` that is never loaded as a rule. Autonomy counts; budgets and repetitions do not. Every call
    that is shown was put to the real gates first. Exits 1 where an invariant is broken or open, and where there is none.
    """
    from answerable.errors import PolicyError
    from answerable.project import load_project

    project = load_project(project_dir or Path())
    said: list[dict[str, Any]] = []
    for each in agents_of(project, agent):
        name = each.name
        try:
            proof = _proof(each, candidate, invariants, timeout)
        except PolicyError as error:
            said.append({"agent": name, "is_proven": False, "error": error.args[0], "hint": error.hint})
            if not as_json:
                typer.echo(f"✗ {name}: {error.args[0]}")
                talk(f"hint: {error.hint}")
            continue
        said.append({"agent": name, **proof.described()})
        if not as_json:
            _say(name, proof)
    is_proven = all(each["is_proven"] for each in said)
    if as_json:
        print_json({"is_proven": is_proven, "agents": said})
    raise typer.Exit(0 if is_proven else FAILED)


def _proof(agent: Agent, candidate: Path | None, invariants: Path | None, timeout: float) -> Proof:
    """The proof of an agent's rules or a candidate's; the promises in force are the project's own, unless others are named."""
    from dataclasses import replace

    from answerable.errors import PolicyError
    from answerable.project import bundle_of, load_rules
    from answerable.prove.invariants import prove as prove_invariants
    from answerable.prove.load import read_folder, read_invariants

    bundle = bundle_of(replace(agent, policy=candidate) if candidate is not None else agent)
    if invariants is not None:
        sources = read_folder(invariants)
    else:
        sources = read_invariants(agent.policy) if isinstance(agent.policy, Path) else {}
    if not sources:
        raise PolicyError(
            "there is no invariant to prove",
            hint="write a `forbid` that the rules have to imply into `invariants/*.cedar` in the folder of the rules",
        )
    return prove_invariants(bundle, load_rules(agent, sources), timeout_s=timeout)


def _say(agent: str, proof: Proof) -> None:
    count = len(proof.findings)
    kept = sum(each.status == "holds" for each in proof.findings)
    how = f"all {count} invariants hold" if proof.is_proven else f"{kept} of {count} invariants hold"
    typer.echo(
        f"{'✓' if proof.is_proven else '✗'} {agent}: {how}, over every call that there can be; "
        f"rules {proof.digest[:12]}, {proof.duration_ms / 1000:.1f} s"
    )
    for finding in proof.findings:
        _say_finding(finding)
    typer.echo("\nassumed of every call:")
    for text in proof.assumptions:
        typer.echo(f"  {text}")
    typer.echo("relied on:")
    for text in proof.trusted:
        typer.echo(f"  {text}")


def _say_finding(finding: Finding) -> None:
    from answerable.prove.witness import answer_in_words, parts_in_words

    rule, witness = finding.invariant, finding.counterexample
    typer.echo(f"  {MARKS[finding.status]} {rule.id}: {rule.text}")
    if finding.why:
        typer.echo(f"      {finding.why}")
    if witness is None:
        return
    demanded = "never, whoever says yes"
    if rule.approvers:
        people = " or ".join(rule.approvers)
        demanded = (
            f"never without {people}" if rule.count == 1 else f"never without {rule.count} people of {people}"
        )
    typer.echo(f"      demanded ({rule.file}:{rule.line}): {demanded}")
    typer.echo(
        f"      but `{witness.tool}` by `{witness.agent}` is {answer_in_words(witness.confirmed)}, with"
    )
    for part in parts_in_words(witness):
        typer.echo(f"        {part}")
