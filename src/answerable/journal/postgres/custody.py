"""What the journal is called, and where the things are kept that must not lie in its database."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from answerable.errors import ConfigError
from answerable.journal.store import Custody

HOME_VARIABLE = "ANSWERABLE_HOME"
PORT = "5432"
_FOLDER_MODE = 0o700


def custody_of(url: str) -> Custody:
    """Key and last head lie in a folder of this machine: `ANSWERABLE_HOME`, or `.answerable` in the user's own.

    The folder is made where it is not there. Raises `ConfigError` for what is no address of a database.
    """
    host, port, database, user = _parts(url)
    home = os.environ.get(HOME_VARIABLE)
    folder = Path(home) if home else Path.home() / ".answerable"
    folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9._-]", "_", f"{host}-{port}-{database}").lstrip("._")
    return Custody(
        name=_printed(host, port, database, user), key=folder / f"{name}.key", head=folder / f"{name}.head"
    )


def name_of(url: str) -> str:
    """What people call the journal. No password is in it."""
    return _printed(*_parts(url))


def _parts(url: str) -> tuple[str, str, str, str]:
    try:
        said = conninfo_to_dict(url)
    except ProgrammingError:  # its message repeats the address, password included
        raise ConfigError(
            "the journal's address is not one of a PostgreSQL database",
            hint="it is written as postgresql://USER@HOST:PORT/DATABASE",
        ) from None
    user = str(said.get("user") or "")
    return (
        str(said.get("host") or said.get("hostaddr") or "localhost"),
        str(said.get("port") or PORT),
        str(said.get("dbname") or user or "postgres"),
        user,
    )


def _printed(host: str, port: str, database: str, user: str) -> str:
    who = f"{quote(user)}@" if user else ""
    if host.startswith("/"):
        return f"postgresql://{who}/{quote(database)}?host={host}" + (f"&port={port}" if port != PORT else "")
    return f"postgresql://{who}{host}:{port}/{quote(database)}"
