"""A running installation with its exchange and its crowd: what `fanout` and `scale` measure on.

Everything is on: TLS, the HSM with a sealed key for each account, rows under the wall, audit log, two
workers. The exchange is the simulator on loopback, with its own clock of when each order arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

from fanout.order import order_id
from ops.bench.crowd import Following, gather_crowd
from ops.bench.stores import passable_directory
from ops.initialise import Choices
from ops.trial.customer import API_RATES, customer
from ops.trial.exchange import Exchange, broker_settings, exchange
from ops.trial.installation import Installation, fresh, remove, running
from ops.trial.outcome import settled
from ops.trial.sender import Sender, Sent, sender
from tenancy.database import Database
from tenancy.errors import Unavailable
from tenancy.scope import TenantScope
from tenancy.values import SignalID

WORKERS = 2
SETTLE_S = 60.0
POLL_S = 0.02
AGREED = "SELECT count(*) FROM reconciliations WHERE state = 'agreed'"

Say = Callable[[str], None]
Member = tuple[Following, Sender]


class Stage:
    """`crowds`: strategies by name, each with its accounts and its sender."""

    def __init__(
        self,
        here: Installation,
        market: Exchange,
        database: Database,
        scope: TenantScope,
        crowds: Mapping[str, Member],
    ) -> None:
        self.here = here
        self.market = market
        self.crowds = crowds
        self._database = database
        self._scope = scope
        self._held: set[UUID] = set()

    async def warm(self) -> None:
        """Every connection open, every key in the token, every plan's path walked; not measured."""
        for each in self.crowds.values():
            for _ in range(2):
                await self.together(each)

    async def send(self, following: Following, by: Sender) -> Sent:
        """Buy where the strategy is flat, exit where it is not: one order for each account."""
        held = following.strategy in self._held
        if held:
            sent = await by.send(ticker="BTC_USDT", action="exit")
        else:
            sent = await by.send(ticker="BTC_USDT", action="buy", quantity=1, signalPrice=60000)
        if sent.signal_id is None:
            raise Unavailable(f"the hook answered {sent.status}: {sent.answer}")
        (self._held.discard if held else self._held.add)(following.strategy)
        return sent

    async def together(self, *each: Member) -> list[Sent]:
        """A webhook to each at once; returns when all their orders are executed and in the book.

        The exchange is asked first: questions to PostgreSQL meanwhile would be paid by the subject.
        """
        wanted = await self.market.count() + sum(len(following.accounts) for following, _ in each)
        sent = await asyncio.gather(*(self.send(*one) for one in each))
        await until(self.market.count, wanted, "orders at the exchange")
        ids = [one.signal_id for one in sent if one.signal_id]
        await settled(self._database, self._scope, ids, within_s=SETTLE_S)
        return sent

    async def agreed(self) -> None:
        """Every account's book was compared with the exchange's: before that nothing opens."""
        wanted = len({one for following, _ in self.crowds.values() for one in following.accounts})

        async def count() -> int:
            async with self._database.tenant(self._scope) as conn:
                row = await (await conn.execute(AGREED)).fetchone()
            assert row is not None
            return int(row[0])

        await until(count, wanted, "accounts that agree with the exchange")


async def until(count: Callable[[], Awaitable[int]], wanted: int, what: str) -> None:
    """So many of them. Raises Unavailable where there is none more for `SETTLE_S`."""
    loop = asyncio.get_running_loop()
    most, since = -1, loop.time()
    while (found := await count()) < wanted:
        if found > most:
            most, since = found, loop.time()
        if loop.time() - since > SETTLE_S:
            raise Unavailable(f"{what}: {found} of {wanted}, and no more for {SETTLE_S:g} s")
        await asyncio.sleep(POLL_S)


def arrivals(sent: Sent, following: Following, at: Mapping[str, float]) -> list[float]:
    """When each account's order arrived. Raises Unavailable where one never did."""
    assert sent.signal_id is not None
    signal = SignalID(UUID(sent.signal_id))
    texts = [f"t-{order_id(signal, account, 0)}.1" for account in following.accounts]
    missing = [text for text in texts if text not in at]
    if missing:
        raise Unavailable(f"{len(missing)} of {len(texts)} orders never arrived: {missing[0]}")
    return [at[text] for text in texts]


@asynccontextmanager
async def stage(
    say: Say, strategies: Mapping[str, Sequence[int]], *, connections: int
) -> AsyncIterator[Stage]:
    """Installation, exchange and crowd in a temporary directory; all of it gone afterwards.

    `strategies`: name → the numbers of the accounts that follow it, from 0. `connections`: of each worker.
    """
    async with (
        installed(say, connections=connections, worker_processes=WORKERS) as (here, market),
        _crowded(here, market, strategies, say) as made,
    ):
        yield made


@asynccontextmanager
async def installed(
    say: Say, *, connections: int, **chosen: Any
) -> AsyncIterator[tuple[Installation, Exchange]]:
    """Installation and exchange in a temporary directory, gone afterwards; nobody's limits are in the way.

    `chosen`: what else differs (ops/initialise.py, Choices).
    """
    with passable_directory() as directory:
        async with exchange(directory / "exchange.log") as market:
            await market.depth("BTC_USDT", "60000", "100000000")
            say("an installation of its own")
            choices = _choices(market, connections, chosen)
            where = await asyncio.to_thread(fresh, directory / "var", choices)
            try:
                async with running(where) as here:
                    yield here, market
            finally:
                await asyncio.to_thread(remove, where)


def _choices(market: Exchange, connections: int, chosen: Mapping[str, Any]) -> Choices:
    settings = broker_settings(market.url, connections=connections)
    return Choices(
        ingress_port=0,
        admin_port=0,
        rate_per_minute=1_000_000,
        rate_per_hour=10_000_000,
        api_rates=API_RATES,
        brokers={"gateio": {**settings, "connections_warm": connections}},
        **chosen,
    )


@asynccontextmanager
async def _crowded(
    here: Installation, market: Exchange, strategies: Mapping[str, Sequence[int]], say: Say
) -> AsyncIterator[Stage]:
    accounts = 1 + max(number for numbers in strategies.values() for number in numbers)
    say(f"{accounts:,} accounts by the API, each with a sealed key")
    async with customer(here, "Bench") as house:
        crowd = await gather_crowd(house, market, accounts=accounts, strategies=strategies)
    url, authority = here.state.urls["ingress"], here.places.var / "tls" / "ca.pem"
    async with AsyncExitStack() as stack:
        crowds = {
            name: (
                following,
                await stack.enter_async_context(sender(url, authority, following.hook)),
            )
            for name, following in crowd.items()
        }
        database = Database(here.settings.database.admin, name="portcullis-bench", size=2)
        await database.open()
        stack.push_async_callback(database.close)
        made = Stage(here, market, database, house.scope, crowds)
        say("until all of them agree with the exchange")
        await made.agreed()
        yield made
