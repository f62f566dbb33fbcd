"""What is sent for what was asked: the same on the page, in the caps and on the wire."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from fanout.brokers.gateio import wire
from fanout.brokers.paper.book import PaperBook
from fanout.brokers.paper.money import Means
from fanout.order import OrdType, TimeInForce
from fanout.ports import Acked, Caps, Rejected
from fanout.reasons import Reason
from fanout.time_in_force import (
    MEANS,
    TRIGGERED,
    SentAs,
    extended_hours_refusal,
    sent_as,
)
from tests.contract.adapters import ADAPTERS
from tests.contract.venues import BTC
from tests.fakes.orders import an_account, an_order

PAGE = Path(__file__).parents[3] / "docs/brokers.md"
ASKED: tuple[TimeInForce, ...] = ("day", "gtc", "opg", "cls", "ioc", "fok")
CAPS: dict[str, Caps] = {name: make().caps for name, make in ADAPTERS.items()}
EVERY = [
    (broker, ord_type, tif) for broker in CAPS for ord_type in ("market", "limit") for tif in ASKED
]


def sent(broker: str, ord_type: OrdType, tif: TimeInForce) -> TimeInForce | None:
    found = sent_as(CAPS[broker], ord_type, tif)
    return found.time_in_force if isinstance(found, SentAs) else None


def test_every_time_in_force_is_looked_at() -> None:
    assert set(ASKED) == set(get_args(TimeInForce)) == set(MEANS)


def test_the_page_is_what_the_brokers_say() -> None:
    rows = re.findall(
        r"^\| (\w+) \| (market|\w*limit|\w*stop) \|((?: [\w–]+ \|){6})$", PAGE.read_text(), re.M
    )
    page = {
        (broker, ord_type): tuple(cell.strip() for cell in cells.strip(" |").split("|"))
        for broker, ord_type, cells in rows
    }
    ours = {
        (broker, ord_type): tuple(sent(broker, ord_type, tif) or "–" for tif in ASKED)  # type: ignore[arg-type]
        for broker, caps in CAPS.items()
        for ord_type in sorted(caps.ord_types)
    }
    assert page == ours


@pytest.mark.parametrize(("broker", "ord_type", "tif"), EVERY)
def test_what_is_sent_stays_what_it_is(broker: str, ord_type: OrdType, tif: TimeInForce) -> None:
    """The adapter maps too: an order that the plan has mapped already must not change again."""
    first = sent(broker, ord_type, tif)
    assert first is None or sent(broker, ord_type, first) == first


@pytest.mark.parametrize(("ord_type", "tif"), [(o, t) for b, o, t in EVERY if b == "gateio"])
def test_gates_wire_says_the_same(ord_type: OrdType, tif: TimeInForce) -> None:
    order = an_order(an_account(), ord_type=ord_type, time_in_force=tif, price=Decimal(60_000))
    expected = sent("gateio", ord_type, tif)
    if expected is None:
        with pytest.raises(wire.Unsupported):
            wire.place("usdt", order)
    else:
        assert json.loads(wire.place("usdt", order).body)["tif"] == expected


@pytest.mark.parametrize(("ord_type", "tif"), [(o, t) for b, o, t in EVERY if b == "paper"])
@pytest.mark.parametrize("price", ["59000", "61000"])
def test_paper_does_with_it_what_it_does_with_what_is_sent(
    ord_type: OrdType, tif: TimeInForce, price: str
) -> None:
    def became(time_in_force: TimeInForce) -> object:
        now = datetime.now(UTC)
        order = an_order(
            an_account(), ord_type=ord_type, time_in_force=time_in_force, price=Decimal(price),
            order_qty=Decimal(10),
        )  # fmt: skip
        outcome = PaperBook({}).place(
            order, {"BTC_USDT": BTC.instrument(now)},
            means=Means(Decimal(10**6), Decimal(1)), now=now,
        )  # fmt: skip
        return outcome.report.ord_status if isinstance(outcome, Acked) else type(outcome)

    expected = sent("paper", ord_type, tif)
    assert became(tif) == (Rejected if expected is None else became(expected))


def test_a_fall_back_is_said_in_words_and_the_asked_one_with_it() -> None:
    found = sent_as(CAPS["gateio"], "limit", "day")
    words = "time in force day is sent as gtc: it rests until it is filled or cancelled"
    assert found == SentAs("gtc", words)
    assert sent_as(CAPS["gateio"], "limit", "fok") == SentAs("fok")
    assert sent_as(CAPS["gateio"], "market", "fok") is Reason.TIME_IN_FORCE_UNSUPPORTED
    assert sent_as(CAPS["paper"], "limit", "cls") is Reason.TIME_IN_FORCE_UNSUPPORTED


@pytest.mark.parametrize("ord_type", sorted(TRIGGERED))
def test_what_the_stop_engine_holds_goes_by_what_it_will_send(ord_type: OrdType) -> None:
    for tif in ASKED:
        assert sent_as(CAPS["gateio"], ord_type, tif) == sent_as(
            CAPS["gateio"], TRIGGERED[ord_type], tif
        )


def test_a_brokers_own_stop_goes_by_its_own_row() -> None:
    caps = msgspec.structs.replace(
        CAPS["paper"],
        times_in_force={"market": {"day": "ioc"}, "stop": {"gtc": "gtc"}},
    )
    assert sent_as(caps, "stop", "gtc") == SentAs("gtc")
    assert sent_as(caps, "stop", "day") is Reason.TIME_IN_FORCE_UNSUPPORTED


@pytest.mark.parametrize("kind", ["spot", "stock", "perpetual", "future", "option"])
@pytest.mark.parametrize("broker", sorted(CAPS))
def test_extended_hours_are_for_stocks_where_the_broker_has_them(kind: Any, broker: str) -> None:
    caps = CAPS[broker]
    refused = extended_hours_refusal(True, kind, caps, closes=False)
    fine = kind == "stock" and broker == "paper"
    assert refused == (None if fine else Reason.EXTENDED_HOURS_UNSUPPORTED)
    assert extended_hours_refusal(True, kind, caps, closes=True) is None, "an exit always goes"
    for asked in (None, False):
        assert extended_hours_refusal(asked, kind, caps, closes=False) is None
