"""The morning's tickets, and what is no ticket."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import refund_desk
from answerable import Secret
from refund_desk.desk import Ticket, agent_for, desk, models, resources, secrets
from refund_desk.seed import PEOPLE, SALES, seed_shop
from refund_desk.shop import open_shop

HERE = Path(str(refund_desk.__file__)).parent
TICKETS = [
    Ticket.model_validate_json(line) for line in (HERE / "tickets.jsonl").read_text("utf-8").splitlines()
]
GOOD = {"id": "T-1", "customer_email": "ana@example.com", "request": "refund"}


def test_every_ticket_is_read_and_none_comes_twice() -> None:
    """A repeated id would be one run."""
    assert len(TICKETS) >= 27
    assert len({ticket.id for ticket in TICKETS}) == len(TICKETS)


def test_the_morning_has_a_bit_of_everything() -> None:
    """Languages, requests, missing orders, look-alike letters."""
    assert {ticket.language for ticket in TICKETS} == {"en", "de"}
    assert {ticket.request for ticket in TICKETS} == {"refund", "order_status", "other"}
    assert any(ticket.order_id is None for ticket in TICKETS)
    assert any(not ticket.text.isascii() and ticket.language == "en" for ticket in TICKETS)


def test_the_people_on_the_tickets_are_customers_of_the_shop() -> None:
    """And all orders but one are there."""
    assert {ticket.customer_email for ticket in TICKETS} <= {person.email for person in PEOPLE}
    unknown = {ticket.order_id for ticket in TICKETS} - {sale.order_id for sale in SALES}
    assert unknown == {None, "O-9999"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "T 1"},
        {"customer_email": "Ana <ana@example.com>"},
        {"customer_email": ""},
        {"order_id": "1001"},
        {"order_id": ""},
        {"request": "delete_everything"},
        {"amount_usd": "much"},
        {"amount_usd": "0"},
        {"amount_usd": "1e3000"},
        {"language": "xx"},
        {"text": None},
        {"text": "x" * 8001},
        {"is_approved": True},
    ],
)
def test_what_is_no_ticket_is_refused(wrong: dict[str, Any]) -> None:
    """Wrong types, unknown fields and odd addresses end here."""
    with pytest.raises(ValidationError):
        Ticket.model_validate(GOOD | wrong)


def test_only_the_essentials_are_needed() -> None:
    """Whoever writes tickets by hand writes three fields."""
    ticket = Ticket.model_validate(GOOD)

    assert (ticket.order_id, ticket.amount_usd, ticket.language) == (None, None, "en")


def test_the_desk_fits_the_shop_that_it_finds(tmp_path: Path) -> None:
    """And reading the desk does not found a shop."""
    open_shop(tmp_path / "old", seed=seed_shop, honours_keys=False)

    old = agent_for(tmp_path / "old").all_tools()["create_refund"].spec.mode
    new = agent_for(tmp_path / "new").all_tools()["create_refund"].spec.mode

    assert (old, new) == ("probe_then_write", "native_key")
    assert not (tmp_path / "new").exists()


def test_every_injected_parameter_has_a_source(tmp_path: Path) -> None:
    """A tool that lacks its shop would fail only when it is called."""
    given = set(resources(tmp_path)) | set(secrets(tmp_path)) | {"key"}
    wanted = {name for tool in desk.all_tools().values() for name, _ in tool.injected}

    assert wanted <= given
    assert all(isinstance(value, Secret) for value in secrets(tmp_path).values())
    assert set(desk.models) <= set(models(tmp_path, 0))


def test_the_settings_name_files_that_exist() -> None:
    """The module and the tickets."""
    settings = tomllib.loads((HERE / "answerable.toml").read_text("utf-8"))

    assert (HERE / settings["project"]["module"]).is_file()
    assert (HERE / settings["project"]["tickets"]).is_file()


def test_the_readme_tells_of_tickets_and_files_that_exist() -> None:
    """It tells a story about them."""
    readme = (HERE / "README.md").read_text("utf-8")
    words = {word.strip("`.,:();") for word in readme.split()}

    told = {word for word in words if word.startswith("T-")}
    assert told <= {ticket.id for ticket in TICKETS}
    assert told
    for name in (word for word in words if word.endswith((".py", ".cedar", ".md", ".jsonl"))):
        assert (HERE / name).is_file(), name


def test_the_folder_works_under_another_name_somewhere_else(tmp_path: Path) -> None:
    """That is what a user's own copy of it is."""
    shutil.copytree(HERE, tmp_path / "mine", ignore=shutil.ignore_patterns("__pycache__"))
    name = "answerable_project_of_a_test"
    found = importlib.util.spec_from_file_location(
        name, tmp_path / "mine" / "__init__.py", submodule_search_locations=[str(tmp_path / "mine")]
    )
    assert found is not None
    try:
        sys.modules[name] = importlib.util.module_from_spec(found)
        copy = importlib.import_module(f"{name}.desk")

        assert copy.desk.release() == desk.release()
        assert copy.desk.policy == tmp_path / "mine" / "policy"
    finally:
        for module in [each for each in sys.modules if each.split(".")[0] == name]:
            del sys.modules[module]
