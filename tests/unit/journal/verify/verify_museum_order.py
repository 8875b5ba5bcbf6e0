"""Exhibits: sound events where they cannot stand, in journals whose every hash was recomputed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.journal.verify.verify_builder import Journal, digest, edited, sha, word
from tests.unit.journal.verify.verify_frame import exhibit
from tests.unit.journal.verify.verify_stories import (
    EFFECT,
    INBOX,
    STREAM,
    acts,
    adopted,
    approved_via_inbox,
    asked,
    begun_by_another_release,
    crashed_and_recovered,
    created,
    decided,
    denied_via_inbox,
    ended,
    given,
    halted,
    intended,
    model_turn,
    run_with_models,
    run_with_read,
    run_with_write,
    settled,
    told,
    unknown_then_late,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def edited_event(story: Callable[[Journal], None], seq: int, number: int, /, **fields: object) -> Journal:
    """A story in which one event of the run says something else."""
    change = edited(lambda body: body["events"][number].update(fields))
    return told(story, changes={(STREAM, seq): change})


def cut(story: Callable[[Journal], None], journal: Journal, last: int) -> None:
    """Tell a story up to an entry of its run."""
    story(journal)
    journal.rows = [row for row in journal.rows if row["stream"] != STREAM or row["seq"] <= last]


# -------------------------------------------------------------------- epochs and order


@exhibit("epoch")
def epoch_falls() -> Journal:
    """An owner that was fenced off writes once more."""
    journal = told(crashed_and_recovered)
    journal.rows.remove(journal.row(STREAM, 6))
    journal.append(STREAM, ended("0.0", "create_refund", effect=EFFECT, attempt=2), epoch=2)
    return journal


@exhibit("epoch")
def epoch_without_adoption() -> Journal:
    """The epoch rises although nobody adopted the run."""
    journal = told(asked)
    journal.append(STREAM, {"type": "RunParked", "waiting_for": "timer", "wake_at": 1}, epoch=2)
    return journal


@exhibit("epoch")
def epoch_in_an_inbox() -> Journal:
    """An inbox has no owner, and so no epoch."""
    journal = told(asked)
    journal.append(INBOX, given(), epoch=1)
    return journal


@exhibit("order")
def done_without_adoption() -> Journal:
    """Work before anybody owned the run."""
    journal = Journal()
    journal.append(STREAM, created(journal), decided("0.0", "get_order", "read"))
    return journal


@exhibit("order")
def release_changed_later() -> Journal:
    """A run that was begun is pinned to another release when it is taken over."""
    return edited_event(begun_by_another_release, 4, 0, release="rel-3")


@exhibit("order")
def release_that_accepted_it() -> Journal:
    """A run that is begun by the release that accepted it, and says so as if it were another."""
    return edited_event(begun_by_another_release, 2, 0, release="rel-1")


@exhibit("order")
def intent_without_a_decision() -> Journal:
    """An intent where the last decision at its path was a denial."""
    denial = edited(lambda body: body["events"][0].update(verdict="deny"))
    return told(run_with_write, changes={(STREAM, 3): denial})


@exhibit("order")
def outcome_without_an_intent() -> Journal:
    """A write that is done, and that nobody ever intended."""
    journal = told(asked)
    journal.append(STREAM, decided("0.0", "create_refund", "write"))
    journal.append(STREAM, ended("0.0", "create_refund"))
    return journal


@exhibit("order")
def effect_without_its_intent() -> Journal:
    """An outcome names an effect that no intent names."""
    other = edited(lambda body: body["events"][0].update(effect=digest("another effect")))
    journal = told(run_with_write, changes={(STREAM, 4): other})
    journal.rows.remove(journal.row(STREAM, 5))
    return journal


@exhibit("order")
def outcome_twice() -> Journal:
    """One attempt that is done twice."""
    journal = told(run_with_write)
    journal.rows.remove(journal.row(STREAM, 5))
    journal.append(STREAM, ended("1.0", "create_refund", effect=EFFECT))
    return journal


@exhibit("order")
def intent_after_it_was_done() -> Journal:
    """A second attempt of an effect that is done: what exactly-once forbids."""
    journal = told(run_with_write)
    journal.rows.remove(journal.row(STREAM, 5))
    journal.append(STREAM, intended("1.0", "create_refund", attempt=2))
    return journal


@exhibit("order")
def attempt_left_out() -> Journal:
    """An attempt 3 after attempt 1."""
    skip = edited(lambda body: body["events"][0].update(attempt=3))
    journal = told(crashed_and_recovered, changes={(STREAM, 5): skip})
    journal.rows.remove(journal.row(STREAM, 6))
    return journal


@exhibit("order")
def something_after_the_end() -> Journal:
    """A run that goes on after it ended."""
    journal = told(run_with_read)
    journal.append(STREAM, decided("2.0", "get_order", "read"))
    return journal


@exhibit("order")
def unknown_not_listed() -> Journal:
    """A run ends without naming the effect that nobody knows about."""
    hide = edited(lambda body: body["events"][0].update(unknown=[]))
    journal = told(unknown_then_late, changes={(STREAM, 4): hide})
    journal.rows.remove(journal.row(STREAM, 5))
    return journal


@exhibit("order")
def success_with_an_unknown() -> Journal:
    """A run that claims success although an effect is unknown."""
    claim = edited(lambda body: body["events"][0].update(outcome="succeeded"))
    return told(unknown_then_late, changes={(STREAM, 4): claim})


@exhibit("order")
def messages_kept_that_never_were() -> Journal:
    """A model call keeps more messages than the call before had."""
    more = edited(lambda body: body["events"][0].update(kept=3))
    return told(run_with_models, changes={(STREAM, 5): more})


@exhibit("order")
def halt_epoch_left_out() -> Journal:
    """A halt that was raised and lifted in between is gone from the count."""
    skip = edited(lambda body: body["events"][0].update(epoch=3))
    return told(halted, changes={("tenant/default", 3): skip})


@exhibit("epoch")
def epoch_begins_at_two() -> Journal:
    """A run whose first owner is said to be the second."""
    journal = Journal()
    journal.append(STREAM, created(journal), adopted(2), epoch=2)
    return journal


@exhibit("epoch")
def adopted_within_an_epoch() -> Journal:
    """A run is adopted, and the epoch stays: the old owner could go on writing."""
    journal = told(asked)
    journal.append(STREAM, adopted(1, "recovery"))
    return journal


@exhibit("epoch")
def adopted_for_another_epoch() -> Journal:
    """The adoption names another epoch than its entry."""
    return edited_event(crashed_and_recovered, 4, 0, epoch=9)


@exhibit("order")
def adopted_behind_something_else() -> Journal:
    """A new owner does something before it adopts the run."""
    journal = told(asked)
    journal.append(STREAM, decided("1.0", "get_order", "read"), adopted(2, "wake"), epoch=2)
    return journal


@exhibit("order")
def created_twice() -> Journal:
    """A run that is created again, perhaps for somebody else."""
    journal = told(asked)
    journal.append(STREAM, created(journal))
    return journal


@exhibit("order")
def model_attempt_left_out() -> Journal:
    """A model call whose first attempt is its second."""
    return edited_event(lambda journal: cut(run_with_models, journal, 2), 2, 0, attempt=2)


@exhibit("order")
def model_reply_without_an_intent() -> Journal:
    """A reply to an attempt that nobody made."""
    return edited_event(lambda journal: cut(run_with_models, journal, 3), 3, 0, attempt=2)


@exhibit("order")
def model_reply_twice() -> Journal:
    """One attempt is answered twice."""
    journal = told(lambda journal: cut(run_with_models, journal, 3))
    _, end = model_turn(journal, "0.0", 0, [])
    journal.append(STREAM, end)
    return journal


@exhibit("order")
def effect_of_another_path() -> Journal:
    """The second attempt of an effect stands at another path, which allows it."""
    journal = told(lambda journal: cut(crashed_and_recovered, journal, 4))
    decision = decided("5.0", "create_refund", "write")
    journal.append(STREAM, decision, intended("5.0", "create_refund", attempt=2))
    return journal


@exhibit("order")
def outcome_of_another_tool() -> Journal:
    """An outcome names another tool than the intent of its effect."""
    return edited_event(run_with_write, 4, 0, tool="send_reply")


@exhibit("order")
def read_without_a_decision() -> Journal:
    """A call that no gate ever saw."""
    journal = told(asked)
    journal.append(STREAM, ended("1.0", "get_order"))
    return journal


@exhibit("order")
def read_that_was_denied() -> Journal:
    """A read that is done although the gates denied it."""
    return edited_event(run_with_read, 2, 0, verdict="deny")


@exhibit("order")
def read_done_twice() -> Journal:
    """A read with two results: nobody can say which one counted."""
    journal = told(lambda journal: cut(run_with_read, journal, 2))
    journal.append(STREAM, ended("0.0", "get_order", attempt=2))
    return journal


@exhibit("order")
def read_attempt_left_out() -> Journal:
    """A read whose first attempt is its third."""
    return edited_event(run_with_read, 2, 1, attempt=3)


@exhibit("order")
def denied_by_nobody() -> Journal:
    """A refusal that no inbox entry bears out."""
    return edited_event(approved_via_inbox, 3, 2, state="denied")


@exhibit("order")
def approval_that_was_not_requested() -> Journal:
    """A request is settled that was never made."""
    return edited_event(approved_via_inbox, 3, 2, request="apr-2")


@exhibit("inbox_reference")
def folded_from_nowhere() -> Journal:
    """The run takes an inbox entry in that does not exist."""
    return edited_event(approved_via_inbox, 3, 1, seq=7)


# -------------------------------------------------------------------- between streams


@exhibit("inbox_reference")
def approval_that_is_not_there() -> Journal:
    """A run counts an inbox entry that does not exist."""
    count = edited(lambda body: body["events"][2].update(inbox=[2]))
    return told(approved_via_inbox, changes={(STREAM, 3): count})


@exhibit("inbox_reference")
def inbox_entry_replaced() -> Journal:
    """The approval in the inbox was replaced, with its hash, after the run had taken it in."""
    journal = told(approved_via_inbox)
    row = journal.row(INBOX, 1)
    row["body"] = edited(lambda body: body["events"][0].update(approver="mario"))(row["body"])
    row["hash"] = sha(row["body"])
    return journal


@exhibit("inbox_reference")
def approval_of_another_proposal() -> Journal:
    """The grant that was counted is for another digest."""
    other = edited(lambda body: body["events"][0].update(digest=digest("another proposal")))
    return told(approved_via_inbox, changes={(INBOX, 1): other})


@exhibit("order")
def granted_over_a_denial() -> Journal:
    """A person said no, and the run says yes."""
    grant = edited(lambda body: body["events"][2].update(state="granted"))
    return told(denied_via_inbox, changes={(STREAM, 3): grant})


@exhibit("order")
def granted_by_nobody() -> Journal:
    """A grant that counts no inbox entry at all."""
    journal = told(asked)
    journal.append(INBOX, given())
    folded, grant = settled(journal)
    journal.append(STREAM, folded, grant | {"inbox": []})
    return journal


@exhibit("order")
def inbox_folded_backwards() -> Journal:
    """The same inbox entry is taken in twice."""
    journal = told(asked)
    journal.append(INBOX, given())
    folded, _ = settled(journal)
    journal.append(STREAM, folded)
    journal.append(STREAM, folded)
    return journal


@exhibit("inbox_without_run")
def inbox_of_a_run_that_is_gone() -> Journal:
    """The run was dropped, and its inbox forgotten."""
    journal = told(approved_via_inbox)
    journal.rows = [row for row in journal.rows if row["stream"] != STREAM]
    return journal


@exhibit("journal_id")
def run_of_another_journal() -> Journal:
    """A run that was copied here from another journal."""
    foreign = edited(lambda body: body["events"][0].update(journal="jnl_" + word("another journal")))
    return told(run_with_read, changes={(STREAM, 1): foreign})


@exhibit("journal_created")
def journal_without_its_birth() -> Journal:
    """The tenant stream is gone, and with it the journal's id and key."""
    journal = told(run_with_read)
    journal.rows = [row for row in journal.rows if row["stream"] == STREAM]
    return journal


@exhibit("journal_created")
def journal_born_twice() -> Journal:
    """A second birth, perhaps with another key."""
    journal = told(run_with_read)
    birth = {"type": "JournalCreated", "journal": journal.journal, "key": journal.public_key, "format": 1}
    journal.append("tenant/default", birth)
    return journal


@exhibit("order")
def a_tool_set_is_widened() -> Journal:
    """A tool that was left out is usable again."""
    return edited_event(acts, 6, 0, tools=["get_order", "cancel"])
