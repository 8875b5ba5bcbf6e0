"""Tools that keep their word pass; each way to break it is caught, and said in a sentence that names it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel
from tests.unit.testing.contract_shop import (
    MODES,
    Shop,
    caught,
    check,
    draft_note,
    keyed,
    keyed_in_thread,
    lose,
    made,
    put_over,
    shop_of,
    unkeyed_in_thread,
)

from answerable import EffectKey, NotDone, Retry, Secret, ToolFailed, tool
from answerable.gates.pipeline import Permit
from answerable.kernel.tool import WriteMode

TOKEN = "tok-5f2a90c1d7"


# Tools that keep their word


@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("mode", MODES)
async def test_a_tool_that_keeps_its_word_passes(mode: str, attempts: int) -> None:
    """In every mode, with its undo, whether it is tried again at once or only by a later process."""
    await check(made(mode, retry=Retry(attempts=attempts, backoff_s=0.1)))


@pytest.mark.parametrize(
    ("mode", "function"), [("native_key", keyed_in_thread), ("at_most_once", unkeyed_in_thread)]
)
async def test_a_tool_that_works_in_a_thread_passes(mode: str, function: Any) -> None:
    """Without `async`, the trouble comes in the thread."""
    await check(made(mode, function))


async def test_a_tool_that_waits_without_saying_so_passes() -> None:
    """A function that is no coroutine function may still answer with something to wait for."""

    def note(name: str, *, facts: dict[str, Any], shop: object) -> str:
        """Set the text, later."""
        return put_over(name, facts=facts, shop=shop)  # type: ignore[return-value]

    await check(made("conditional", note))


@pytest.mark.parametrize("mode", ["native_key", "probe_then_write", "draft_then_commit", "at_most_once"])
async def test_a_system_may_lose_requests_and_replies_by_itself(mode: str) -> None:
    """Then the tool's own errors are under test."""
    await check(made(mode), lose=lose)


async def test_a_system_and_its_count_may_be_waited_for() -> None:
    """And the undo's arguments may come from the result."""

    async def fresh() -> dict[str, Any]:
        return {"shop": Shop()}

    async def count(resources: Any) -> int:
        return len(resources["shop"].notes)

    await check(made("native_key"), fresh=fresh, count=count, undo_arguments=lambda said: {"name": said[5:]})


async def test_a_read_changes_nothing() -> None:
    """That is its whole contract: a read whose reply is lost has failed, and nothing hangs on it."""

    @tool(effect="read", retry=Retry(attempts=1))
    async def look(*, shop: object) -> int:
        """Count the notes."""
        return len(shop_of(shop).notes)

    await check(look, arguments={})


class Note(BaseModel):
    """A note as it was made."""

    name: str
    number: int


async def test_what_to_undo_is_told_by_the_result_where_the_arguments_do_not() -> None:
    """Each argument of the undo is taken from what has its name."""

    @tool(mode="upsert")
    async def drop_number(number: int, name: str, *, shop: object) -> None:
        """Take the note of a number away."""
        shop_of(shop).notes[number : number + 1] = []

    async def note(name: str, *, key: EffectKey, shop: object) -> Note:
        """Add a note and say which."""
        await keyed(name, key=key, shop=shop)
        return Note(name="ben", number=0)

    await check(made("native_key", note, undo=drop_number))


async def test_secrets_that_are_kept_pass() -> None:
    """A credential in an error is taken out before anybody reads it."""

    async def note(name: str, *, key: EffectKey, shop: object, token: Secret) -> str:
        """Add a note with a credential."""
        assert token.reveal() == TOKEN
        try:
            return await keyed(name, key=key, shop=shop)
        except ConnectionError:
            raise ToolFailed(f"no answer for {token.reveal()}", failure="timeout") from None

    await check(made("native_key", note), secrets={"token": Secret(TOKEN)}, lose=lose)


async def test_what_a_business_key_names_may_be_found_by_it() -> None:
    """No second call with the same business key is let through, so its probe need not know the effect's key."""

    async def find_by_name(arguments: Any, *, shop: object) -> str | None:
        return f"note {arguments.name}" if any(n == arguments.name for _, n in shop_of(shop).notes) else None

    await check(made("probe_then_write", probe=find_by_name, business_key="note:{name}"))


# Tools that do not


async def plain_note(name: str, *, key: EffectKey, shop: object) -> str:
    """Add a note, and never mind the key."""
    return shop_of(shop).post("", name)


