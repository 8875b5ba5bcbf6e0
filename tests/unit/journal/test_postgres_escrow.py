"""Shares of a budget add up to what one counter would say, in any order, with any holder dying at any time."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("psycopg")

from answerable.journal.postgres import escrow
from answerable.journal.postgres.escrow import NO_CAP, NOTHING, PARENT
from answerable.journal.postgres.rows import Share

HOLDERS = ("own_a", "own_b", "own_c", "own_d")


@dataclass
class Counter:
    """The plain model: one row that everybody waits for."""

    reserved: int = 0
    spent: int = 0

    def reserve(self, amount: int, limit: int) -> bool:
        """As SQLite does it."""
        if amount > limit or self.spent + self.reserved + amount > limit:
            return False
        self.reserved += amount
        return True


@dataclass
class Shared:
    """The rows of one budget, used as the ledger uses them: alone, and only if that does not suffice with all."""

    rows: dict[str, Share] = field(default_factory=dict[str, Share])
    alive: set[str] = field(default_factory=lambda: set(HOLDERS))
    by_parent: int = 0

    def _all(self, me: str) -> dict[str, Share]:
        self.by_parent += 1
        return escrow.merged(self.rows, set(self.rows) - self.alive - {PARENT, me})

    def reserve(self, me: str, amount: int, limit: int) -> bool:
        alone = escrow.reserve_alone(self.rows.get(me, NOTHING), amount, limit)
        if alone is not None:
            self.rows[me] = alone
            return True
        after = escrow.reserve(self._all(me), me, amount, limit)
        if after is None:
            return False
        self.rows = after
        return True

    def settle(self, me: str, reserved: int, spent: int) -> None:
        alone = escrow.settle_alone(self.rows.get(me, NOTHING), reserved, spent)
        if alone is not None:
            self.rows[me] = alone
        else:
            self.rows = escrow.settle(self._all(me), me, reserved, spent)

    def check(self, model: Counter) -> None:
        assert sum(share.reserved for share in self.rows.values()) == model.reserved
        assert sum(share.spent for share in self.rows.values()) == model.spent
        shares = [share for holder, share in self.rows.items() if holder != PARENT]
        assert all(share.used <= share.granted for share in shares)
        caps = {share.cap for share in shares if share.granted > share.used} - {NO_CAP}
        assert len(caps) <= 1, "two shares have room under different limits"
        for cap in caps:
            promised = sum(share.granted for share in shares) + self.rows.get(PARENT, NOTHING).used
            assert promised <= cap


amounts = st.integers(0, 60)
moves = st.one_of(
    st.tuples(
        st.just("reserve"), st.sampled_from(HOLDERS), amounts, st.sampled_from((100, 100, 100, 60, 150))
    ),
    st.tuples(st.just("settle"), st.sampled_from(HOLDERS), st.integers(0, 20), st.integers(0, 80)),
    st.tuples(st.just("read"), st.sampled_from(HOLDERS), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("die"), st.sampled_from(HOLDERS), st.just(0), st.just(0)),
    st.tuples(st.just("live"), st.sampled_from(HOLDERS), st.just(0), st.just(0)),
)


@given(st.lists(moves, max_size=60))
def test_shares_answer_as_one_counter_would(steps: list[tuple[str, str, int, int]]) -> None:
    """Never over the limit, and refused only where the counter refuses: limits change, settlers differ, holders die."""
    shared, model, open_ = Shared(), Counter(), list[int]()
    for kind, me, number, other in steps:
        if kind == "reserve":
            admitted = shared.reserve(me, number, other)
            assert admitted == model.reserve(number, other)
            if admitted:
                open_.append(number)
        elif kind == "settle" and open_:
            reserved = open_.pop(number % len(open_))
            shared.settle(me, reserved, other)
            model.reserved, model.spent = model.reserved - reserved, model.spent + other
        elif kind == "read":
            shared.settle(me, 0, number)
            model.spent += number
        elif kind == "die":
            shared.alive.discard(me)
        elif kind == "live":
            shared.alive.add(me)
        shared.check(model)


def test_a_process_seldom_needs_the_parent() -> None:
    """That is what shares are for: two thousand reservations of two processes ask the parent a few dozen times."""
    shared = Shared()
    for number in range(2000):
        me = HOLDERS[number % 2]
        assert shared.reserve(me, 5, 1_000_000)
        shared.settle(me, 5, 3)

    assert shared.by_parent < 10


def test_a_lowered_limit_counts_at_once() -> None:
    """A grant under the old limit is of no use under the new one."""
    shared = Shared()
    assert shared.reserve("own_a", 10, 1000)
    assert shared.reserve("own_b", 10, 1000)

    assert not shared.reserve("own_b", 10, 25)
    assert shared.reserve("own_a", 5, 25)
    assert not shared.reserve("own_b", 1, 25)


def test_what_the_dead_reserved_is_settled_by_another() -> None:
    """The settler's share falls below zero, and the sums are right; the dead one's share goes when room is needed."""
    shared = Shared()
    assert shared.reserve("own_a", 80, 100)
    shared.alive.discard("own_a")
    shared.settle("own_b", 80, 30)
    assert shared.rows["own_b"].reserved == -80

    assert shared.reserve("own_b", 70, 100)
    assert not shared.reserve("own_b", 1, 100)
    assert "own_a" not in shared.rows
