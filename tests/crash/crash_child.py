"""What a child process does until it is killed: submit a morning's work, and drive it."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import shutil
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.crash.crash_points import Points, exit_now
from tests.crash.crash_till import Chore, Till, till_agent

from answerable.engine.ports import Ports
from answerable.errors import ApprovalError
from answerable.gates.approval import Approver
from answerable.models.scripted import ScriptedModel, say
from answerable.project import bundle_of, open_runtime, read_tasks
from answerable.testing import FakeClock, FaultyStore
from refund_desk import desk as desk_module
from refund_desk.clerk import clerk
from refund_desk.seed import seed_shop
from refund_desk.shop import Shop, open_shop, shop_token

if TYPE_CHECKING:
    from answerable import Agent
    from answerable.engine.runtime import Runtime
    from answerable.gates.policy import Bundle

LEAD_KEY = bytes(range(32))
LEAD = Approver(
    name="lead",
    roles=frozenset({"support-lead", "finance", "privacy", "operator"}),
    public_key=Ed25519PrivateKey.from_private_bytes(LEAD_KEY).public_key().public_bytes_raw(),
)
TICKETS = Path(desk_module.__file__).with_name("tickets.jsonl")


@dataclass(frozen=True, kw_only=True)
class Story:
    """One seeded morning."""

    seed: int
    honours_keys: bool
    tickets: tuple[str, ...]
    chores: tuple[Chore, ...]
    durability: Any
    concurrency: int
    kills: tuple[int, ...]
    """At which moment each process dies, in order; the one after the last lives."""
    approves: bool


@dataclass(kw_only=True)
class World:
    """What is prepared once, before any child is forked."""

    desks: dict[bool, Agent]
    bundles: dict[str, Bundle]
    tickets: dict[str, Any]
    shops: dict[bool, Path] = field(default_factory=dict)


def prepare(folder: Path) -> World:
    """Import, compile and found everything that the children share."""
    desks = {honours: desk_module.make_desk(honours_keys=honours) for honours in (True, False)}
    world = World(
        desks=desks,
        bundles={"refund-desk": bundle_of(desks[True]), "till": bundle_of(till_agent)},
        tickets={str(ticket.id): ticket for ticket in read_tasks(TICKETS, desks[True])},
    )
    for honours in (True, False):
        world.shops[honours] = folder / f"shop-{honours}"
        open_shop(world.shops[honours], seed=seed_shop, honours_keys=honours, slow_ms=1).close()
        shop_token(world.shops[honours])
    gc.collect()
    gc.freeze()
    return world


def tell(seed: int, world: World) -> Story:
    """The story of a seed."""
    dice = random.Random(seed)
    steps = ["ring", "stamp", "put", "move", "post", "issue"]
    return Story(
        seed=seed,
        honours_keys=dice.random() < 0.5,
        tickets=tuple(dice.sample(sorted(world.tickets), 3)),
        chores=tuple(
            Chore(id=f"chore-{index}", steps=dice.sample(steps, 3))  # pyright: ignore[reportArgumentType]
            for index in range(2)
        ),
        durability=dice.choice(["full", "group", "relaxed"]),
        concurrency=dice.choice([1, 3]),
        kills=tuple(
            dice.randrange(1, limit) for limit in dice.choice([(110,), (110,), (110, 40), (60, 30, 20)])
        ),
        approves=dice.random() < 0.5,
    )


class FragileShop(Shop):
    """The desk's shop, with the moments around each transaction made visible."""

    point: Points

    def _transaction(self, kind: Any) -> Any:
        return _pointed(super()._transaction(kind), self.point)


class _pointed:  # noqa: N801 - it stands where a function stood
    def __init__(self, transaction: Any, point: Points) -> None:
        self._transaction = transaction
        self._point = point

    def __enter__(self) -> Any:
        self._point("before a shop transaction")
        return self._transaction.__enter__()

    def __exit__(self, *failure: object) -> Any:
        self._point("before a shop commit")
        left = self._transaction.__exit__(*failure)
        self._point("after a shop commit")
        return left


def found(story: Story, world: World, place: Path) -> None:
    """A fresh shop for one story."""
    place.mkdir()
    for path in world.shops[story.honours_keys].iterdir():
        shutil.copy(path, place / path.name)


def live(story: Story, world: World, place: Path, number: int, *, approves: bool = False) -> bool:
    """Fork the story's next process and wait until it is over. Whether it was killed."""
    die_at = story.kills[number] if number < len(story.kills) else None
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(_work(story, world, place, number, die_at, approves=approves))
        except BaseException:
            (place / "error").write_text(traceback.format_exc())
            exit_now(1)
        exit_now(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.WEXITSTATUS(status):
        raise AssertionError((place / "error").read_text())
    return False


async def _work(
    story: Story, world: World, place: Path, number: int, die_at: int | None, *, approves: bool
) -> None:
    points = Points(place / "points", die_at)
    shop = FragileShop.__new__(FragileShop)
    shop.point = points
    FragileShop.__init__(shop, place / "shop.db")
    ports = Ports(clock=FakeClock(datetime.now(UTC)), entropy=os.urandom)
    async with open_runtime(
        f"sqlite:///{place / 'desk.db'}",
        agents=[world.desks[story.honours_keys], till_agent],
        approvers=[LEAD],
        resources={"shop": shop, "till": Till(place, story.seed, points)},
        secrets={"shop_token": desk_module.Secret(shop_token(place))},
        models={
            "scripted:desk": ScriptedModel("desk", clerk, story.seed),
            "scripted:till": ScriptedModel("till", lambda *_: say("")),
        },
        bundles=world.bundles,
        ports=ports,
        durability=story.durability,
        wrap_store=lambda store: FaultyStore(store, at_point=points.of_store),
    ) as runtime:
        await runtime.submit("refund-desk", [world.tickets[each] for each in story.tickets])
        await runtime.submit("till", story.chores)
        if approves:
            await _approve(runtime)
        await runtime.drive_all(concurrency=story.concurrency)


async def _approve(runtime: Runtime) -> None:
    for row in await runtime.store.runs(states=("waiting",)):
        try:
            await runtime.answer(row.run, "grant", approver="lead", private_key=LEAD_KEY)
        except ApprovalError:  # answered before the last kill
            continue
