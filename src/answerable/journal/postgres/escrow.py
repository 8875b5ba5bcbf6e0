"""Budgets that processes share: exact, and without one row that everybody waits for.

A shared budget has a parent and a share for each process that uses it. The parent grants a part of the limit; a
process reserves and settles in its own share, and nobody else waits for that. What must always hold:

    of every share            reserved + spent <= granted
    of all of them together   the parent's own use + everything granted <= the limit that it was granted under

So what is used never passes the limit, whoever used it. A grant that does not suffice is looked at under the
parent's lock with every share at hand: what others do not use is taken back, and a reservation is refused only
where everything used and the amount are over the limit together. That is the answer of one counter, no more and no less.

Other limits come with other releases. A share remembers the limit that it was granted under (`cap`), and is of no use
under another one: then the parent is asked, and all that was granted under the other limit and is not used is taken back.

Who reserves need not be who settles: the process may have died. The share of whoever settles then falls below zero,
and the sums are right: what the dead one was granted covers what it used, and the other's share has that much more
room. The share of a process that is gone is added to the parent's own use. It does no harm if the process was only
slow: it finds no share and asks for one. Nothing here is remembered by a process; the rows are read for every batch.

Everything here is pure: a mapping from holder to share goes in, and one comes out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from answerable.journal.postgres.rows import Share

PARENT = ""
"""The holder's name of the row that grants."""
SHARED = "agent:"
"""What the id of a budget begins with that processes share. A run's own has one owner at a time, and one row."""
NO_CAP = -1
"""No limit: a share with which nothing can be reserved before the parent was asked."""
NOTHING = Share(granted=0, reserved=0, spent=0, cap=NO_CAP)
GRANT_PART = 16
"""A grant is at least this part of what is left: large enough to be rare, small enough to leave others something."""

Shares = Mapping[str, Share]


def reserve_alone(own: Share, amount: int, limit: int) -> Share | None:
    """The share after a reservation within its grant; None where the parent must be asked."""
    if own.cap != limit or own.used + amount > own.granted:
        return None
    return own._replace(reserved=own.reserved + amount)


def settle_alone(own: Share, reserved: int, spent: int) -> Share | None:
    """The share after a reservation was settled; None where more was spent than the grant allows for."""
    settled = own._replace(reserved=own.reserved - reserved, spent=own.spent + spent)
    return settled if settled.used <= settled.granted else None


def reserve(shares: Shares, me: str, amount: int, limit: int) -> dict[str, Share] | None:
    """All shares after a reservation that needed the parent; None where it does not fit the budget."""
    if amount > limit or _used(shares) + amount > limit:
        return None
    after = dict(shares)
    parent = after.get(PARENT, NOTHING)
    if parent.cap != limit:
        after = _recalled(after, cap=NO_CAP)
        parent = after[PARENT] = parent._replace(cap=limit)
    own = after.get(me, NOTHING)
    need = amount - (own.granted - own.used)
    if need > limit - _promised(after):
        after = _recalled(after)
        own = after.get(me, NOTHING)
        need = amount
    grant = max(need, (limit - _promised(after)) // GRANT_PART, 0)
    after[me] = own._replace(granted=own.granted + grant, reserved=own.reserved + amount, cap=limit)
    return after


def settle(shares: Shares, me: str, reserved: int, spent: int) -> dict[str, Share]:
    """All shares after more was spent than was granted: what happened is counted, whatever the limit says."""
    after = dict(shares)
    parent = after.setdefault(PARENT, NOTHING)
    own = after.get(me, NOTHING)
    own = own._replace(reserved=own.reserved - reserved, spent=own.spent + spent)
    after[me] = own._replace(granted=max(own.granted, own.used))
    if (
        _promised(after) > parent.cap
    ):  # no limit holds any more: whoever reserves next starts from what is used
        after = _recalled(after, cap=NO_CAP)
        after[PARENT] = parent._replace(cap=NO_CAP)
    return after


def merged(shares: Shares, gone: Collection[str]) -> dict[str, Share]:
    """The shares without those of holders that are gone, whose use is now the parent's own."""
    after = dict(shares)
    parent = after.get(PARENT, NOTHING)
    for holder in gone:
        share = after.pop(holder, NOTHING)
        parent = parent._replace(reserved=parent.reserved + share.reserved, spent=parent.spent + share.spent)
    after[PARENT] = parent
    return after


def _recalled(shares: Shares, *, cap: int | None = None) -> dict[str, Share]:
    """Take back what is granted and not used; with `cap`, every share must ask before it reserves again."""
    return {
        holder: share
        if holder == PARENT
        else share._replace(granted=share.used, cap=share.cap if cap is None else cap)
        for holder, share in shares.items()
    }


def _used(shares: Shares) -> int:
    return sum(share.used for share in shares.values())


def _promised(shares: Shares) -> int:
    """The parent's own use, and everything that is granted."""
    return sum(share.used if holder == PARENT else share.granted for holder, share in shares.items())
