"""Every recorded conversation under the rules of `examples/retail_policy`, in the real runtime, and what became of it.

    PYTHONPATH=examples python tests/workloads/retail_measure.py

A program stands in the model's place and puts the calls of `retail_script` to the gates; the customer signs a yes
to each of the oracle's writes and to nothing else.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from retail_script import WRITES, Put, Shelf, script
from retail_world import Conversation, database_stock, load_conversations, recorded_stock

from answerable import Agent, Approver, Budget, CallRefused, Secret, ToolFailed, open_runtime
from answerable.kernel import events
from answerable.kernel.ids import run_stream
from answerable.models.scripted import ScriptedModel
from answerable.project import bundle_of
from retail_policy.agent import desk
from retail_policy.clerk import clerk
from retail_policy.shop import Shop, Stock, open_shop, shop_token

if TYPE_CHECKING:
    from answerable import Run, Runtime

STEPS_MAX = 1_000


@dataclass
class Fate:
    """What became of one call that was put to the gates."""

    put: Put
    verdict: str
    """done, failed, denied, or asked: a person was asked about a call that is wrong."""
    rules: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    """The roles that were asked for a yes, each with its rule."""


@dataclass
class Report:
    """All conversations."""

    source: str
    journal: Path
    seconds: float = 0.0
    fates: dict[str, list[Fate]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter[str])

    def of(self, kind: str) -> Iterator[tuple[str, Fate]]:
        """The fates of one kind of calls, each with its conversation."""
        for said, fates in self.fates.items():
            yield from ((said, fate) for fate in fates if fate.put.kind == kind)

    @property
    def oracle_writes(self) -> list[tuple[str, Fate]]:
        """The oracle's own writes."""
        return [(said, fate) for said, fate in self.of("oracle") if fate.put.tool in WRITES]


class _Talk:
    """One conversation: the script, and what became of each of its calls so far."""

    def __init__(self, puts: list[Put]) -> None:
        self.puts = puts
        self.fates: list[Fate] = []
        self.asked: dict[int, tuple[str, ...]] = {}
        self.at = 0
        self.vouched: set[str] = set()

    async def drive(self, run: Run, task: Any) -> str:
        """Put one call after the other, whatever became of those before. Begun anew after each yes."""
        del task
        self.fates, self.vouched = [], set()
        for at, put in enumerate(self.puts):
            self.at = at
            self.fates.append(await self._put(run, put))
        return "done"

    async def _put(self, run: Run, put: Put) -> Fate:
        asked = self.asked.get(self.at, ())
        for number in put.vouched:
            if number not in self.vouched:
                await run.endorse(number, why="so that the rule that is meant decides")
                self.vouched.add(number)
        try:
            await run.call(put.tool, **put.args)
        except CallRefused as refused:
            verdict = "asked" if asked else "denied"
            return Fate(put, verdict, refused.decision.rules or (refused.decision.code,), asked)
        except ToolFailed:
            return Fate(put, "failed", (), asked)
        return Fate(put, "done", (), asked)


async def measure(source: str, directory: Path, *, is_bare: bool = False) -> Report:
    """Run every conversation. `source` is `recorded`, or `database` where that is at hand.

    `is_bare`: the oracle's calls alone, as recorded, with nothing put in front and nothing wrong beside them.
    """
    report = Report(source, directory / "journal.db")
    begun = time.monotonic()
    whole = database_stock() if source == "database" else None
    if whole is not None:
        open_shop(directory / "first", stock=lambda: whole).close()
    known = Shelf.of(whole) if whole is not None else None
    for said in load_conversations():
        stock = whole or recorded_stock(said)
        shelf = known or Shelf.of(stock)
        bare = [Put(step["tool"], step["args"], "oracle") for step in said.steps]
        talk = _Talk(bare if is_bare else script(_identified(said, shelf), shelf))
        place = directory / f"shop-{said.id}"
        shop = _shop(place, stock, directory / "first" if whole is not None else None)
        report.outcomes[await _converse(talk, said, place, shop, report.journal)] += 1
        shop.close()
        shutil.rmtree(place)
        report.fates[said.id] = talk.fates
    report.seconds = time.monotonic() - begun
    return report


def _identified(said: Conversation, shelf: Shelf) -> Conversation:
    """The conversation with the proof that finds somebody in this shop, and with whom it finds."""
    proof, found = next((each, user) for each in said.proofs if (user := shelf.find(each["args"])))
    return replace(said, proofs=(proof,), user_id=found)


def _shop(place: Path, stock: Stock, founded: Path | None) -> Shop:
    if founded is not None:
        shutil.copytree(founded, place)
    return open_shop(place, stock=lambda: stock)


