"""The retail desk at work: every request of the example in the real runtime, and the customer's yes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from typer.testing import CliRunner

from answerable import Approver
from answerable.cli.main import app
from answerable.journal.verify import verify_database
from answerable.kernel import events
from answerable.kernel.ids import run_stream
from answerable.project import Project, load_project, open_project, read_tasks
from retail_policy.agent import HERE
from retail_policy.shop import Shop, Warrant, shop_token

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from answerable import Outcome, Runtime

WAITING = "waiting"
EXPECTED: dict[str, tuple[str, ...]] = {
    "R-01": (WAITING, "cancel_pending_order"),
    "R-02": (WAITING, "exchange_delivered_order_items"),
    "R-03": (WAITING, "return_delivered_order_items"),
    "R-04": ("escalated", "refund-to-the-original"),
    "R-05": ("escalated", "pending-only"),
    "R-06": ("escalated", "own-orders-read"),
    "R-07": ("escalated", "gift-card-covers-the-order"),
    "R-08": (WAITING, "modify_pending_order_items"),
    "R-09": ("escalated", "available-only"),
    "R-10": ("unverified",),
    "R-11": ("escalated", "authenticate-first", "own-profile-only"),
    "R-12": ("unverified",),
    "R-13": ("escalated", "one-customer"),
    "R-14": (WAITING, "modify_user_address"),
    "R-15": ("escalated", "same-product"),
    "R-16": (WAITING, "modify_pending_order_address"),
}


@dataclass
class Desk:
    """An open desk, and the customer's key."""

    runtime: Runtime
    project: Project
    key: bytes

    @property
    def shop(self) -> Shop:
        """The shop, looked at from outside."""
        return Shop(self.project.data / "shop.db")

    async def ask(self, request: str) -> Outcome:
        """Run one request of the example."""
        (agent,) = self.project.agents.values()
        assert self.project.tasks_file is not None
        task = next(
            each for each in read_tasks(self.project.tasks_file, agent) if getattr(each, "id", "") == request
        )
        return await self.runtime.run(agent, task.model_dump())

    async def answer(self, outcome: Outcome, verdict: str) -> Outcome:
        """The customer's answer, signed, and what becomes of the run."""
        await self.runtime.answer(outcome.run, verdict, approver="customer", private_key=self.key)
        return await self.runtime.drive(outcome.run)

    async def decided(self, outcome: Outcome) -> list[events.CallDecided]:
        """Every decision of a run, in order."""
        entries = await self.runtime.store.entries(run_stream(outcome.run))
        return [e for entry in entries for e in entry.events if isinstance(e, events.CallDecided)]


@asynccontextmanager
async def open_desk(place: Path) -> AsyncGenerator[Desk]:
    """The example's project in a folder of its own, with a customer who can sign."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    project = load_project(HERE, data=place)
    project.approvers.append(Approver(name="customer", roles=frozenset({"customer"}), public_key=public))
    async with open_project(project, db=f"sqlite:///{place / 'journal.db'}") as runtime:
        yield Desk(runtime, project, key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))


def test_the_project_runs_from_the_command_line(tmp_path: Path) -> None:
    """As the README says: rules that load, and a morning's requests, of which some wait for the customer."""
    checked = CliRunner().invoke(app, ["policy", "check", str(HERE)])
    ran = CliRunner().invoke(
        app, ["run", str(HERE), "--dir", str(tmp_path), "--db", f"sqlite:///{tmp_path}/j.db"]
    )

    assert checked.exit_code == 0, checked.output
    assert ran.exit_code == 0, ran.output
    assert "16 runs" in ran.output
    assert verify_database(tmp_path / "j.db").findings == ()


@pytest.mark.parametrize("request_id", EXPECTED)
def test_a_request_comes_to_what_the_readme_says(request_id: str, tmp_path: Path) -> None:
    """It waits for the customer with one exact call, or is refused by the rule that is meant, or is answered."""

    async def go() -> None:
        async with open_desk(tmp_path) as desk:
            outcome = await desk.ask(request_id)
            how, *what = EXPECTED[request_id]
            last = (await desk.decided(outcome))[-1]
            if how == WAITING:
                assert outcome.waiting_for == "approval"
                assert (last.tool, last.verdict, last.rules) == (
                    what[0],
                    "require_approval",
                    ("customer-says-yes",),
                )
            else:
                assert outcome.name == how
                assert outcome.rules == tuple(what)
            assert all(not each.changes for each in _orders(desk.shop))

    asyncio.run(go())


@pytest.mark.parametrize("request_id", [name for name, how in EXPECTED.items() if how[0] == WAITING])
def test_with_the_customers_yes_it_is_done_once(request_id: str, tmp_path: Path) -> None:
    """A signature of the customer lets through exactly what was shown."""

    async def go() -> None:
        async with open_desk(tmp_path) as desk:
            before = _orders(desk.shop), desk.shop.user("cara_weiss_1003")
            outcome = await desk.answer(await desk.ask(request_id), "grant")
            after = _orders(desk.shop), desk.shop.user("cara_weiss_1003")
            changed = [new for old, new in zip(before[0], after[0], strict=True) if old != new]

            assert outcome.name == "unverified"
            assert len(changed) + (before[1] != after[1]) == 1
            assert all(len(order.changes) == 1 for order in changed)

    asyncio.run(go())


def test_with_the_customers_no_nothing_is_done(tmp_path: Path) -> None:
    """And the run is handed to a person."""

    async def go() -> None:
        async with open_desk(tmp_path) as desk:
            outcome = await desk.answer(await desk.ask("R-01"), "deny")

            assert outcome.name == "escalated"
            assert desk.shop.order("#L2001").status == "pending"

    asyncio.run(go())


def test_a_yes_that_comes_too_late_is_worth_nothing(tmp_path: Path) -> None:
    """While the customer was thinking the order was changed by somebody else: every rule is asked again."""

    async def go() -> None:
        async with open_desk(tmp_path) as desk:
            outcome = await desk.ask("R-01")
            by = Warrant(key="colleague", token=shop_token(tmp_path))
            desk.shop.set_order_items("#L2001", ["700101"], ["700102"], "credit_card_5001", by=by)
            outcome = await desk.answer(outcome, "grant")

            assert outcome.name == "escalated"
            assert set(outcome.rules) == {"pending-only", "items-once"}
            assert desk.shop.order("#L2001").status == "pending (items modified)"

    asyncio.run(go())


def test_a_customer_can_sign_only_what_is_shown(tmp_path: Path) -> None:
    """A yes to one request is none to another: each run waits for its own."""

    async def go() -> None:
        async with open_desk(tmp_path) as desk:
            first, second = await desk.ask("R-01"), await desk.ask("R-08")
            await desk.answer(first, "grant")
            again: Any = await desk.runtime.drive(second.run)

            assert again.waiting_for == "approval"
            assert desk.shop.order("#L2003").changes == []

    asyncio.run(go())


def _orders(shop: Shop) -> list[Any]:
    return [shop.order(f"#L{number}") for number in range(2001, 2009)]