async def test_a_native_key_that_is_ignored_is_caught() -> None:
    said = await caught(
        made("native_key", plain_note),
        "`note` (native_key) breaks its contract",
        "its first reply was lost after the work was done, and the work was done more than once",
        "counted (2, '') after 2 sends, where (0, '') is nothing done and (1, '') is done once",
        "hand `key` to the system as its idempotency key",
    )

    assert said.count("\n") == 1


async def test_what_only_a_restart_brings_about_is_caught() -> None:
    """A tool that is tried once is sent a second time by the process that takes over."""
    await caught(
        made("native_key", plain_note, retry=Retry(attempts=1)),
        "the process died after the work was done and before the outcome was written, and the work was done more",
    )


async def test_a_restart_that_gives_up_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may be sent again is, also where the first process never got to it. Only the runtime could break that."""
    monkeypatch.setattr("answerable.engine.next.RESENDABLE", frozenset[WriteMode]())

    await caught(
        made("native_key", retry=Retry(attempts=1)),
        "the process died between the intent and the send, and it ended as unknown",
    )


async def test_a_native_key_that_is_changed_by_the_tool_is_caught() -> None:
    """A key of the attempt is no key of the effect."""
    drawn = iter(range(100))

    async def note(name: str, *, key: EffectKey, shop: object) -> str:
        """Add a note with a key of its own."""
        return await keyed(name, key=EffectKey(f"{key}-{next(drawn)}"), shop=shop)

    await caught(made("native_key", note), "the work was done more than once")


async def test_a_native_key_that_is_refused_the_second_time_is_caught() -> None:
    """Nobody learns then that the first was done."""

    async def note(name: str, *, key: EffectKey, shop: object) -> str:
        """Add a note, or say that there is one."""
        if shop_of(shop).has(key):
            raise NotDone("that key was used", failure="permission")
        return shop_of(shop).post(key, name)

    await caught(made("native_key", note), "it ended as unknown", "its first reply was lost")


async def test_another_key_on_the_second_attempt_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tool can bring that about; the runtime could."""

    async def knows_names(name: str, *, key: EffectKey, shop: object) -> str:
        """Add a note, once for each name."""
        return f"note {name}" if shop_of(shop).notes else shop_of(shop).post(key, name)

    keys = iter(f"{number:064}" for number in range(1000))
    monkeypatch.setattr(Permit, "effect", property(lambda _: next(keys)))

    await caught(made("native_key", knows_names), "it was sent with 2 keys")


