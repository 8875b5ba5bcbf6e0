"""Every error Answerable raises, as one tree.

    AnswerableError
    ├── ConfigError            refused when it is read: project, agent, tool, key
    │   ├── ToolError          a tool that cannot be registered
    │   ├── PolicyError        a bundle that cannot be loaded
    │   └── InputError         a task file or task that cannot be accepted
    ├── JournalError           the journal could not be read or written
    │   ├── JournalConflict    the stream's head moved; nothing was written
    │   ├── JournalFenced      the run has a newer owner; stop
    │   ├── JournalBusy        another process holds the database for too long
    │   ├── JournalUnreadable  not a journal, truncated, or of another version
    │   ├── JournalBehindHead  older than a head that was exported from it
    │   ├── JournalMoved       it goes on in another store; here it can only be read
    │   └── JournalFull        no room to write
    ├── IntakeFull             too many runs of the agent are open; nothing was accepted
    ├── GuardRefused           a guard inside the intent's transaction said no
    │   ├── ClaimHeld          the same effect may already be happening
    │   ├── BudgetExceeded     the reservation does not fit
    │   ├── TotalsMoved        a total that was decided on has changed
    │   └── HaltInForce        a halt covers this run, agent or tool
    ├── CallRefused            a gate denied the call; carries the decision
    ├── EffectUnknown          the effect may have happened; nobody knows yet
    ├── ToolFailed             the tool failed and says what kind of failure it was
    │   └── NotDone            a write that certainly did not happen
    ├── ModelFailed            the model provider did not give a usable reply
    ├── ApprovalError          an approval that cannot be accepted
    ├── RunDiverged            a driven run asked for something else than its journal says
    └── RunHalted              the run was stopped by an operator

Each carries a `hint`: what to do next, in plain words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from answerable.kernel.decision import Decision


CODE_CHANGED = "the agent's code changed under an open run; run it with the release that began it"
"""What to do about a run that asks for something else than it did before."""


class AnswerableError(Exception):
    """What went wrong, and in `hint` what to do about it."""

    hint: str

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class ConfigError(AnswerableError):
    """The project, an agent or a setting is not usable as written."""


class ToolError(ConfigError):
    """A tool cannot be registered as declared."""


class PolicyError(ConfigError):
    """A policy bundle cannot be loaded."""


class InputError(ConfigError):
    """A task, or a file of tasks, cannot be accepted."""


class JournalError(AnswerableError):
    """The journal could not be read or written."""


class JournalConflict(JournalError):
    """The stream's head moved; nothing was written. Re-read, re-fold, re-decide."""


class JournalFenced(JournalError):
    """The run has a newer owner; nothing was written. Stop."""


class JournalBusy(JournalError):
    """Another process held the database for longer than we wait; nothing was written."""


class JournalUnreadable(JournalError):
    """The file is not a journal, is damaged, or has another version."""


class JournalBehindHead(JournalError):
    """The journal is older than a head that was exported from it."""


class JournalMoved(JournalError):
    """The journal goes on in another store: here it can only be read; nothing was written."""


class JournalFull(JournalError):
    """There is no room to write; nothing was written."""


class IntakeFull(AnswerableError):
    """As many runs of the agent are open as `max_open` allows; nothing was accepted. Come back later."""


class GuardRefused(AnswerableError):
    """A guard inside the intent's transaction said no; nothing was written."""


class ClaimHeld(GuardRefused):
    """The same effect is, or may be, happening already."""


class BudgetExceeded(GuardRefused):
    """A reservation does not fit what is left of a budget."""


class TotalsMoved(GuardRefused):
    """A total that the gates decided on has changed since; decide again."""


class HaltInForce(GuardRefused):
    """A halt covers this run, its agent, the tool, or everything."""


class CallRefused(AnswerableError):
    """A gate denied the call. Nothing was done."""

    decision: Decision

    def __init__(self, message: str, *, decision: Decision, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.decision = decision


class EffectUnknown(AnswerableError):
    """The effect may have happened. It is never sent again unless its write mode makes that safe."""


FailureClass = Literal[
    "timeout", "rate_limited", "circuit_open", "schema", "permission", "upstream", "not_found"
]
"""What kind of failure it was. Nobody but the engine says `circuit_open`: the tool's breaker let nothing through."""


class ToolFailed(AnswerableError):
    """A tool says that it failed and what kind of failure it was.

    For a write this still means *maybe done*: raise `NotDone` when the effect certainly did not happen.
    `retry_after_s` is in seconds.
    """

    failure: FailureClass
    retry_after_s: float | None

    def __init__(
        self,
        message: str,
        *,
        failure: FailureClass = "upstream",
        retry_after_s: float | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.failure = failure
        self.retry_after_s = retry_after_s


class NotDone(ToolFailed):
    """A write that certainly did not happen: the vendor refused it or was never reached."""


class ModelFailed(AnswerableError):
    """The model provider did not give a usable reply. `retryable` says whether another try may help."""

    retryable: bool
    failure: str
    retry_after_s: float | None
    is_billed: bool
    """Whether this attempt may have been billed: true unless the provider certainly refused it."""

    def __init__(
        self,
        message: str,
        *,
        failure: str = "upstream",
        retryable: bool = False,
        retry_after_s: float | None = None,
        is_billed: bool = True,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.failure = failure
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.is_billed = is_billed


class ApprovalError(AnswerableError):
    """An approval that cannot be accepted; nothing changed."""


class RunDiverged(AnswerableError):
    """The run's code asked for something else than what its journal says it asked before."""

    def __init__(self, message: str, *, hint: str = CODE_CHANGED) -> None:
        super().__init__(message, hint=hint)


class RunHalted(AnswerableError):
    """The run was stopped by an operator."""

    scope: ClassVar[str] = "run"
