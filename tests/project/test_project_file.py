"""The project folder: read strictly, or refused with what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from answerable.errors import ConfigError, InputError, JournalBehindHead, PolicyError
from answerable.project import example_dir, load_project, open_store, read_tasks


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A copy of the example, to be spoilt."""
    folder = tmp_path / "desk"
    shutil.copytree(example_dir(), folder, ignore=shutil.ignore_patterns("__pycache__", "*.db*"))
    return folder


def change(desk: Path, file: str, old: str, new: str) -> None:
    """Spoil one thing."""
    path = desk / file
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("answerable.toml", 'tenant = "default"', 'tennant = "default"', "tennant"),
        ("answerable.toml", 'tenant = "default"', "tenant = 1", "project.tenant"),
        ("answerable.toml", 'module = "desk.py"', 'module = "dsk.py"', "there is no `dsk.py`"),
        ("answerable.toml", "[project]", "[project", "cannot be read"),
        ("answerable.toml", 'standard = "90d"', 'standard = "ninety days"', "is not a duration"),
        ("answerable.toml", 'tenant = "default"', 'prices = "none.toml"', "there is no price file"),
        (
            "answerable.toml",
            "[retention]",
            '[[approvers]]\nname = "dana"\nroles = ["x"]\npublic_key = "zz"\n[retention]',
            "is not an Ed25519 key",
        ),
        (
            "answerable.toml",
            "[retention]",
            '[notify]\ncommand = ["a"]\nwebhook = "http://127.0.0.1"\n[retention]',
            "a command and a webhook",
        ),
        ("desk.py", "from .clerk import clerk", "from .clrk import clerk", "cannot be loaded"),
    ],
)
def test_a_mistake_in_a_project_is_named(desk: Path, file: str, old: str, new: str, message: str) -> None:
    """A typo never means a default."""
    change(desk, file, old, new)
    with pytest.raises(ConfigError, match=message):
        load_project(desk)


def test_a_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    """With the way to make one."""
    with pytest.raises(ConfigError, match=r"there is no `answerable\.toml`"):
        load_project(tmp_path)


def test_two_projects_with_the_same_last_folder_do_not_mix(tmp_path: Path) -> None:
    """Each is loaded from its own files, however alike their paths end."""
    for name in ("first-home-of-somebody", "other-home-of-somebody"):
        shutil.copytree(
            example_dir(), tmp_path / name / "my-desk", ignore=shutil.ignore_patterns("__pycache__")
        )
    change(
        tmp_path / "other-home-of-somebody" / "my-desk",
        "desk.py",
        'owner="support-platform"',
        'owner="others"',
    )

    first = load_project(tmp_path / "first-home-of-somebody" / "my-desk")
    other = load_project(tmp_path / "other-home-of-somebody" / "my-desk")

    assert first.agents["refund-desk"].owner == "support-platform"
    assert other.agents["refund-desk"].owner == "others"


def test_no_policy_means_no_runs(desk: Path) -> None:
    """An empty or missing policy folder is refused, never taken for permission."""
    for path in (desk / "policy").glob("*.cedar"):
        path.unlink()
    assert list((desk / "policy" / "invariants").glob("*.cedar")), "invariants are no rules"
    with pytest.raises(PolicyError, match=r"has no \.cedar file"):
        load_project(desk).bundle("refund-desk")
    shutil.rmtree(desk / "policy")
    with pytest.raises(PolicyError, match="there is no policy folder"):
        load_project(desk).bundle("refund-desk")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("{", "line 1.*not JSON"),
        ("[]", "line 1.*not a JSON object"),
        ('{"id": "T-1"}', "line 1.*customer_email"),
        ('{"id": "T-9001", "id": "T-9002"}', "line 1.*twice"),
        ("", "holds no task"),
        (
            '{"id":"T-9001","customer_email":"a@example.com","request":"other"}\n' * 2,
            "line 2.*there already, in line 1",
        ),
        ('{"id":"T-9001","customer_email":"a@example.com","request":"other","extra":1}', "line 1.*extra"),
    ],
)
def test_a_wrong_task_is_named_by_its_line(desk: Path, tmp_path: Path, lines: str, message: str) -> None:
    """Malformed, incomplete, twice, unknown fields: nothing of the file is accepted."""
    path = tmp_path / "tickets.jsonl"
    path.write_text(lines, "utf-8")
    with pytest.raises(InputError, match=message):
        read_tasks(path, load_project(desk).agents["refund-desk"])


