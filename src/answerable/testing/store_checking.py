"""What the checks of a journal store are written with: their registry, and what a check says when it fails."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from answerable.errors import (
    AnswerableError,
)
from answerable.journal.store import Append
from answerable.testing.store_events import (
    NOW,
    TENANT,
    write_run,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from answerable.journal.store import JournalStore
    from answerable.kernel.entry import Entry, Head
    from answerable.kernel.events import Event


class StoreFactory(Protocol):
    """Opens the journal called `name`, made on first use. Opened twice, it is one journal seen by two processes."""

    async def __call__(self, name: str) -> JournalStore:
        """Open the journal called `name`."""
        ...


class StoreCheckFailed(AssertionError):
    """The store does not do what every store must do; the message says what, and in which check."""


class Stores:
    """What one check works with: its own journal, opened as often as it likes, closed for it."""

    def __init__(self, factory: StoreFactory, name: str) -> None:
        self._factory = factory
        self._name = name
        self._opened: list[JournalStore] = []

    async def open(self) -> JournalStore:
        """One more view of the check's journal."""
        store = await self._factory(self._name)
        self._opened.append(store)
        return store

    async def close(self) -> None:
        """Close whatever is still open."""
        while self._opened:
            await self._opened.pop().close()


STORE_CHECKS: dict[str, Callable[[Stores], Awaitable[None]]] = {}
"""Every check by its name, for those who want a test of their own for each."""


def check(one: Callable[[Stores], Awaitable[None]]) -> Callable[[Stores], Awaitable[None]]:
    """Register a check under its name."""
    STORE_CHECKS[one.__name__.removeprefix("_")] = one
    return one


def must(holds: bool, message: str) -> None:  # noqa: FBT001 - a claim and its words
    """Raise `StoreCheckFailed` with the message unless the claim holds."""
    if not holds:
        raise StoreCheckFailed(message)


@asynccontextmanager
async def refused(error: type[Exception], what: str) -> AsyncGenerator[None]:
    """The block must raise `error`."""
    try:
        yield
    except error:
        return
    except AnswerableError as other:
        raise StoreCheckFailed(f"{what} raised {type(other).__name__}, not {error.__name__}") from other
    raise StoreCheckFailed(f"{what} was not refused with {error.__name__}")


async def append(
    store: JournalStore, stream: str, head: Head | None, *events: Event, epoch: int = 1
) -> Entry:
    """Append one entry."""
    (entry,) = await store.append(Append(stream=stream, events=events, expect=head, epoch=epoch, now=NOW))
    return entry


async def note(store: JournalStore, *events: Event, stream: str = TENANT) -> Entry:
    """Append to a stream that any process may write."""
    return await append(store, stream, None, *events, epoch=0)


async def do(store: JournalStore, run: str, *events: Event) -> Entry:
    """Append to a run as its owner; the run is made where it is not there yet."""
    head = await store.head(f"run/{run}")
    if head.seq == 0:
        head = (await write_run(store, run)).head
    return await append(store, f"run/{run}", head, *events)
