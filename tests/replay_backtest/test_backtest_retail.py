"""The retail example decided again: rules on session facts, order of calls and consent, with a customer who answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.replay_backtest.mornings import Listening, approvers, journal, key_of

from answerable.gates.approval import Approver
from answerable.project import Project, bundle_of, load_project, load_rules, open_project, read_tasks
from answerable.replay.asked import asked_of
from answerable.replay.backtest import BacktestReport, backtest
from retail_policy.agent import HERE

if TYPE_CHECKING:
    from pathlib import Path

    from answerable.gates.policy import Bundle

CONSENT = "customer-says-yes"


async def worked(folder: Path) -> tuple[Project, Bundle, Listening]:
    """Every request of the example, and a customer who says yes to what waits."""
    project = load_project(HERE, data=folder)
    (agent,) = project.agents.values()
    assert project.tasks_file is not None
    tasks = read_tasks(project.tasks_file, agent)
    public = approvers()[0].public_key
    project.approvers.append(Approver(name="customer", roles=frozenset({"customer"}), public_key=public))
    bundle = bundle_of(agent)
    listening = Listening(bundle)
    project.bundles[agent.name] = listening  # pyright: ignore[reportArgumentType]
    async with open_project(project, db=f"sqlite:///{folder / 'journal.db'}") as runtime:
        outcomes = await runtime.drive_all(await runtime.submit(agent.name, tasks), concurrency=1)
        for outcome in outcomes:
            if outcome.waiting_for == "approval":
                await runtime.answer(outcome.run, "grant", approver="customer", private_key=key_of("lea"))
                await runtime.drive(outcome.run)
    project.bundles[agent.name] = bundle
    return project, bundle, listening


async def tried(folder: Path, project: Project, bundle: Bundle, less: str) -> BacktestReport:
    """The journal decided again under the example's rules, and without one of them."""
    (agent,) = project.agents.values()
    sources = {path.name: path.read_text("utf-8") for path in sorted((HERE / "policy").glob("*.cedar"))}
    for name, text in sources.items():
        if f'@id("{less}")' in text:
            start = text.index(f'@id("{less}")')
            end = text.find('@id("', start + 1)
            sources[name] = text[:start] + (text[end:] if end > 0 else "")
    async with journal(f"sqlite:///{folder / 'journal.db'}") as store:
        return await backtest(store, agent, bundle, load_rules(agent, sources))


async def test_every_question_of_the_retail_desk_is_asked_again_as_it_was(tmp_path: Path) -> None:
    """Session facts, histories, labels and approvals included; and every answer comes out as recorded."""
    project, bundle, listening = await worked(tmp_path)
    (agent,) = project.agents.values()
    left = list(listening.asked)
    async with journal(f"sqlite:///{tmp_path / 'journal.db'}") as store:
        async for told in asked_of(store, agent, await store.runs()):
            for asked in told.asked:
                assert asked.request is not None, asked.problem
                left.remove((asked.request, frozenset(asked.event.discharged)))
    report = await tried(tmp_path, project, bundle, CONSENT)

    assert left == []
    assert any(request.session for request, _ in listening.asked)
    assert any(discharged for _, discharged in listening.asked)
    assert report.reproduced == report.decisions > 50
    ((kind, found),) = report.sums().items()
    assert kind == ("ask", "allow")
    assert found.calls == found.became["done"] > 3
