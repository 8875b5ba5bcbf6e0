"""A canary in the place of each credential: it must be found nowhere, whatever a tool does with it.

The tools of `leaky/` raise, return, quote and log their credential. A model that repeats everything it is
told reads their answers. Then every byte that the program wrote, printed or sent is searched.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest
from tests.scenarios_provider.openai_server import Call, Reply, Server, Status, start_server

from answerable import Secret
from answerable.engine.redact import Redactor
from answerable.journal.verify import verify_database
from answerable.kernel import events
from answerable.kernel.ids import run_stream
from answerable.project import load_project, open_project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.scenarios_provider.openai_server import Behaviour, Request

pytest.importorskip("openai")

LEAKY = Path(__file__).parent / "leaky"
REPOSITORY = Path(__file__).parents[2]
TOKEN = "tok-canary-4e\"1b'7\\c0/9d é-2f6a81"
"""With everything in it that is written differently in JSON, in an address and in Python."""
KEY = "sk-canary-provider-90ab12cd"
HOOK = "hook-canary-55aa77cc"
PIECES = [b"canary-4e", b"2f6a81", b"canary-provider", b"hook-canary", base64.b64encode(TOKEN.encode())[4:40]]
"""Long enough to be no accident, and short enough to find what was cut, quoted or escaped."""


def told(request: Request) -> list[dict[str, Any]]:
    """The messages of a request."""
    return list(request.body["messages"])


def parrot(request: Request) -> Behaviour:
    """A model that uses the tool of its task once, then repeats what it was told."""
    messages = told(request)
    answers = [str(message["content"]) for message in messages if message["role"] == "tool"]
    if answers:
        return Reply(f"I was told: {answers[-1]}")
    task = json.loads(next(message["content"] for message in messages if message["role"] == "user"))
    if task["tool"] == "refused":
        return Status(code=401, message=f"Incorrect API key provided: {KEY}.")
    return Call(task["tool"], "{}")


class Hook:
    """A webhook on loopback that keeps what it was sent."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                hook.received.append(str(self.headers).encode() + body)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base names it so
                """Say nothing."""

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/hook"


