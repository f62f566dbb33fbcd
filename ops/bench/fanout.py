"""From a webhook to the orders at the exchange, on a whole installation with everything on.

TLS, HSM, rows, audit log, two workers: nothing is left out. The exchange is the simulator on
loopback; when an order arrived there is read from its own books, by the clock of the same machine.

One run, in this order, so that floor and subject share whatever the machine does meanwhile:

1. a plain loop of 1,000 orders, and of 20 (the floor);
2. one webhook for 1,000 accounts, and one for 20;
3. single plain orders, 8 at a time; webhooks of 8 strategies with one account each, 8 at a time.

Between them everything settles: the next begins when no order of the last is open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

from fanout.order import order_id
from ops.bench.crowd import Following, gather_crowd
from ops.bench.measure import Effort, Measurement, Series, percentile
from ops.bench.plain_loop import PlainLoop, spread
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

MANY, FEW, AT_ONCE = 1000, 20, 8
CONNECTIONS = 64
"""Of each worker, and of the plain loop for each worker."""
WORKERS = 2
ROUNDS = 16
"""Of eight webhooks each in a run: 128 samples for the 99th percentile."""
SETTLE_S = 60.0
POLL_S = 0.02

UNITS = {
    "first_order_p50_ms": "ms",
    "first_order_p99_ms": "ms",
    "fanout_20_last_ms": "ms",
    "fanout_1000_first_ms": "ms",
    "fanout_1000_last_ms": "ms",
    "dispatch_throughput": "orders/s",
}

Say = Callable[[str], None]


async def run(effort: Effort, say: Say) -> list[Measurement]:
    """All figures of the fan-out. Raises PortcullisError where the installation does not work."""
    series = Series(UNITS)
    async with _stage(say) as stage, PlainLoop(stage.market, MANY, CONNECTIONS * WORKERS) as plain:
        await stage.warm()
        for number in range(effort.runs):
            say(f"fanout: run {number + 1} of {effort.runs}")
            await _one_run(stage, plain, series, ROUNDS // 4 if effort.quick else ROUNDS)
    return series.measurements()


class Stage:
    """A running installation with its crowd, and senders for every strategy."""

    def __init__(
        self,
        market: Exchange,
        database: Database,
        scope: TenantScope,
        many: tuple[Following, Sender],
        few: tuple[Following, Sender],
        single: Sequence[tuple[Following, Sender]],
    ) -> None:
        self.market = market
        self.many, self.few, self.single = many, few, single
        self._database = database
        self._scope = scope
        self._held: set[UUID] = set()

    async def warm(self) -> None:
        """Every connection open, every key in the token, every plan's path walked; not measured."""
        for each in (self.many, self.few, *self.single):
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

    async def together(self, *each: tuple[Following, Sender]) -> list[Sent]:
        """A webhook to each at once; returns when all their orders are executed and in the book.

        The exchange is asked first: questions to PostgreSQL meanwhile would be paid by the subject.
        """
        wanted = await self.market.count() + sum(len(following.accounts) for following, _ in each)
        sent = await asyncio.gather(*(self.send(*one) for one in each))
        try:
            async with asyncio.timeout(SETTLE_S):
                while await self.market.count() < wanted:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise Unavailable(f"not every order arrived within {SETTLE_S:g} s") from None
        ids = [one.signal_id for one in sent if one.signal_id]
        await settled(self._database, self._scope, ids, within_s=SETTLE_S)
        return sent


async def _one_run(stage: Stage, plain: PlainLoop, series: Series, rounds: int) -> None:
    floor_many, floor_few = await plain.send(MANY), await plain.send(FEW)
    (many,), (few,) = await stage.together(stage.many), await stage.together(stage.few)
    floor_single, single = [], []
    for _ in range(rounds):
        floor_single += await asyncio.gather(*(plain.single() for _ in range(AT_ONCE)))
        single += await stage.together(*stage.single)
    at = {order.text: order.arrived_wall for order in await stage.market.executed()}

    first, last, rate = spread(floor_many[0], [at[text] for text in floor_many[1]])
    series.floor(fanout_1000_first_ms=first, fanout_1000_last_ms=last, dispatch_throughput=rate)
    series.floor(fanout_20_last_ms=spread(floor_few[0], [at[text] for text in floor_few[1]])[1])
    first, last, rate = spread(many.sent_at, _arrivals(many, stage.many[0], at))
    series.value(fanout_1000_first_ms=first, fanout_1000_last_ms=last, dispatch_throughput=rate)
    series.value(fanout_20_last_ms=spread(few.sent_at, _arrivals(few, stage.few[0], at))[1])
    followings = [following for following, _ in stage.single] * rounds
    took = [
        spread(one.sent_at, _arrivals(one, following, at))[0]
        for one, following in zip(single, followings, strict=True)
    ]
    floors = [(at[text] - begun) * 1000 for begun, text in floor_single]
    series.value(first_order_p50_ms=percentile(took, 50), first_order_p99_ms=percentile(took, 99))
    series.floor(
        first_order_p50_ms=percentile(floors, 50), first_order_p99_ms=percentile(floors, 99)
    )


def _arrivals(sent: Sent, following: Following, at: dict[str, float]) -> list[float]:
    """When each account's order arrived. Raises Unavailable where one never did."""
    assert sent.signal_id is not None
    signal = SignalID(UUID(sent.signal_id))
    texts = [f"t-{order_id(signal, account, 0)}.1" for account in following.accounts]
    missing = [text for text in texts if text not in at]
    if missing:
        raise Unavailable(f"{len(missing)} of {len(texts)} orders never arrived: {missing[0]}")
    return [at[text] for text in texts]


@asynccontextmanager
async def _stage(say: Say) -> AsyncIterator[Stage]:
    """Installation, exchange and crowd in a temporary directory; all of it gone afterwards."""
    with passable_directory() as directory:
        async with exchange(directory / "exchange.log") as market:
            await market.depth("BTC_USDT", "60000", "100000000")
            say("fanout: an installation of its own")
            where = await asyncio.to_thread(fresh, directory / "var", _choices(market))
            try:
                async with running(where) as here, _crowded(here, market, say) as stage:
                    yield stage
            finally:
                await asyncio.to_thread(remove, where)


def _choices(market: Exchange) -> Choices:
    settings = broker_settings(market.url, connections=CONNECTIONS)
    return Choices(
        ingress_port=0,
        admin_port=0,
        worker_processes=WORKERS,
        rate_per_minute=1_000_000,
        rate_per_hour=10_000_000,
        api_rates=API_RATES,
        brokers={"gateio": {**settings, "connections_warm": CONNECTIONS}},
    )


@asynccontextmanager
async def _crowded(here: Installation, market: Exchange, say: Say) -> AsyncIterator[Stage]:
    say(f"fanout: {MANY} accounts by the API, each with a sealed key")
    singles = {f"one of {AT_ONCE}: {n}": [FEW + n] for n in range(AT_ONCE)}
    wanted = {"a thousand": range(MANY), "twenty": range(FEW), **singles}
    async with customer(here, "Bench") as house:
        crowd = await gather_crowd(house, market, accounts=MANY, strategies=wanted)
    url, authority = here.state.urls["ingress"], here.places.var / "tls" / "ca.pem"
    async with AsyncExitStack() as stack:
        many, few, *single = [
            (following, await stack.enter_async_context(sender(url, authority, following.hook)))
            for following in crowd.values()
        ]
        database = Database(here.settings.database.admin, name="portcullis-bench", size=2)
        await database.open()
        stack.push_async_callback(database.close)
        yield Stage(market, database, house.scope, many, few, single)
