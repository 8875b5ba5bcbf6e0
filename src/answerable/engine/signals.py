"""How the engine leaves a run's code. These are no errors: user code must not catch them."""

from __future__ import annotations


class Parked(BaseException):
    """The run waits for a person or a timer; its code is dropped and called again later."""


class Stopping(BaseException):
    """Our process is shutting down; the run stays open and is resumed by another."""


class Halted(BaseException):
    """An operator stopped the run."""

    def __init__(self, scope: str, reason: str) -> None:
        super().__init__(scope)
        self.scope = scope
        self.reason = reason


class Escalated(BaseException):
    """The run must be handed to a person."""

    def __init__(self, code: str, reason: str, *, rules: tuple[str, ...] = (), question: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.rules = rules
        self.question = question
