"""Attached runs: other code owns the loop, its calls pass the same gates."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from answerable.engine import driving
from answerable.engine.run import Run
from answerable.engine.signals import Escalated, Halted, Stopping
from answerable.errors import AnswerableError, JournalError, RunHalted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from pydantic import BaseModel

    from answerable.engine.context import Context


@asynccontextmanager
async def attached(ctx: Context, task: BaseModel) -> AsyncGenerator[Run]:
    """The block in which other code works. Leaving it ends the run; a refusal that leaves it escalates it."""
    handle = Run(ctx)
    try:
        await handle.begin(task)
        yield handle
        await handle.finish()
        ending = await driving.judge(ctx, task, None)
    except (JournalError, Stopping):
        raise
    except asyncio.CancelledError as cancelled:
        await handle.finish(is_stopped=True)
        halted = await driving.halt_in_force(ctx)
        await driving.end(ctx, halted or abandoned("the code that owned this attached run was cancelled"))
        if halted is None:
            raise
        current = asyncio.current_task()
        assert current is not None
        current.uncancel()  # it was the halt that cancelled, not somebody who wants the caller to stop
        raise RunHalted(f"the run was halted: {halted.reason}", hint="`answerable runs`") from cancelled
    except BaseException as error:
        await handle.finish()
        ending = driving.ending_for(error)
        if ending is not None:
            await driving.end(ctx, ending)
        if isinstance(error, Halted):
            raise RunHalted(f"the run was halted: {error.reason}", hint="`answerable runs`") from error
        if isinstance(error, Escalated):
            raise AnswerableError(f"the run was handed to a person: {error.reason}") from error
        raise
    else:
        await driving.end(ctx, ending)


def abandoned(reason: str = "the process that owned this attached run is gone") -> driving.Ending:
    """How an attached run ends whose owner left it."""
    return driving.Ending("abandoned", code="internal", reason=reason)
