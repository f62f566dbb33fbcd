"""On which terms paper fills: fees, parts, latency, and where its prices come from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fanout.brokers.paper.adapter import PaperBroker
from fanout.brokers.paper.settings import PaperSettings
from fanout.order import Order, OrdState
from fanout.ports import Acked, BrokerPosition, Rejected, Report, Unsent
from tenancy.clock import SystemClock
from tenancy.errors import ConfigurationError
from tests.contract.venues import BTC
from tests.fakes.orders import an_account, an_order, submitted

ACCOUNT = an_account()
SINCE = datetime(2026, 11, 2, 9, tzinfo=UTC)


class HandClock(SystemClock):
    """Stands until somebody moves it."""

    def __init__(self) -> None:
        self.at = SINCE

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def paper(clock: HandClock | None = None, **said: Any) -> PaperBroker:
    clock = clock or HandClock()
    return PaperBroker(PaperSettings(instruments=[BTC], **said), clock, sleep=clock.sleep)


def lots(qty: int, **changed: Any) -> Order:
    return an_order(ACCOUNT, order_qty=Decimal(qty), **changed)


async def taken(broker: PaperBroker, order: Order) -> Report:
    outcome = await broker.submit(ACCOUNT, order, not_after=SINCE + timedelta(seconds=30))
    assert isinstance(outcome, Acked), outcome
    return outcome.report


async def equity(broker: PaperBroker) -> Decimal:
    said = await broker.equity(ACCOUNT)
    assert said is not None
    return said.equity


# ------------------------------------------------------------------ fees


async def test_fees_are_taken_off_the_equity() -> None:
    """10 lots of 0.0001 at 60,000 are worth 60; 10 bp of it is 0.06."""
    broker = paper(taker_fee_bps="10", maker_fee_bps="-5")
    await taken(broker, lots(10))
    assert await equity(broker) == 10_000 - Decimal("0.06")
    await taken(broker, lots(10, ord_type="limit", price=Decimal(50_000)))
    broker.move("BTC_USDT", Decimal(50_000))
    assert await broker.open_orders(ACCOUNT) == []
    assert await equity(broker) == 10_000 - Decimal("0.06") + Decimal("0.025")  # a rebate of 50


async def test_an_imitated_brokers_fees_hold_unless_others_are_said() -> None:
    assert PaperSettings(imitates="gateio").fees() == (Decimal("0.0002"), Decimal("0.0005"))
    assert PaperSettings(imitates="gateio", taker_fee_bps="0").fees() == (Decimal("0.0002"), 0)
    assert PaperSettings().fees() == (0, 0)


async def test_profit_compounds_only_where_a_broker_is_imitated() -> None:
    for said, profit in (({}, 0), ({"imitates": "gateio", "taker_fee_bps": "0"}, 10)):
        broker = paper(**said)
        bought = await taken(broker, lots(10))
        assert bought.avg_px is not None
        broker.move("BTC_USDT", bought.avg_px + 10_000 + (6 if said else 0))  # the bid is 6 below
        await taken(broker, lots(10, side="sell"))
        assert round(await equity(broker) - 10_000) == profit


# ------------------------------------------------------------------ parts


async def test_each_price_fills_its_share_and_no_more() -> None:
    clock = HandClock()
    broker = paper(clock, fill_share="0.5")
    order = lots(10, ord_type="limit", price=Decimal(60_000))
    assert (await taken(broker, order)).cum_qty == 5
    told = []
    for _ in range(4):
        for _ in range(2):  # asked twice at one price: it fills once
            rests = await broker.open_orders(ACCOUNT)
        told.append(rests[0].cum_qty if rests else None)
        clock.at += timedelta(seconds=1)
    assert told == [5, 7, 8, 9]
    assert await broker.open_orders(ACCOUNT) == []
    assert (await broker.positions(ACCOUNT))[0].qty == 10


async def test_what_takes_at_once_is_cut_off_at_the_liquidity() -> None:
    broker = paper(liquidity="4")
    report = await taken(broker, lots(10))
    assert (report.ord_status, report.cum_qty) == (OrdState.CANCELED, 4)
    whole = await taken(broker, lots(10, time_in_force="fok"))
    assert (whole.ord_status, whole.cum_qty) == (OrdState.CANCELED, 0)


async def test_a_fill_or_kill_order_beyond_the_liquidity_is_refused_as_at_gate() -> None:
    broker = paper(liquidity="4", imitates="gateio")
    order = lots(10, ord_type="limit", price=Decimal(60_010), time_in_force="fok")
    outcome = await broker.submit(ACCOUNT, order, not_after=SINCE + timedelta(seconds=30))
    assert isinstance(outcome, Rejected)
    assert outcome.code == "ORDER_FOK"


# ------------------------------------------------------------------ latency


async def test_an_order_meets_the_price_of_when_it_arrives_within_the_stated_time() -> None:
    taken_s = []
    for _ in range(2):
        clock = HandClock()
        broker = paper(clock, latency_ms=100, latency_jitter_ms=50, latency_seed=7)
        for _ in range(20):
            left_at = clock.at
            await taken(broker, lots(2))
            taken_s.append((clock.at - left_at).total_seconds())
    assert taken_s[:20] == taken_s[20:], "the seed decides"
    assert all(0.1 <= one <= 0.15 for one in taken_s)
    assert len(set(taken_s)) > 10
    assert broker.request_timeout_s >= 0.15 + 1


async def test_an_order_whose_lease_ends_on_its_way_is_not_placed() -> None:
    broker = paper(latency_ms=100)
    outcome = await broker.submit(ACCOUNT, lots(2), not_after=SINCE + timedelta(seconds=0.05))
    assert isinstance(outcome, Unsent)
    assert await broker.positions(ACCOUNT) == []


# ------------------------------------------------------------------ prices


async def test_the_signals_price_is_what_an_order_fills_at_where_settings_say_so() -> None:
    said = Decimal(61_234)
    assert (await taken(paper(prices="signal"), lots(2, signal_px=said))).avg_px == said
    assert (await taken(paper(prices="signal"), lots(2))).avg_px == 60_000
    assert (await taken(paper(), lots(2, signal_px=said))).avg_px == 60_000


CSV = """time,symbol,price
2026-01-01T00:00:00Z,BTC_USDT,60100
2026-01-01T00:00:10Z,BTC_USDT,60200
"""
LINES = """{"time": "2026-01-01T01:00:00+01:00", "symbol": "BTC_USDT", "price": "60100"}

