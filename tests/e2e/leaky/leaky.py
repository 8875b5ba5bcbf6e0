"""An agent whose tools leak: each one does another thing with its credential that it should not."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BaseModel, Field, TypeAdapter

from answerable import Agent, Arguments, Budget, ConfigError, NotDone, Retry, Secret, ToolFailed, tool

ONCE = Retry(attempts=1)
LOG = logging.getLogger("leaky")


class Account(BaseModel):
    """What a vendor answers that echoes too much."""

    name: str
    headers: dict[str, str]
    notes: list[str]


@tool(effect="read")
def returned(*, token: Secret) -> Account:
    """The credential comes back in the result: as a value, inside a text, and as a name."""
    clear = token.reveal()
    return Account(name=clear, headers={"authorization": f"Bearer {clear}", clear: "x"}, notes=["a", clear])


@tool(mode="upsert")
async def returned_by_write(*, token: Secret) -> str:
    """A write whose receipt holds the credential."""
    return f"done with {token.reveal()}"


@tool(mode="upsert")
def returned_in_form(*, token: Secret) -> Annotated[str, Field(pattern=r"^tok-")]:
    """A result whose form only the credential fits."""
    return token.reveal()


@tool(effect="read")
def returned_as_object(*, token: Secret) -> Any:
    """The credential itself as a result."""
    return {"token": token}


@tool(effect="read")
def returned_wrong(*, token: Secret) -> int:
    """A result of another type than declared."""
    return token.reveal()  # type: ignore[return-value]


@tool(effect="read", retry=ONCE)
def raised(*, token: Secret) -> str:
    """An error with the credential in its words."""
    raise RuntimeError(f"401 for https://shop.example/?token={token.reveal()}&x=1")


@tool(effect="read", retry=ONCE)
def raised_quoted(*, token: Secret) -> str:
    """Errors write what they quote in other forms: escaped, percent-encoded, as JSON."""
    clear = token.reveal()
    raise RuntimeError(f"{clear!r} {quote(clear, safe='')} {json.dumps(clear)}")


@tool(effect="read", retry=ONCE)
def raised_by_validation(*, token: Secret) -> str:
    """A validator quotes the beginning and the end of what it refuses."""
    TypeAdapter(int).validate_python(f"{token.reveal()}{'=' * 60}{token.reveal()}")
    return ""


@tool(effect="read", retry=ONCE)
def raised_as_config(*, token: Secret) -> str:
    """An error of a kind that the runtime itself uses."""
    raise ConfigError(f"the token {token.reveal()} is old", hint=token.reveal())


@tool(effect="read", retry=ONCE)
def raised_as_failed(*, token: Secret) -> str:
    """A failure as tools should say it, with too much in it."""
    clear: Any = token.reveal()
    raise ToolFailed(f"refused {clear}", failure=clear, hint=clear)


@tool(mode="at_most_once", retry=ONCE)
def lost(*, token: Secret) -> str:
    """A write of which nobody knows whether it happened."""
    raise RuntimeError(f"connection lost after sending {token.reveal()}")


@tool(mode="upsert", retry=ONCE)
def not_done(*, token: Secret) -> str:
    """A write that certainly did not happen."""
    raise NotDone(f"refused {token.reveal()}", failure="permission")


@tool(effect="read", retry=ONCE, timeout_s=0.1)
def raised_late(*, token: Secret) -> str:
    """An error that comes when nobody waits any more."""
    time.sleep(0.4)
    raise RuntimeError(f"late {token.reveal()}")


@tool(effect="read")
def logged(*, token: Secret) -> str:
    """The credential, logged and printed in every way that does not reveal it first."""
    LOG.warning("token %s %r %s", token, token, {"t": token})
    print(f"token {token} {token!r}", [token])
    return f"{token}"


@tool(mode="upsert")
def ask_first(*, token: Secret) -> str:
    """A write that a person is asked for; it never happens here."""
    return token.reveal()


TOOLS = [
    returned,
    returned_by_write,
    returned_in_form,
    returned_as_object,
    returned_wrong,
    raised,
    raised_quoted,
    raised_by_validation,
    raised_as_config,
    raised_as_failed,
    lost,
    not_done,
    raised_late,
    logged,
    ask_first,
]


class Task(Arguments):
    """Which tool to use."""

    id: str
    tool: str


leaky = Agent(
    name="leaky",
    owner="tests",
    prompt="Use the tool that the task names, then say what you were told.",
    models=["openai:gpt-4o-mini"],
    tools=TOOLS,
    policy=Path(__file__).parent / "policy",
    task=Task,
    source="{id}",
    budget=Budget(tool_calls=5, money="0.10", wall_clock="1m"),
)


def secrets(directory: Path) -> dict[str, Secret]:
    """The credential, by the name of the parameter that gets it."""
    del directory
    return {"token": Secret(os.environ["LEAKY_TOKEN"])}
