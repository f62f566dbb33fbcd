"""The template against a misbehaving exchange: the outcome is honest, and find() tells the truth.

The model for an adapter's own faults; the truth is what the exchange has in its books.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fanout.order import Order
from fanout.ports import (
    AbsentProven,
    AbsentUnproven,
    AuthFailed,
    Found,
    InDoubt,
    RateLimited,
    Unsent,
)
from fanout.proof import NotProven
from tests.contract.template_venue import TemplateVenue, template
from tests.fakes.orders import an_account, an_order, submitted

FAULTS = [
    ("lost_before", InDoubt, False),
    ("lost_after", InDoubt, True),
    ("server_error", InDoubt, True),
    ("garbled", InDoubt, True),
    ("busy", RateLimited, False),
]


@pytest.fixture
async def venue() -> AsyncIterator[TemplateVenue]:
    async with template() as up:
        yield up


def an_intent(venue: TemplateVenue) -> Order:
    facts = {"broker": "template", "symbol": venue.symbol, "order_qty": Decimal(10)}
    return an_order(venue.account, **facts)


@pytest.mark.parametrize(("kind", "expected", "exists"), FAULTS)
async def test_after_each_fault_the_outcome_is_honest_and_find_tells_the_truth(
    venue: TemplateVenue, kind: Any, expected: type, exists: bool
) -> None:
    venue.exchange.next_order = kind
    order = an_intent(venue)
    assert isinstance(await submitted(venue.broker, venue.account, order), expected)
    lookup = await venue.broker.find(venue.account, order, sent_by=datetime.now(UTC))
    assert isinstance(lookup, Found if exists else AbsentProven), lookup
    assert list(venue.exchange.accounts["rich"].orders) == ([order.cl_ord_id] if exists else [])


async def test_an_exchange_that_is_away_leaves_it_unsent_and_proves_nothing(
    venue: TemplateVenue,
) -> None:
    await venue.exchange.stop()
    await venue.broker.close()
    await venue.broker._client.open()  # type: ignore[attr-defined]  # as after a connection was lost
    order = an_intent(venue)
    assert isinstance(await submitted(venue.broker, venue.account, order), Unsent)
    lookup = await venue.broker.find(venue.account, order, sent_by=datetime.now(UTC))
    assert isinstance(lookup, AbsentUnproven)


async def test_a_wrong_key_stops_the_account(venue: TemplateVenue) -> None:
    stranger = an_account(api_key="stranger")
    outcome = await submitted(venue.broker, stranger, an_intent(venue))
    assert isinstance(outcome, AuthFailed)
    assert outcome.kind == "key"


@pytest.mark.parametrize(
    ("scopes", "code"),
    [(("trade", "withdraw"), "scope_unknown"), (("read",), "cannot_trade")],
)
async def test_a_key_that_can_do_more_or_less_than_trade_is_not_taken(
    venue: TemplateVenue, scopes: tuple[str, ...], code: str
) -> None:
    venue.exchange.accounts["rich"].scopes = scopes
    soon = datetime.now(UTC) + timedelta(seconds=5)
    proof = await venue.broker.prove(venue.account, test_order=None, not_after=soon)
    assert isinstance(proof, NotProven)
    assert proof.code == code
