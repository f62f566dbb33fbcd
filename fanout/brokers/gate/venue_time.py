"""Gate.io's own time, carried on from one comparison by the clock that nobody can set.

What Gate may still accept is decided by Gate's clock (X-Gate-Exptime), so both sides of a proof of
absence are reckoned in it: until when a request may be taken, and whether that moment has passed.
The host's time of day, which NTP or a person can set at any moment, decides neither.

1. *Compare*: ask Gate for its time, and keep it with the monotonic readings before and after. Gate
   read its clock somewhere between the two, so at any later moment its time is known as an interval.
   The time of day is held against it, too: beyond `clock_error_ms` nothing is sent and nothing proven.
2. *Depart*: a request's deadline is the earliest that Gate's clock can show now, plus exptime, cut to
   where the lease ends. It is therefore never later than Gate's own time at that moment plus exptime,
   whatever the time of day did.
3. *Wait*: ask Gate's time, wait, ask it again. See `GateioBroker.find` for what that proves.

A comparison is worth nothing any more once it is COMPARED_FOR_S old, or once time of day minus
monotonic time, a constant on Linux unless somebody steps the clock, has moved by more than
`clock_error_ms`. Then no request leaves until Gate was asked anew.

What is assumed: CLOCK_BOOTTIME runs within 500 ppm of true time, the most that the kernel corrects
it by. A guest that its host froze is the exception: its clocks stand still, so the deadlines it
computes lie in Gate's past and are refused; and a comparison made after it finds the time of day
behind Gate's, until that is put right, which is a step that is seen here and by fanout/leases.py.

Nothing is kept on disk: a crash loses a comparison, and the next process makes its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
import structlog

from tenancy.clock import Clock
from tenancy.errors import PortcullisError, Unavailable

log = structlog.get_logger()

COMPARED_FOR_S = 60.0
"""An older comparison lets nothing leave."""
COMPARE_EVERY_S = 15.0
SPACING_S = 0.1
"""Questions for the time are this far apart: Gate counts them, and one answers all who wait."""
DRIFT = 500e-6
WAITS_MOST = 3
"""A timer may fire early by a tick of the clock."""

Sleep = Callable[[float], Awaitable[None]]


EPOCH = datetime.fromtimestamp(0, UTC)


def exptime(deadline: datetime) -> str:
    """The value of X-Gate-Exptime: Unix ms."""
    return str((deadline - EPOCH) // timedelta(milliseconds=1))


class ClockError(Unavailable):
    """Our time of day and Gate's differ by more than the settings allow."""

    code = "clock_error"


class TimeUnknown(Unavailable):
    """Gate's time cannot be told now: nothing leaves, and nothing is proven by it."""

    code = "venue_time_unknown"


class Instant(NamedTuple):
    """Both clocks of this host at one moment, in seconds."""

    wall_s: float
    mono_s: float

    @property
    def offset_s(self) -> float:
        return self.wall_s - self.mono_s


def instant(clock: Clock) -> Instant:
    return Instant(clock.now_ns() / 1e9, clock.monotonic())


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Gate said `theirs_ms`, in whole milliseconds, between these two moments of ours."""

    theirs_ms: int
    asked: Instant
    heard: Instant

    def earliest_ms(self, mono_s: float) -> float:
        """Gate's clock shows this or more; `mono_s` not before the answer."""
        return self.theirs_ms + (mono_s - self.heard.mono_s) * 1000 * (1 - DRIFT)

    def latest_ms(self, mono_s: float) -> float:
        """Gate's clock shows this or less."""
        return self.theirs_ms + 1 + (mono_s - self.asked.mono_s) * 1000 * (1 + DRIFT)

    def certain_error_ms(self) -> float:
        """By how much the time of day is off at least: only what lies outside the two moments counts."""
        return max(
            self.asked.wall_s * 1000 - (self.theirs_ms + 1),
            self.theirs_ms - self.heard.wall_s * 1000,
        )


class Departure(NamedTuple):
    """A request that is about to be signed: when that began, and the monotonic end of its lease."""

    began: Instant
    lease_ends_s: float


