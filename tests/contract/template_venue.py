"""The template's adapter on the tiny exchange, with a hand on its faults."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from fanout.brokers.template.adapter import TemplateBroker
from fanout.brokers.template.settings import TemplateSettings
from fanout.ports import BrokerAccount
from loadtest.exchanges.tiny import CURRENCY, SYMBOL, Account, TinyExchange
from tenancy.clock import SystemClock
from tests.contract.venues import Venue
from tests.fakes.orders import an_account


class TinySigner:
    """RequestSigner for the tiny exchange, from its documentation alone. Every key's secret is its name."""

    async def sign_request(
        self, account: BrokerAccount, *,
        scheme: str, method: str, path: str, query: str, body: bytes, timestamp: int,
    ) -> str:  # fmt: skip
        assert scheme == "template"
        assert account.api_key is not None
        digest = hashlib.sha256(body).hexdigest()
        text = f"{method}\n{path}\n{query}\n{digest}\n{timestamp}"
        return hmac.new(account.api_key.encode(), text.encode(), hashlib.sha256).hexdigest()


def template_settings(url: str, **changed: Any) -> TemplateSettings:
    """As in production, but impatient."""
    facts: dict[str, Any] = {
        "base_url": url, "sign_timeout_s": 0.5, "connect_timeout_s": 0.4, "request_timeout_s": 0.8,
        "exptime_ms": 250, "orders_per_s": 100, "orders_burst": 50, "instruments_max_age_s": 60.0,
    }  # fmt: skip
    return TemplateSettings(**(facts | changed))


class TemplateVenue(Venue, frozen=True):
    exchange: TinyExchange


@asynccontextmanager
async def template() -> AsyncIterator[TemplateVenue]:
    exchange = TinyExchange()
    url = await exchange.start()
    for key, cash in (("rich", Decimal(10_000)), ("poor", Decimal("0.01"))):
        exchange.accounts[key] = Account(key.encode(), cash)
    broker = TemplateBroker(template_settings(url), TinySigner(), SystemClock())

    async def move(price: Decimal) -> None:
        exchange.set_price(price)

    try:
        await broker.open()
        yield TemplateVenue(
            broker=broker,
            account=an_account(api_key="rich"),
            poor=an_account(api_key="poor"),
            symbol=SYMBOL,
            move=move,
            currency=CURRENCY,
            exchange=exchange,
        )
    finally:
        await broker.close()
        await exchange.stop()
