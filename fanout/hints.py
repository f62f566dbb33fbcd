"""Brokers that tell by themselves (`Caps.tells`): each word makes the follower ask at once.

A hint holds nothing to believe. An order or a fill is a reason to ask for that order now, a gap to ask
for all of its account; what is true is what the question brings, and the follower's own round stays,
so a stream that is silent, cut or wrong costs time, never an order.

One stream per account that has orders which rest or are in doubt here, for as long as this worker
holds its partition and a while after the last of them ended. A stream that raises or ends is opened
again after a growing pause. In memory alone: a crash leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Protocol, cast

import structlog

from fanout import metrics
from fanout.abilities import Hint, Tells
from fanout.ports import Broker, BrokerAccount
from tenancy.pause import pause
from tenancy.values import AccountID

log = structlog.get_logger()

LOOK_S = 0.5
"""How often it looks which accounts have open orders."""
LINGER_S = 60.0
"""For so long a stream stays after its account's last open order: the next signal finds it there."""
AGAIN_FIRST_S, AGAIN_MOST_S = 0.5, 30.0


class Asked(Protocol):
    """Whom a hint goes to."""

    def ask(self, cl_ord_id: str) -> None:
        """Ask for that order at once; nothing to do where it is not followed."""
        ...

    def ask_account(self, account: AccountID) -> None:
        """Ask for all that is open of that account."""
        ...


class Hints:
    """The streams of this worker's accounts."""

    def __init__(
        self,
        brokers: Mapping[str, Broker],
        open_accounts: Callable[[], Iterable[tuple[str, BrokerAccount]]],
        asked: Asked,
        now: Callable[[], float],
        may_differ: Callable[[AccountID], None] = lambda account: None,
    ) -> None:
        """`open_accounts`: broker and account of all that rests or is in doubt in our partitions.

        `may_differ` is told of an account of which something may have been missed, or done by others.
        """
        self._brokers, self._open_accounts, self._asked = brokers, open_accounts, asked
        self._now = now
        self._may_differ = may_differ
        self._streams: dict[AccountID, asyncio.Task[None]] = {}
        self._wanted_at: dict[AccountID, float] = {}
        self._told_as: dict[AccountID, BrokerAccount] = {}

    def __repr__(self) -> str:
        return f"Hints({len(self._streams)} streams)"

    async def run(self, stop: asyncio.Event) -> None:
        """Keep a stream for each account that needs one, until told to stop."""
        try:
            while not stop.is_set():
                self.look()
                await pause(stop, LOOK_S)
        finally:
            streams = list(self._streams.values())
            for stream in streams:
                stream.cancel()
            await asyncio.gather(*streams, return_exceptions=True)

    def look(self) -> None:
        """Begin the streams that are missing, end those that nobody needs any more."""
        now = self._now()
        for name, account in self._open_accounts():
            if not self._brokers[name].caps.tells:
                continue
            one = account.account_id
            self._wanted_at[one] = now
            if self._told_as.get(one, account).credential != account.credential:
                self._streams.pop(one).cancel()  # its key is another one now
            if one not in self._streams:
                self._told_as[one] = account
                listening = self._listen(name, account)
                self._streams[one] = asyncio.create_task(listening, name="hints")
        for one, wanted_at in list(self._wanted_at.items()):
            if now - wanted_at > LINGER_S:
                del self._wanted_at[one], self._told_as[one]
                self._streams.pop(one).cancel()
        metrics.HINT_STREAMS.set(len(self._streams))

    async def _listen(self, name: str, account: BrokerAccount) -> None:
        tells = cast(Tells, self._brokers[name])
        again_s = AGAIN_FIRST_S
        while True:
            try:
                # What it yields is an async generator: closed with us, wherever it stands.
                async with aclosing(cast(Any, tells.hints(account))) as hints:
                    async for hint in hints:
                        again_s = AGAIN_FIRST_S
                        self._pass_on(name, account, hint)
                log.warning("hints_ended", broker=name, account=str(account.account_id))
            except Exception:  # an adapter's mistake: the follower's round goes on without it
                log.exception("hints_failed", broker=name, account=str(account.account_id))
            self._asked.ask_account(account.account_id)
            await asyncio.sleep(again_s)
            again_s = min(2 * again_s, AGAIN_MOST_S)

    def _pass_on(self, name: str, account: BrokerAccount, hint: Hint) -> None:
        metrics.HINTS.labels(name, hint.kind).inc()
        if hint.account_id != account.account_id:
            log.error("hint_of_another_account", broker=name, account=str(account.account_id))
            return
        if hint.kind == "gap" or (hint.kind in ("order", "fill") and hint.cl_ord_id is None):
            self._asked.ask_account(account.account_id)
            self._may_differ(account.account_id)
        elif hint.cl_ord_id is not None:
            self._asked.ask(hint.cl_ord_id)