class VenueTime:
    """What Gate's clock shows, as far as this process can be certain of it."""

    def __init__(
        self,
        ask_ms: Callable[[], Awaitable[int | None]],
        clock: Clock,
        *,
        exptime_ms: int,
        clock_error_ms: int,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`ask_ms`: Gate's time in Unix ms, None where it does not say; raises PortcullisError."""
        self._ask_ms = ask_ms
        self._clock = clock
        self._sleep = sleep
        self._exptime_ms = exptime_ms
        self._error_ms = clock_error_ms
        self._stands: Compared | None = None
        self._asked_s = float("-inf")
        self._answer: Compared | PortcullisError = TimeUnknown("Gate.io's time was never asked")
        self._asking = asyncio.Lock()

    # -------------------------------------------------------------- 1. compare

    async def compare(self) -> Compared:
        """A comparison that was asked for after this call began, perhaps by somebody else.

        Raises ClockError, TimeUnknown, or what asking raises.
        """
        since_s = self._clock.monotonic()
        async with self._asking:
            if self._asked_s < since_s:
                spacing_s = SPACING_S - (self._clock.monotonic() - self._asked_s)
                if spacing_s > 0:
                    await self._sleep(spacing_s)
                await self._compare()
            if isinstance(self._answer, Compared):
                return self._answer
            raise self._answer

    async def _compare(self) -> None:
        asked = instant(self._clock)
        try:
            theirs_ms = await self._ask_ms()
            if theirs_ms is None:
                raise TimeUnknown("Gate.io does not say what time it is")
            seen = Compared(theirs_ms=theirs_ms, asked=asked, heard=instant(self._clock))
            if seen.certain_error_ms() > self._error_ms:
                self._stands = None
                raise ClockError(
                    f"Gate.io's clock differs by at least {seen.certain_error_ms():.0f} ms,"
                    f" clock_error_ms allows {self._error_ms}: put this host's clock right"
                )
            self._stands = self._answer = seen
        except PortcullisError as why:
            self._answer = why
        self._asked_s = asked.mono_s

    async def keep_compared(self) -> None:
        """For ever, every COMPARE_EVERY_S: so that no order finds the comparison too old."""
        while True:
            await self._sleep(COMPARE_EVERY_S)
            try:
                await self.compare()
            except PortcullisError as why:
                log.warning("venue_time_not_compared", broker="gateio", error=str(why))

    def _sure(self, now: Instant) -> Compared | None:
        """The comparison by which something may leave now, or None."""
        seen = self._stands
        if seen is None or now.mono_s - seen.asked.mono_s > COMPARED_FOR_S:
            return None
        return None if self._stepped(seen.heard, now) else seen

    def _stepped(self, before: Instant, now: Instant) -> bool:
        return abs(now.offset_s - before.offset_s) * 1000 > self._error_ms

    # -------------------------------------------------------------- 2. depart

    async def depart(self, not_after: datetime) -> Departure:
        """To be called as soon as `not_after`, the lease's end by the time of day, was reckoned.

        Raises PortcullisError where nothing may leave; Gate was then asked anew, so it is worth coming
        again. Not at once: the lease was looked at before that.
        """
        began = instant(self._clock)
        if self._sure(began) is None:
            await self.compare()
            raise TimeUnknown("this host's clock was set, or not compared of late: compared anew")
        return Departure(began, began.mono_s + not_after.timestamp() - began.wall_s)

    def deadline(self, departure: Departure) -> datetime:
        """What X-Gate-Exptime says of a request that is signed now, in Gate's time and whole ms.

        Raises TimeUnknown where nothing may leave any more.
        """
        now = instant(self._clock)
        seen = self._sure(now)
        if seen is None or self._stepped(departure.began, now):
            raise TimeUnknown("this host's clock was set while the request was signed")
        if now.mono_s >= departure.lease_ends_s:
            raise TimeUnknown("the lease ended before the request was signed")
        ms = min(
            seen.earliest_ms(now.mono_s) + self._exptime_ms,
            seen.earliest_ms(departure.lease_ends_s),
        )
        return EPOCH + timedelta(milliseconds=int(ms))

    def now(self) -> datetime:
        """The latest that Gate's clock can show; the time of day where it was never compared."""
        if self._stands is None:
            return self._clock.now()
        ms = self._stands.latest_ms(self._clock.monotonic())
        return EPOCH + timedelta(milliseconds=ms)

    # -------------------------------------------------------------- 3. wait

    async def outlast(self, sent_by: datetime) -> None:
        """Return once Gate takes no request any more that left before this call.

        Raises PortcullisError where that cannot be said: Gate's time cannot be asked, or the clocks
        contradict each other. Takes exptime and clock_error_ms.
        """
        first = await self.compare()
        ahead_ms = sent_by.timestamp() * 1000 - first.latest_ms(first.heard.mono_s)
        if ahead_ms > self._error_ms:
            raise TimeUnknown(
                f"sent_by lies {ahead_ms:.0f} ms in Gate.io's future: a clock was set"
            )
        over_ms = first.theirs_ms + 1 + self._exptime_ms + self._error_ms
        for _ in range(WAITS_MOST):
            wait_ms = over_ms + 1 - first.earliest_ms(self._clock.monotonic())
            if wait_ms <= 0:
                break
            await self._sleep(wait_ms / 1000)
        waited_ms = (self._clock.monotonic() - first.heard.mono_s) * 1000
        last = await self.compare()
        if waited_ms < self._exptime_ms + self._error_ms or last.theirs_ms <= over_ms:
            raise TimeUnknown("Gate.io's clock has not passed the deadline, though ours has")
        if last.theirs_ms > first.latest_ms(last.heard.mono_s) + self._error_ms:
            raise TimeUnknown("Gate.io's clock and ours went at different speeds")