def test_tasks_come_as_csv_too(desk: Path, tmp_path: Path) -> None:
    """With a header; an empty field is a field that is not given."""
    path = tmp_path / "tickets.csv"
    path.write_text("id,customer_email,request,order_id\nT-9001,a@example.com,other,\n", "utf-8")

    (task,) = read_tasks(path, load_project(desk).agents["refund-desk"])

    assert (task.id, task.order_id) == ("T-9001", None)  # type: ignore[attr-defined]
    path.write_text("id,customer_email,request\nT-9001,a@example.com\n", "utf-8")
    with pytest.raises(InputError, match="as many fields"):
        read_tasks(path, load_project(desk).agents["refund-desk"])
    with pytest.raises(InputError, match="neither"):
        read_tasks(tmp_path / "tickets.xml", load_project(desk).agents["refund-desk"])


async def _open(url: str, **options: bool) -> tuple[str, str]:
    store = await open_store(url, **options)  # pyright: ignore[reportArgumentType]
    try:
        return store.journal, store.public_key
    finally:
        await store.close()


def test_a_journal_without_its_key_is_read_and_never_given_another(tmp_path: Path) -> None:
    """A restored copy comes without the key: it opens, and no wrong key appears beside it."""
    import asyncio

    url = f"sqlite:///{tmp_path / 'j.db'}"
    first = asyncio.run(_open(url))
    (tmp_path / "j.db.key").unlink()

    assert asyncio.run(_open(url)) == first
    assert not (tmp_path / "j.db.key").exists()


def test_yesterdays_file_is_refused_until_the_loss_is_accepted(tmp_path: Path) -> None:
    """The head that was exported from it remembers more than the file holds."""
    import asyncio

    from answerable.engine.halting import halt_in
    from answerable.engine.ports import system_ports
    from answerable.journal.heads import export_head
    from answerable.journal.verify import verify_database
    from answerable.kernel.events import HaltRaised

    path = tmp_path / "j.db"
    url = f"sqlite:///{path}"

    async def day() -> None:
        store = await open_store(url)
        await halt_in(store, system_ports(), HaltRaised, "all", by="dana", reason="drill")
        await export_head(store, tmp_path / "head.json")
        await store.close()

    asyncio.run(_open(url))
    yesterday = path.read_bytes()
    asyncio.run(day())
    path.write_bytes(yesterday)
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)

    with pytest.raises(JournalBehindHead, match="older than the head"):
        asyncio.run(_open(url))
    assert not verify_database(path, head=tmp_path / "head.json").is_ok
    asyncio.run(_open(url, accept_loss=True))
    asyncio.run(_open(url))
    assert verify_database(path).is_ok


def test_a_runtime_gets_to_know_an_agent_with_its_first_task(tmp_path: Path) -> None:
    """`open_runtime(url)` and `runtime.run(agent, task)` are enough; a name alone is not known before."""
    import asyncio

    from answerable import Agent, Arguments, open_runtime, tool
    from answerable.models.scripted import ScriptedModel, say

    class Note(Arguments):
        """What is given."""

        text: str

    @tool(effect="read")
    async def look(place: str) -> str:
        """Look."""
        return place

    rules = '@id("may")\n@text("May.")\npermit (principal == Agent::"clerk", action, resource);\n'
    clerk = Agent(
        name="clerk",
        owner="tests",
        prompt="Answer.",
        models=["scripted:clerk"],
        tools=[look],
        policy={"rules.cedar": rules},
        task=Note,
    )

    async def story() -> None:
        models = {"scripted:clerk": ScriptedModel("clerk", lambda *_: say("done"))}
        async with open_runtime(f"sqlite:///{tmp_path / 'j.db'}", models=models) as runtime:
            with pytest.raises(ConfigError, match="does not know the agent `clerk`"):
                await runtime.run("clerk", {"text": "hello"})
            assert (await runtime.run(clerk, {"text": "hello"})).name == "unverified"
            assert (await runtime.run("clerk", {"text": "again"})).name == "unverified"
            with pytest.raises(PolicyError):
                await runtime.run(Agent(**{**vars(clerk), "name": "other", "policy": {}}), {"text": "hello"})

    asyncio.run(story())
