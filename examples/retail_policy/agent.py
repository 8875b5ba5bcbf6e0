"""The retail desk: what a customer writes, and the agent that works under the shop's policy.

Start with `README.md`. `tools.py` says what the desk can do, `policy/` what it may do, `RULES.md` where each
sentence of the policy went, and `prompt.md` what the model is told.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from answerable import Agent, Arguments, Budget, Secret, Text, Trusted, session
from answerable.models.port import ModelPort
from answerable.models.scripted import ScriptedModel

from .clerk import clerk
from .seed import stock
from .shop import open_shop, shop_token
from .tools import TOOLS, find_user_id_by_email, find_user_id_by_name_zip

HERE = Path(__file__).parent


class Request(Arguments):
    """What a customer wrote. It is their own word: who they are and what they want is taken from it."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    text: Annotated[Text, Field(min_length=1, max_length=8000), Trusted()]


desk = Agent(
    name="retail-desk",
    owner="customer-service",
    prompt=HERE / "prompt.md",
    models=["scripted:clerk"],
    tools=TOOLS,
    policy=HERE / "policy",
    task=Request,
    source="{id}",
    session={"customer": session(find_user_id_by_email, find_user_id_by_name_zip, value="user_id")},
    budget=Budget(tool_calls=40, model_calls=40, tokens=400_000, money="0.40", wall_clock="2m"),
)


def resources(directory: Path) -> dict[str, object]:
    """What the tools work on, by the name of the parameter that gets it."""
    return {"shop": open_shop(directory, stock=stock)}


def secrets(directory: Path) -> dict[str, Secret]:
    """The credentials, by the name of the parameter that gets them."""
    return {"shop_token": Secret(shop_token(directory))}


def models(directory: Path, seed: int) -> dict[str, ModelPort]:
    """A program in the place of a model, so that the example runs without a key and without a network."""
    del directory
    return {"scripted:clerk": ScriptedModel("clerk", clerk, seed)}


__all__ = ["Request", "desk", "models", "resources", "secrets"]
