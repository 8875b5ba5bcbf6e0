"""Run AI agents you can answer for.

Everything a user of the package needs is a name of this module; the rooms behind it are for those who extend
it. Names are loaded when they are first used, so that `import answerable` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from answerable.engine.agent import Agent, Budget, Check, DoneCheck, Session, done_check, session
    from answerable.engine.notify import NotifySettings
    from answerable.engine.outcome import Outcome
    from answerable.engine.run import Run
    from answerable.engine.runtime import Runtime
    from answerable.errors import (
        AnswerableError,
        CallRefused,
        ConfigError,
        EffectUnknown,
        IntakeFull,
        ModelFailed,
        NotDone,
        ToolFailed,
    )
    from answerable.gates.approval import Approver
    from answerable.kernel.decision import Decision, Verdict
    from answerable.kernel.ids import EffectKey
    from answerable.kernel.marks import Hidden, Kind, Trusted
    from answerable.kernel.secret import Secret
    from answerable.kernel.throttle import Breaker, Rate
    from answerable.kernel.tool import Impact, Retry, Text, Total, UpTo
    from answerable.project import open_runtime
    from answerable.tools.declare import Arguments, Tool, fact, tool

_HOMES = {
    "answerable.engine.agent": ("Agent", "Budget", "Check", "DoneCheck", "Session", "done_check", "session"),
    "answerable.engine.notify": ("NotifySettings",),
    "answerable.engine.outcome": ("Outcome",),
    "answerable.engine.run": ("Run",),
    "answerable.engine.runtime": ("Runtime",),
    "answerable.project": ("open_runtime",),
    "answerable.errors": (
        "AnswerableError",
        "CallRefused",
        "ConfigError",
        "EffectUnknown",
        "IntakeFull",
        "ModelFailed",
        "NotDone",
        "ToolFailed",
    ),
    "answerable.gates.approval": ("Approver",),
    "answerable.kernel.decision": ("Decision", "Verdict"),
    "answerable.kernel.ids": ("EffectKey",),
    "answerable.kernel.marks": ("Hidden", "Kind", "Trusted"),
    "answerable.kernel.secret": ("Secret",),
    "answerable.kernel.throttle": ("Breaker", "Rate"),
    "answerable.kernel.tool": ("Impact", "Retry", "Text", "Total", "UpTo"),
    "answerable.tools.declare": ("Arguments", "Tool", "fact", "tool"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = [
    "Agent",
    "AnswerableError",
    "Approver",
    "Arguments",
    "Breaker",
    "Budget",
    "CallRefused",
    "Check",
    "ConfigError",
    "Decision",
    "DoneCheck",
    "EffectKey",
    "EffectUnknown",
    "Hidden",
    "Impact",
    "IntakeFull",
    "Kind",
    "ModelFailed",
    "NotDone",
    "NotifySettings",
    "Outcome",
    "Rate",
    "Retry",
    "Run",
    "Runtime",
    "Secret",
    "Session",
    "Text",
    "Tool",
    "ToolFailed",
    "Total",
    "Trusted",
    "UpTo",
    "Verdict",
    "done_check",
    "fact",
    "open_runtime",
    "session",
    "tool",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        message = f"module 'answerable' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