@contextlib.contextmanager
def listening() -> Iterator[Hook]:
    """A webhook until the block ends."""
    hook = Hook()
    thread = threading.Thread(target=hook.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        hook.http.shutdown()
        hook.http.server_close()
        thread.join()


def make_project(directory: Path, hook: Hook) -> Path:
    """A copy of the leaky project in `directory` that knows where its webhook is."""
    project = directory / "project"
    (project / "policy").mkdir(parents=True)
    for name in ("leaky.py", "policy/leaky.cedar"):
        (project / name).write_bytes((LEAKY / name).read_bytes())
    notify = f'\n[notify]\nwebhook = "{hook.url}"\nsecret_env = "LEAKY_HOOK"\n'
    (project / "answerable.toml").write_text((LEAKY / "answerable.toml").read_text("utf-8") + notify, "utf-8")
    return project


def tools_of(project: Path) -> list[str]:
    """The tools, which are the tasks too; for `refused` the provider does not let the model in."""
    return [*(tool.name for tool in load_project(project).agents["leaky"].tools), "refused"]


def leaks(where: str, data: bytes) -> list[str]:
    """The pieces of canaries in some bytes."""
    return [
        f"{piece!r} in {where}: {data[max(0, data.find(piece) - 80) :][:200]!r}"
        for piece in PIECES
        if piece in data
    ]


def leaks_in(directory: Path) -> list[str]:
    """The pieces of canaries in every file of a folder, whatever it is."""
    files = [path for path in directory.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert files
    return [leak for path in files for leak in leaks(str(path), path.read_bytes())]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("LEAKY_TOKEN", TOKEN)
    monkeypatch.setenv("LEAKY_HOOK", HOOK)


@pytest.mark.parametrize("durability", ["full", "relaxed"])
async def test_no_credential_is_in_the_journal_while_it_is_open(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    durability: Any,
) -> None:
    """Every tool leaks what it can; the database, its log, what model and caller saw are clean."""
    caplog.set_level(0)
    with listening() as hook, start_server(parrot) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        project = load_project(make_project(tmp_path, hook))
        names = tools_of(project.directory)
        async with open_project(project, durability=durability) as runtime:
            runs = await runtime.submit("leaky", [{"id": name, "tool": name} for name in names])
            outcomes = dict(zip(names, await runtime.drive_all(runs, concurrency=2), strict=True))
            wal = project.directory / "leaky.db-wal"
            assert wal.stat().st_size > 0
            found = leaks_in(project.directory)
        found += leaks_in(project.directory)
        sent = [request.raw for request in server.requests]

    found += [leak for raw in sent for leak in leaks("a request to the model", raw)]
    found += [leak for body in hook.received for leak in leaks("the webhook", body)]
    found += [
        leak for name in names for leak in leaks(f"the outcome of {name}", repr(outcomes[name]).encode())
    ]
    found += leaks("the logs", "\n".join(record.getMessage() for record in caplog.records).encode())
    found += leaks("the logs", caplog.text.encode())
    found += leaks("the output", "".join(capfd.readouterr()).encode())
    assert found == []
    assert hook.received
    assert "Secret(***)" in caplog.text
    assert verify_database(project.directory / "leaky.db").findings == ()
    ended = {name: (outcome.name, outcome.code) for name, outcome in outcomes.items()}
    assert ended == {
        **dict.fromkeys(names, ("unverified", None)),
        "lost": ("escalated", "effect_unknown"),
        "ask_first": (None, None),
        "refused": ("failed", "model_failure"),
    }


async def test_a_credential_in_a_result_is_replaced_before_anybody_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`***` stands where it was, in values, texts and names; the write that returned it is still done."""
    with listening() as hook, start_server(parrot) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        project = load_project(make_project(tmp_path, hook))
        async with open_project(project) as runtime:
            names = ["returned", "returned_by_write", "returned_in_form"]
            runs = await runtime.submit("leaky", [{"id": name, "tool": name} for name in names])
            outcomes = await runtime.drive_all(runs, concurrency=1)
            entries = [await runtime.store.entries(run_stream(run)) for run in runs]
        answers = [str(outcome.answer).removeprefix("I was told: ") for outcome in outcomes]

    assert json.loads(answers[0])["result"] == {
        "name": "***",
        "headers": {"authorization": "Bearer ***", "***": "x"},
        "notes": ["a", "***"],
    }
    assert json.loads(answers[1])["result"] == "done with ***"
    ended = [[e for entry in run for e in entry.events if isinstance(e, events.CallEnded)] for run in entries]
    assert [(each.state, each.failure) for (each,) in ended] == [
        ("done", None),
        ("done", None),
        ("done", "schema"),  # what is left does not fit: done, with a result that nobody can use
    ]


def command(directory: Path, server: Server, *arguments: str) -> bytes:
    """Everything that `answerable ...` prints, on both channels: data first."""
    done = subprocess.run(
        [sys.executable, "-m", "answerable", *arguments],
        cwd=directory,
        env=os.environ | {"OPENAI_BASE_URL": server.base_url, "PYTHONPATH": str(REPOSITORY / "src")},
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr.decode()
    return done.stdout + done.stderr


def test_no_credential_leaves_by_the_command_line(tmp_path: Path) -> None:
    """Run, list, explain, export, back up, examine, replay: no output and no file holds a piece of one."""
    with listening() as hook, start_server(parrot) as server:
        project = make_project(tmp_path, hook)
        names = tools_of(project)
        tasks = project / "tasks.jsonl"
        tasks.write_text("".join(json.dumps({"id": name, "tool": name}) + "\n" for name in names), "utf-8")
        found = leaks("run", command(project, server, "run", ".", "--input", str(tasks), "--json"))
        listed = command(project, server, "runs", "--json")
        rows, _ = json.JSONDecoder().raw_decode(listed.decode())
        runs = [row["run"] for row in rows]
        assert len(runs) == len(names)
        found += leaks("runs", listed)
        lost = next(row["run"] for row in rows if row["outcome"] == "escalated")
        for form in ([], ["--json"], ["--packet"], ["--packet", "--json"]):
            found += leaks(f"show {form}", command(project, server, "show", lost, *form))
        for name in ("raised_as_config", "refused"):
            found += leaks(
                f"show {name}", command(project, server, "show", runs[names.index(name)], "--json")
            )
        found += leaks("replay", command(project, server, "replay", runs[0]))
        found += leaks(
            "head", command(project, server, "audit", "head", "--out", str(tmp_path / "head.json"))
        )
        found += leaks("backup", command(project, server, "backup", str(tmp_path / "copy.db")))
        found += leaks("doctor", command(project, server, "doctor"))
        found += leaks(
            "verify", command(project, server, "audit", "verify", "--head", str(tmp_path / "head.json"))
        )
    found += leaks_in(tmp_path)

    assert found == []
    assert (tmp_path / "head.json").is_file()
    assert (tmp_path / "copy.db").is_file()


def test_a_credential_is_known_in_every_way_that_it_is_commonly_written() -> None:
    """As it is, as JSON, as Python quotes it, in an address; whichever secret is longer goes first."""
    redactor = Redactor([Secret(TOKEN), Secret("tok-"), Secret("tok-canary")])

    for written in (TOKEN, repr(TOKEN)[1:-1], json.dumps(TOKEN)[1:-1], quote(TOKEN), quote_plus(TOKEN)):
        assert redactor.text(f"a {written} b") == "a *** b"
    assert redactor.text("tok-canary tok-x") == "*** ***x"
    assert redactor.value({"a": [TOKEN, 1, None, {TOKEN: True}]}) == {"a": ["***", 1, None, {"***": True}]}


def test_a_value_that_is_too_short_to_be_a_credential_is_left_alone() -> None:
    """An empty or tiny secret would be found in everything, and replacing it would destroy results."""
    redactor = Redactor([Secret(""), Secret("1")])

    assert redactor.value({"amount": "1.10"}) == {"amount": "1.10"}


def test_an_error_that_cannot_be_said_is_named() -> None:
    """An exception whose text cannot be made is still an answer."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError(TOKEN)

    assert Redactor([Secret(TOKEN)]).words(Mute()) == "Mute"
