"""Event loops ask, one thread answers: what waits is taken together, and each is answered on its own loop."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from answerable.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FULL = 4096
"""More than this waiting is an error: whoever answers does not keep up."""
Ask = TypeVar("Ask")
Answer = TypeVar("Answer")


class Mailbox(Generic[Ask, Answer]):
    """A queue, and the thread that owns whatever `answer` works with.

    `answer` is given up to `at_once` asks, or fewer once their `size` comes to `size_max`, and returns an answer or an
    error for each. The thread begins with the first ask.
    """

    def __init__(
        self,
        name: str,
        answer: Callable[[list[Ask]], Sequence[Answer | BaseException]],
        *,
        at_once: int,
        size: Callable[[Ask], int] = lambda _: 0,
        size_max: int = 1,
    ) -> None:
        self._name = name
        self._answer = answer
        self._at_once = at_once
        self._size = size
        self._size_max = size_max
        self._queue: queue.SimpleQueue[
            tuple[Ask, asyncio.AbstractEventLoop, asyncio.Future[Answer]] | None
        ] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many asks nobody has taken yet."""
        return self._queue.qsize()

    def ask(self, ask: Ask) -> asyncio.Future[Answer]:
        """Put an ask into the queue. Called on an event loop; the answer comes there."""
        if self._thread is None:
            self._begin()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._queue.put((ask, loop, future))
        return future

    def _begin(self) -> None:
        with self._guard:  # the first asks may come on several loops
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Answer everything that waits, and stop."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            jobs = [first]
            size = self._size(first[0])
            is_last = False
            while len(jobs) < self._at_once and size < self._size_max:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    is_last = True
                    break
                jobs.append(more)
                size += self._size(more[0])
            try:
                answers = self._answer([ask for ask, _, _ in jobs])
            except BaseException as error:  # noqa: BLE001 - the callers must hear of it, whatever it was
                answers = [error] * len(jobs)
            told: dict[
                asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Answer], Answer | BaseException]]
            ] = {}
            for (_, loop, future), answer in zip(jobs, answers, strict=True):
                told.setdefault(loop, []).append((future, answer))
            for loop, those in told.items():
                try:
                    loop.call_soon_threadsafe(_tell, those)
                except RuntimeError:  # it is closed: nobody waits there any more
                    continue
            if is_last:
                return


async def post(box: Mailbox[Ask, Answer], ask: Ask) -> Answer:
    """Ask for something that is done or not: a cancelled caller waits for the answer, however often it is cancelled.

    Raises `JournalError` where too much waits already; nothing is done then.
    """
    if box.waiting > FULL:
        raise JournalError("the journal does not keep up with what is asked of it", hint="run fewer at once")
    future = box.ask(ask)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        raise


def _tell(those: list[tuple[asyncio.Future[Answer], Answer | BaseException]]) -> None:
    for future, answer in those:
        if future.done():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
