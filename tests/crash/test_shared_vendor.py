"""Several processes, one vendor: a rate and a breaker hold for all of them together, in real time."""

from __future__ import annotations

import asyncio
import bisect
import math
import os
import socket
import statistics
import threading
import time
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.crash.crash_points import fork

from answerable import (
    Agent,
    Arguments,
    Breaker,
    Budget,
    Rate,
    Retry,
    Run,
    Tool,
    ToolFailed,
    open_runtime,
    tool,
)
from answerable.journal.verify import verify_database
from answerable.models.scripted import ScriptedModel, say
from answerable.testing import FaultyStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROCESSES = 4
RATE, SECONDS = 100, 3
FAILURES, PAUSE_S = 5, 0.5
PERMIT = '@id("may") @text("All of it.") permit (principal == Agent::"clerk", action, resource);'


class Job(Arguments):
    """One task."""

    id: str
    calls: int


class Vendor:
    """Something on loopback that writes down when it was asked; while it is down it hangs up without a word."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self.listener.getsockname()[1]
        self.asked: list[float] = []
        self.answered: list[float] = []
        self.is_down = False

    def serve(self) -> None:
        """Answer until the listener is closed."""
        while True:
            try:
                caller, _ = self.listener.accept()
            except OSError:
                return
            with caller:
                now = time.time()
                self.asked.append(now)
                if not self.is_down:
                    self.answered.append(now)
                    caller.sendall(b"fine\n")

    def most_within(self, seconds: float) -> int:
        """The most requests in any window of this length."""
        times = sorted(self.asked)
        return max(bisect.bisect_left(times, at + seconds) - index for index, at in enumerate(times))


class Turns(FaultyStore):
    """Writes down when each turn was due that was given."""

    path: Path

    async def take_turn(self, *args: Any) -> Any:
        turn = await self.inside.take_turn(*args)
        if turn.verdict == "go":
            with self.path.open("a") as file:
                file.write(f"{turn.at}\n")
        return turn


@contextmanager
def vendor() -> Iterator[Vendor]:
    """A vendor that is there."""
    one = Vendor()
    thread = threading.Thread(target=one.serve, daemon=True)
    thread.start()
    try:
        yield one
    finally:
        one.listener.shutdown(socket.SHUT_RDWR)
        one.listener.close()
        thread.join()


def look_at(port: int, **limits: Any) -> Tool:
    """A read of the vendor."""

    @tool(effect="read", retry=Retry(attempts=1), **limits)
    async def look(name: str) -> str:
        """Look."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            answer = await reader.readline()
        finally:
            writer.close()
        if not answer:
            raise ToolFailed("it hung up", failure="upstream")
        return answer.decode().strip()

    return look


async def ask_often(run: Run, task: Job) -> None:
    """As many looks as the task says, eight at a time."""
    for first in range(0, task.calls, 8):
        names = [f"{task.id} {number}" for number in range(first, min(first + 8, task.calls))]
        await run.gather([("look", {"name": name}) for name in names])


async def ask_until(run: Run, task: Job) -> None:
    """Look again and again, whatever comes of it, until it has gone through that often in a row."""
    row, number = 0, 0
    while row < task.calls:
        number += 1
        try:
            await run.call("look", name=f"{task.id} {number}")
        except ToolFailed:
            row = 0
            await asyncio.sleep(0.02)
        else:
            row += 1


async def drive(folder: Path, look: Tool, program: Any, jobs: list[Job]) -> None:
    """Drive these jobs to their end."""
    agent = Agent(
        name="clerk",
        owner="tests",
        prompt="none",
        models=["scripted:none"],
        tools=[look],
        policy={"rules.cedar": PERMIT},
        task=Job,
        source="{id}",
        program=program,
        budget=Budget(tool_calls=100_000),
    )
    Turns.path = folder / "turns"
    async with open_runtime(
        f"sqlite:///{folder / 'journal.db'}",
        agents=[agent],
        models={"scripted:none": ScriptedModel("none", lambda *_: say("none"))},
        durability="relaxed",
        wrap_store=Turns,
    ) as runtime:
        outcomes = await runtime.drive_all(await runtime.submit(agent, jobs))
        assert {outcome.name for outcome in outcomes} <= {"unverified"}, [one.reason for one in outcomes]


def test_a_rate_is_kept_by_all_processes_together(tmp_path: Path) -> None:
    """Turns are never closer than declared, nobody is early, and little of the limit goes unused.

    What the vendor counts in a second may be above the limit by what was held up on its way, and by no more: the time
    between a turn and the vendor is measured.
    """
    with vendor() as site:
        look = look_at(site.port, rate=Rate(calls=RATE), timeout_s=30.0)
        asyncio.run(drive(tmp_path, look, ask_often, []))
        each = RATE * SECONDS // PROCESSES // 3
        children = [
            fork(
                lambda n=number: drive(
                    tmp_path, look, ask_often, [Job(id=f"p{n}-{job}", calls=each) for job in range(3)]
                )
            )
            for number in range(PROCESSES)
        ]
        codes = [os.waitpid(child, 0)[1] for child in children]

    due = sorted(int(line) / 1e6 for line in (tmp_path / "turns").read_text().split())
    arrived = sorted(site.asked)
    held_up = [late - at for at, late in zip(due, arrived, strict=True)]
    per_s = (len(arrived) - 1) / (arrived[-1] - arrived[0])
    print(
        f"\nrate: {PROCESSES} processes, limit {RATE}/s: {len(arrived)} requests at {per_s:.1f}/s, most in a second"
        f" {site.most_within(1.0)}; turns at least {1e3 * min(b - a for a, b in pairwise(due)):.3f} ms apart;"
        f" held up {1e3 * statistics.median(held_up):.1f} ms, at most {1e3 * max(held_up):.1f} ms"
    )
    assert codes == [0] * PROCESSES
    assert len(arrived) == each * 3 * PROCESSES
    assert min(later - earlier for earlier, later in pairwise(due)) >= 0.999 / RATE
    assert min(held_up) >= 0
    assert site.most_within(1.0) <= RATE + math.ceil(RATE * max(held_up))
    assert per_s >= 0.8 * RATE
    assert verify_database(tmp_path / "journal.db").is_ok


def test_a_vendor_that_is_down_sees_few_requests_of_all_processes(tmp_path: Path) -> None:
    """The failures that open the breaker, what was under way then, and one trial for each pause; then it closes."""
    with vendor() as site:
        look = look_at(
            site.port, breaker=Breaker(failures=FAILURES, within_s=60, pause_s=PAUSE_S), timeout_s=5.0
        )
        asyncio.run(drive(tmp_path, look, ask_until, []))
        site.is_down = True
        children = [
            fork(lambda n=number: drive(tmp_path, look, ask_until, [Job(id=f"p{n}", calls=5)]))
            for number in range(PROCESSES)
        ]
        time.sleep(3)
        down = list(site.asked)
        site.is_down = False
        codes = [os.waitpid(child, 0)[1] for child in children]

    trials = int((down[-1] - down[0]) / PAUSE_S) + 1
    print(
        f"\nbreaker: {PROCESSES} processes against a vendor that is down for 3 s: {len(down)} requests reached it"
        f" ({FAILURES} failures open it, at most {trials} trials); up again: {len(site.answered)} went through"
    )
    assert codes == [0] * PROCESSES
    assert FAILURES < len(down) <= FAILURES + (PROCESSES - 1) + trials
    assert len(site.answered) >= PROCESSES * 5
    assert verify_database(tmp_path / "journal.db").is_ok
