"""A virtual event loop for several simulated processes in one thread: time jumps, and one seed is one exact order.

Every callback belongs to the process in whose context it was scheduled. Within a process callbacks run in the order that
asyncio promises; between processes there is no order, so the seed chooses. A process that is dead runs nothing any more,
not even a `finally`; one that is paused keeps what it should have run, until it is woken.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

_PROCESS: ContextVar[Process | None] = ContextVar("answerable_simulated_process", default=None)
CLOSE_TRIES = 8
"""How often a coroutine that is left over may answer to being closed by waiting for something else."""


STEPS_MAX = 300_000
"""More callbacks than any world needs: somebody goes round in circles."""


class NothingToDo(Exception):
    """Nobody is ready and nobody sleeps: everything waits for something that will never come."""


class NeverEnds(Exception):
    """Somebody goes round in circles."""


class Process:
    """One simulated process: what it has still to run, and whether it lives."""

    def __init__(self, loop: SimLoop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.is_dead = False
        self.is_paused = False
        self.paused_since = 0.0
        self.woken_at = -1.0
        self.steps = 0
        """How many callbacks it has run: a way to name every await at which something can happen to it."""
        self.at_step: dict[int, Callable[[], None]] = {}
        self.queue: deque[_Handle] = deque()
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._kept: list[object] = []
        self._context = copy_context()
        self._context.run(_PROCESS.set, self)

    def start(self, main: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine in this process."""
        return self.loop.create_task(main, context=self._context.copy())

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call something in this process, after a while."""
        return self.loop.call_later(delay, callback, *args, context=self._context)

    def kill(self) -> None:
        """Nothing of it runs any more. What it had in hand is kept, so that nothing is tidied up either."""
        self.is_dead = True
        self._kept = [*self.tasks, *self.queue]
        self.queue.clear()

    def pause(self) -> None:
        """Run nothing for a while; then go on as if nothing had been."""
        if not self.is_dead and not self.is_paused:
            self.is_paused, self.paused_since = True, self.loop.time()

    def wake(self) -> None:
        """Go on."""
        self.is_paused, self.woken_at = False, self.loop.time()

    def take(self, handle: _Handle) -> None:
        """Queue a callback; a dead process only keeps it."""
        (self._kept if self.is_dead else self.queue).append(handle)

    def step(self) -> None:
        """Run the next callback, or what is to happen in its place."""
        self.steps += 1
        happens = self.at_step.pop(self.steps, None)
        if happens is not None:
            happens()
            return
        handle = self.queue.popleft()
        if not handle.cancelled():
            handle.run()

    def dispose(self) -> None:
        """Close what is left over, once nothing that it does can matter any more."""
        for task in list(self.tasks):
            if task.done():
                continue
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
            for _ in range(CLOSE_TRIES):
                try:
                    task.get_coro().close()  # type: ignore[union-attr]
                except BaseException:  # noqa: BLE001, S112 - the world is over
                    continue
                break
        self.queue.clear()
        self._kept.clear()


class _Handle(asyncio.TimerHandle):
    """A callback, and the process that it belongs to."""

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: SimLoop,
        context: Context | None,
    ) -> None:
        context = context if context is not None else copy_context()
        super().__init__(when, callback, args, loop, context)
        self.process = context.get(_PROCESS) or loop.outside

    def run(self) -> None:
        """Call it, in its context."""
        self._run()


class SimLoop(asyncio.AbstractEventLoop):
    """See the module. It has what asyncio itself needs of a loop, and no files, sockets or threads."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._now = 0.0
        self._order = 0
        self._timers: list[tuple[float, int, _Handle]] = []
        self._is_closed = False
        self._is_running = False
        self.failures: list[str] = []
        """What asyncio would have logged: exceptions that nobody took."""
        self.processes: list[Process] = []
        self.outside = self.process("outside")

    def process(self, name: str) -> Process:
        """One more process."""
        process = Process(self, name)
        self.processes.append(process)
        return process

    def run_until_complete(self, future: Any) -> Any:
        """Run until `future` is done. Raises `NothingToDo` where it never will be."""
        task = asyncio.ensure_future(future, loop=self)
        asyncio._set_running_loop(self)  # noqa: SLF001 - the documented way for a loop of one's own
        self._is_running = True
        try:
            for _ in range(STEPS_MAX):
                if task.done():
                    return task.result()
                self._step()
            raise NeverEnds
        finally:
            self._is_running = False
            asyncio._set_running_loop(None)  # noqa: SLF001

    def _step(self) -> None:
        """One callback of one process, or a jump in time."""
        while self._timers and self._timers[0][0] <= self._now:
            self._hand_over(heapq.heappop(self._timers)[2])
        ready = [process for process in self.processes if process.queue and not process.is_paused]
        if ready:
            (ready[0] if len(ready) == 1 else self._dice.choice(ready)).step()
        elif self._timers:
            when, _, handle = heapq.heappop(self._timers)
            if handle.cancelled():
                return
            self._now = max(self._now, when)
            self._hand_over(handle)
        else:
            raise NothingToDo

    def _hand_over(self, handle: _Handle) -> None:
        if not handle.cancelled():
            handle.process.take(handle)

    def close(self) -> None:
        """Close what is left over of every process."""
        self._is_closed = True
        for process in self.processes:
            process.dispose()
        self._timers.clear()

    # What asyncio asks of a loop

    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self._now

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """See `asyncio`."""
        handle = _Handle(self._now, callback, args, self, context)
        handle.process.take(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """See `asyncio`. There is one thread."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See `asyncio`."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See `asyncio`."""
        handle = _Handle(when, callback, args, self, context)
        self._order += 1
        heapq.heappush(self._timers, (when, self._order, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """What a cancelled timer tells its loop; it is dropped when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        """See `asyncio`."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> Any:
        """See `asyncio`. The task belongs to the process of its context."""
        context = context if context is not None else copy_context()
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        (context.get(_PROCESS) or self.outside).tasks.add(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Call a synchronous function inline, a moment later: there is one thread."""
        del executor
        future = self.create_future()

        def call() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001 - as a thread would hand it over
                future.set_exception(error)

        self.call_soon(call)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what asyncio would have logged."""
        if not self._is_closed:
            culprit = context.get("task") or context.get("future")
            self.failures.append(f"{context.get('message')}: {context.get('exception')!r} {culprit}")

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """Whether it is in `run_until_complete`."""
        return self._is_running

    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._is_closed

    def stop(self) -> None:
        """There is nothing to stop: it runs until its future is done."""


def process_now() -> Process | None:
    """The simulated process whose code is running."""
    return _PROCESS.get()