async def _converse(talk: _Talk, said: Conversation, place: Path, shop: Shop, journal: Path) -> str:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    agent = replace(desk, program=talk.drive, budget=Budget(tool_calls=STEPS_MAX, model_calls=1))
    async with open_runtime(
        f"sqlite:///{journal}",
        agents=[agent],
        approvers=[Approver(name="customer", roles=frozenset({"customer"}), public_key=public)],
        resources={"shop": shop},
        secrets={"shop_token": Secret(shop_token(place))},
        models={"scripted:clerk": ScriptedModel("clerk", clerk)},
        bundles={agent.name: _bundle(agent)},
        tenant=f"shop-{said.id}",
        durability="relaxed",
    ) as runtime:
        outcome = await runtime.run(agent, {"id": said.id, "text": said.text})
        for _ in range(STEPS_MAX):
            if outcome.waiting_for != "approval":
                break
            talk.asked[talk.at] = await _asked(runtime, outcome.run)
            verdict = "grant" if talk.puts[talk.at].kind == "oracle" else "deny"
            await runtime.answer(outcome.run, verdict, approver="customer", private_key=private)
            outcome = await runtime.drive(outcome.run)
    return outcome.name or f"waiting for {outcome.waiting_for}"


async def _asked(runtime: Runtime, run: str) -> tuple[str, ...]:
    """Who is asked for what, in the request that is open."""
    entries = await runtime.store.entries(run_stream(run))
    requests = [e for entry in entries for e in entry.events if isinstance(e, events.ApprovalRequested)]
    return tuple(f"{rule}: {', '.join(roles)} x{count}" for rule, roles, count in requests[-1].needs)


def table(report: Report) -> str:
    """The figures, as they are published."""
    writes = report.oracle_writes
    lines = [
        f"\nretail policy, shop as {report.source}: {len(report.fates)} conversations in {report.seconds:.0f} s",
        "  outcomes: " + ", ".join(f"{name} {count}" for name, count in sorted(report.outcomes.items())),
        f"  the oracle's writes: {len(writes)}; nobody authenticated, as recorded: {unproven_writes()}",
    ]
    for (verdict, asked), count in Counter((fate.verdict, fate.asked) for _, fate in writes).most_common():
        lines.append(f"    {verdict}, asked {'; '.join(asked) or 'nobody'}: {count}")
    for said, fate in writes:
        if fate.verdict != "done":
            lines.append(f"      {said}: {fate.put.tool} {fate.verdict} {', '.join(fate.rules)}")
    others = [(said, fate) for said, fate in report.of("oracle") if fate.put.tool not in WRITES]
    lines.append(f"  the oracle's other calls: {dict(Counter(fate.verdict for _, fate in others))}")
    for said, fate in others:
        if fate.verdict == "denied":
            lines.append(f"      {said}: {fate.put.tool} {fate.put.args} denied {', '.join(fate.rules)}")
    by_class: dict[str, list[Fate]] = defaultdict(list)
    for _, fate in report.of("wrong"):
        by_class[fate.put.wrong].append(fate)
    total = sum(map(len, by_class.values()))
    stopped = sum(is_stopped(fate) for fates in by_class.values() for fate in fates)
    lines.append(f"  wrong calls: {total}, denied by the rule that is meant: {stopped}")
    for name, fates in sorted(by_class.items()):
        hits = sum(is_stopped(fate) for fate in fates)
        alone = sum(set(fate.rules) == set(fate.put.rules) for fate in fates)
        lines.append(f"    {name:<44}{hits:>5} of {len(fates):<5} by that rule alone {alone}")
    return "\n".join(lines)


def unproven_writes() -> int:
    """How many of the oracle's writes come, as recorded, with nobody authenticated."""
    return sum(
        step["tool"] in WRITES
        for said in load_conversations()
        if not said.is_proof_recorded
        for step in said.steps
    )


def is_stopped(fate: Fate) -> bool:
    """Whether a wrong call was denied, and by the rule that is meant for it (or as no valid call at all)."""
    return fate.verdict == "denied" and (not fate.put.rules or set(fate.put.rules) <= set(fate.rules))


_BUNDLES: list[Any] = []


def _bundle(agent: Agent) -> Any:
    if not _BUNDLES:
        _BUNDLES.append(bundle_of(agent))
    return _BUNDLES[0]


def main() -> None:
    """Print the figures for every source that is at hand."""
    from retail_world import DATABASE

    for source in ("recorded", *(("database",) if DATABASE.is_file() else ())):
        with tempfile.TemporaryDirectory() as directory:
            print(table(asyncio.run(measure(source, Path(directory)))))
        if source == "database":
            with tempfile.TemporaryDirectory() as directory:
                print("\nthe same, with nothing but the oracle's calls:", end="")
                print(table(asyncio.run(measure(source, Path(directory), is_bare=True))))


if __name__ == "__main__":
    sys.exit(main())