{"time": "2026-01-01T00:00:10Z", "symbol": "BTC_USDT", "price": "60200"}
"""


@pytest.mark.parametrize("text", [CSV, LINES])
async def test_a_file_of_prices_is_replayed_by_the_clock(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices"
    path.write_text(text)
    clock = HandClock()
    broker = paper(clock, prices_file=str(path))
    seen = []
    for _ in range(3):
        seen.append((await taken(broker, lots(2))).avg_px)
        clock.at += timedelta(seconds=5)
    assert seen == [60_100, 60_100, 60_200]


async def test_recorded_prices_hold_from_their_own_time(tmp_path: Path) -> None:
    path = tmp_path / "prices"
    path.write_text(CSV.replace("2026-01-01T00:00:10", "2026-11-02T09:00:10"))
    clock = HandClock()
    broker = paper(clock, prices_file=str(path), prices_from="recorded")
    assert (await broker.instruments())["BTC_USDT"].last_price == 60_100
    clock.at += timedelta(seconds=10)
    assert (await broker.instruments())["BTC_USDT"].last_price == 60_200


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "heading"),
        ("time,symbol\n", "heading"),
        ("time,symbol,price\n", "no prices"),
        (CSV + "2026-01-01T00:00:11Z,BTC_USDT\n", "three cells"),
        (CSV + "2026-01-01T00:00:11,BTC_USDT,1\n", "line 4: time .* no offset"),
        (CSV + "yesterday,BTC_USDT,1\n", "line 4: .*yesterday"),
        (CSV + "2026-01-01T00:00:09Z,BTC_USDT,1\n", "before the row above"),
        (CSV + "2026-01-01T00:00:11Z,ETH_USDT,1\n", "none of the instruments"),
        (CSV + "2026-01-01T00:00:11Z,BTC_USDT,NaN\n", "line 4: price"),
        ('{"time": "2026-01-01T00:00:11Z", "price": "1"}', "line 1: .*symbol"),
    ],
)
def test_a_bad_file_of_prices_says_where_and_why(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=named):
        paper(prices_file=str(path))


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"fill_share": "0"}, "fill_share"),
        ({"fill_share": "1.1"}, "fill_share"),
        ({"liquidity": "0"}, "liquidity"),
        ({"latency_ms": -1}, "negative"),
        ({"latency_ms": 4000, "latency_jitter_ms": 1001}, "5000 together"),
        ({"taker_fee_bps": "10000"}, "taker_fee_bps"),
        ({"margins": {"TXF": "0"}}, "margins.TXF"),
        ({"instruments": [], "prices_file": "/x"}, "own instruments"),
    ],
)
def test_terms_that_cannot_be_are_refused(said: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        PaperSettings(**({"instruments": [BTC]} | said))


# ------------------------------------------------------------------ a restart


async def test_what_was_bought_for_cash_before_a_restart_is_paid_for() -> None:
    """Else every restart would hand out the money anew."""

    async def remembered(_: object) -> list[BrokerPosition]:
        qty = Decimal(1_000_000)
        return [BrokerPosition(symbol="BTC_USDT", qty=qty, avg_px=Decimal(90), unrealised_pnl=None)]

    settings = PaperSettings(instruments=[BTC], imitates="gateio_spot")
    broker = PaperBroker(settings, SystemClock(), remembered=remembered)
    outcome = await submitted(broker, ACCOUNT, lots(200))  # 1,000 left, 1,200 and more needed
    assert isinstance(outcome, Rejected)
    assert outcome.kind == "funds"