async def test_a_send_that_an_at_most_once_may_not_have_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tool can bring that about either."""
    monkeypatch.setattr("answerable.engine.sending.RESENDABLE", frozenset(WriteMode))

    await caught(made("at_most_once"), "its first request was lost, and it was sent again")


async def test_an_upsert_that_adds_is_caught() -> None:
    async def note(name: str, *, shop: object) -> str:
        """Add a note."""
        return shop_of(shop).post("", name)

    await caught(
        made("upsert", note), "the work was done more than once", "set a state instead of adding to one"
    )


async def test_a_conditional_write_that_ignores_the_version_is_caught() -> None:
    async def note(name: str, *, facts: dict[str, Any], shop: object) -> str:
        """Set the text over whatever there is."""
        return shop_of(shop).write(name)

    await caught(
        made("conditional", note),
        "somebody else had written over the same version first, and the write over that version was taken",
        "hand the version that was decided on to the system",
    )


async def test_a_conditional_write_that_reads_the_version_by_itself_is_caught() -> None:
    """It would always be the newest, and never the one that was decided on."""

    def note(name: str, *, shop: object) -> str:
        """Set the text over the version that is there just now."""
        return shop_of(shop).write(name, shop_of(shop).version)

    await caught(made("conditional", note), "the write over that version was taken all the same")


async def nothing(arguments: Any, *, key: EffectKey, shop: object) -> str | None:
    """A probe that never finds anything."""
    return None


async def anything(arguments: Any, *, key: EffectKey, shop: object) -> str | None:
    """A probe that always finds it."""
    return f"note {arguments.name}"


async def by_name(arguments: Any, *, shop: object) -> str | None:
    """A probe that looks for the arguments."""
    return f"note {arguments.name}" if any(n == arguments.name for _, n in shop_of(shop).notes) else None


async def silent(arguments: Any, *, shop: object) -> str | None:
    """A probe that cannot tell."""
    raise ToolFailed("no answer", failure="timeout")


async def others(arguments: Any, *, key: EffectKey, shop: object) -> str | None:
    """A probe that answers with something else than the send."""
    return "note of somebody" if shop_of(shop).has(key) else None


async def yes(arguments: Any, *, key: EffectKey, shop: object) -> bool | None:
    """A probe that answers in another form."""
    return shop_of(shop).has(key) or None


@pytest.mark.parametrize("mode", ["probe_then_write", "draft_then_commit"])
@pytest.mark.parametrize(
    ("probe", "sentence"),
    [
        (nothing, "its first reply was lost after the work was done, and the work was done more than once"),
        (anything, "its first request was lost, and it is said to be done, but it is not"),
        (by_name, "its probe took for it what somebody else had done with the same arguments"),
        (silent, "its first request was lost, and it ended as unknown"),
        (others, "its probe answered 'note of somebody' for what the send had answered with 'note ana'"),
        (yes, "what it answered then does not fit its declared type"),
    ],
)
async def test_a_probe_that_does_not_tell_the_truth_is_caught(mode: str, probe: Any, sentence: str) -> None:
    await caught(made(mode, probe=probe), sentence)


async def test_a_probe_that_finds_nothing_is_caught_also_where_the_system_knows_the_key() -> None:
    """Once was luck: the mode says that what was done is found."""
    await caught(made("probe_then_write", keyed, probe=nothing), "its probe did not find what was done")


async def test_a_draft_that_commits_is_caught() -> None:
    async def eager(arguments: Any, *, key: EffectKey, shop: object) -> int:
        shop_of(shop).post(key, arguments.name)
        return await draft_note(arguments, key=key, shop=shop)

    async def note(name: str, *, draft: int, shop: object) -> str:
        """Commit what is committed."""
        return f"note {name}"

    await caught(
        made("draft_then_commit", note, draft=eager),
        "its draft alone changed something: the commit was never sent, and (1, '') is counted, not (0, '')",
    )


async def says_not_done(name: str, *, key: EffectKey, shop: object) -> str:
    """Add a note; take every error for a refusal."""
    try:
        return shop_of(shop).post(key, name)
    except ConnectionError as error:
        raise NotDone(str(error), failure="upstream") from error


async def says_done(name: str, *, key: EffectKey, shop: object) -> str:
    """Add a note; take every error for a success."""
    try:
        return shop_of(shop).post(key, name)
    except ConnectionError:
        return f"note {name}"


async def tries_twice(name: str, *, key: EffectKey, shop: object) -> str:
    """Add a note, and try again as many clients do by themselves."""
    try:
        return shop_of(shop).post(key, name)
    except ConnectionError:
        return shop_of(shop).post(key, name)


@pytest.mark.parametrize(
    ("function", "attempts", "sentence"),
    [
        (says_not_done, 3, "it was sent again"),
        (says_not_done, 1, "it ended as failed, where only a person can know"),
        (says_done, 3, "it is said to be done, but it is not"),
        (tries_twice, 3, "do not try again inside the tool"),
    ],
)
async def test_an_error_that_the_tool_misreads_is_caught(function: Any, attempts: int, sentence: str) -> None:
    """Only a system that loses requests and replies by itself can show that; a `TimeoutError` around it cannot."""
    tested = made("at_most_once", function, retry=Retry(attempts=attempts, backoff_s=0.1))

    await check(tested)
    await caught(tested, sentence, lose=lose)


async def test_a_loss_that_is_none_is_said() -> None:
    """A `lose` that loses nothing would prove nothing."""
    await caught(made("at_most_once"), "see to it that `lose` loses", lose=lambda _resources, _fault: None)


@pytest.mark.parametrize("mode", ["native_key", "probe_then_write", "draft_then_commit", "at_most_once"])
async def test_a_lost_reply_that_is_called_a_failure_is_caught(mode: str) -> None:
    """It was done, and the run is told that it was not."""

    async def note(name: str, *, key: EffectKey, shop: object) -> str:
        """Add a note; take a lost reply for a refusal."""
        was_there = shop_of(shop).has(key)
        try:
            return f"note {name}" if was_there else shop_of(shop).post(key, name)
        except ConnectionError as error:
            if not shop_of(shop).has(key):
                raise
            raise NotDone(str(error), failure="permission") from error

    more = {"draft": draft_note} if mode == "draft_then_commit" else {}

    await caught(made(mode, note, **more), "it is said to have failed, but it was done", lose=lose)
