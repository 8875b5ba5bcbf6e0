"""When a schedule is due: pure, and the same in every process, so that a tick has one name everywhere.

`every` counts from 1970 in UTC. A time of day is one of a time zone. Where clocks go forward, a time that does
not exist is the same distance past the change (02:30 becomes 03:30); where they go back, the first of the two
counts. A `cron` line with a star in its minute or hour follows the passing of time instead: nothing is invented
in the hour that is left out, and the hour that comes twice counts twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from answerable.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHIFT = timedelta(hours=3)
"""No change of a clock is larger."""
_FIELDS = 5


@dataclass(frozen=True, slots=True)
class Every:
    """A tick at each multiple of so many seconds since 1970."""

    seconds: int

    def latest(self, now: datetime) -> datetime:
        """The last tick that is not after `now`."""
        at = int(now.timestamp()) // self.seconds * self.seconds
        return datetime.fromtimestamp(at, UTC)

    def after(self, tick: datetime) -> datetime:
        """The first tick after a moment."""
        return self.latest(tick) + timedelta(seconds=self.seconds)

    def before(self, tick: datetime) -> datetime:
        """The tick before a tick."""
        return self.latest(tick - timedelta(seconds=1))


@dataclass(frozen=True, slots=True)
class Daily:
    """The times that a `cron` line names, in a time zone."""

    line: str
    zone: ZoneInfo

    def latest(self, now: datetime) -> datetime | None:
        """The last tick that is not after `now`; None where there never was one."""
        found: datetime | None = None
        until = datetime.min  # noqa: DTZ901 - local time, whatever the zone
        start = self._local(now) + self._slack(now) + timedelta(minutes=1)
        for local in self._walk(start, is_back=True):
            if local < until:
                break
            for tick in self._moments(local):
                if tick <= now and (found is None or tick > found):
                    found, until = tick, self._local(tick) - self._slack(tick)
        return found

    def after(self, tick: datetime) -> datetime | None:
        """The first tick after a moment; None where there will never be one."""
        found: datetime | None = None
        until = datetime.max  # noqa: DTZ901 - local time, whatever the zone
        start = self._local(tick) - self._slack(tick) - timedelta(minutes=1)
        for local in self._walk(start, is_back=False):
            if local > until:
                break
            for moment in self._moments(local):
                if moment > tick and (found is None or moment < found):
                    found, until = moment, self._local(moment) + self._slack(moment)
        return found

    def before(self, tick: datetime) -> datetime | None:
        """The tick before a tick."""
        return self.latest(tick - timedelta(seconds=1))

    def _local(self, moment: datetime) -> datetime:
        """What clocks in the zone show."""
        return moment.astimezone(self.zone).replace(tzinfo=None)

    def _slack(self, moment: datetime) -> timedelta:
        """How far what clocks show may be out of order around a moment: not at all, unless they change that day."""
        near = (moment + timedelta(days=days) for days in (-1, 0, 1))
        return _SHIFT if len({each.astimezone(self.zone).utcoffset() for each in near}) > 1 else timedelta(0)

    def _walk(self, start: datetime, *, is_back: bool) -> Iterator[datetime]:
        from cronsim import CronSim

        # Without a zone: what a change of clocks means is decided in `_moments`, alike in both directions.
        return CronSim(self.line, start, reverse=is_back)

    def _moments(self, local: datetime) -> set[datetime]:
        """The moments at which clocks in the zone show `local`."""
        first, second = (local.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        minute, hour = self.line.split()[:2]
        if not (minute.startswith("*") or hour.startswith("*")):
            return {first}
        return {each for each in (first, second) if self._local(each) == local}


Ticks = Every | Daily


def cron(line: str, timezone: str) -> Daily:
    """The ticks of a line of five fields. Raises `ConfigError` for one that cannot be."""
    try:
        from cronsim import CronSim, CronSimError
    except ImportError:
        raise ConfigError(
            "schedules need a package that is not installed: `cronsim`",
            hint='pip install "answerable[server]"',
        ) from None
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"`{timezone}` is no time zone",
            hint="write it as Europe/Berlin; where no zone is known, `pip install tzdata`",
        ) from None
    try:
        if len(line.split()) != _FIELDS:
            raise CronSimError("not five fields")
        next(CronSim(line, datetime(2000, 1, 1)), None)  # noqa: DTZ001 - local time, whatever the zone
    except CronSimError as error:
        raise ConfigError(
            f"`{line}` is no schedule: {str(error).lower()}",
            hint='five fields, minute first: "30 7 * * MON-FRI"',
        ) from None
    return Daily(line, zone)
