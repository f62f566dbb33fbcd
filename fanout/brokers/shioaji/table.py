"""The contracts that this host trades, fetched at a session's start, and their prices, asked for as they age."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import structlog

from fanout.brokers.shioaji import accounting, contracts
from fanout.brokers.shioaji.calls import Calls
from fanout.brokers.shioaji.contracts import Contract, Quote, decimal_of
from fanout.brokers.shioaji.port import Sdk, SdkSnapshot
from fanout.brokers.shioaji.settings import ShioajiSettings
from fanout.ports import Instrument
from tenancy.clock import Clock

SNAPSHOTS_MOST = 500
"""Contracts in one question."""

log = structlog.get_logger()


class Table:
    """By symbol. Empty until load() has run."""

    def __init__(self, sdk: Sdk, settings: ShioajiSettings, calls: Calls, clock: Clock) -> None:
        self._sdk, self._settings, self._calls, self._clock = sdk, settings, calls, clock
        self._contracts: dict[str, Contract] = {}
        self._raw: dict[str, Any] = {}
        self._quotes: dict[str, Quote] = {}
        self._quoted_at: datetime | None = None
        self._asking = asyncio.Lock()

    def load(self) -> None:
        """Read the SDK's own table, once after the login. Blocks; raises what the SDK raises."""
        ms = int(self._settings.login_timeout_s * 1000)
        self._sdk.fetch_contracts(contract_download=True, contracts_timeout=ms)
        table = self._sdk.contracts
        found: list[Contract | None] = []
        for odd, codes in ((False, self._settings.stocks), (True, self._settings.odd_stocks)):
            for code in codes:
                found.append(self._take(table.stocks.get(code), None, odd=odd))
        for category, roots in (
            (table.futures, self._settings.futures),
            (table.options, self._settings.options),
        ):
            for root in roots:
                found += [self._take(raw, root) for raw in category.get(root, None) or ()]
        self._contracts = contracts.by_symbol(found)
        log.info("shioaji_contracts", count=len(self._contracts))

    def _take(self, raw: Any, root: str | None, *, odd: bool = False) -> Contract | None:
        if raw is None:
            return None
        if root is None:
            made: Contract | None = contracts.stock(raw, odd=odd)
        else:
            made = contracts.derivative(raw, root, self._settings.futures_most)
        if made is None:
            log.error("shioaji_multiplier_unclear", code=str(raw.code), stated=raw.multiplier)
            return None
        self._raw[made.symbol] = raw
        return made

    def get(self, symbol: str) -> Contract | None:
        return self._contracts.get(symbol)

    def raw(self, contract: Contract) -> Any:
        """What place_order takes: of a continuous future the contract of its month."""
        return self._raw.get(contract.code, self._raw[contract.symbol])

    async def instruments(self) -> list[Instrument]:
        """With prices no older than `quotes_max_age_s`. Raises Unavailable."""
        async with self._asking:
            if self._quoted_at is None or self._clock.now() - self._quoted_at > self._max_age:
                await self._ask()
            at = self._quoted_at
        assert at is not None
        return [
            contracts.instrument(each, self._quotes.get(each.code), at)
            for each in self._contracts.values()
        ]

    @property
    def _max_age(self) -> timedelta:
        return timedelta(seconds=self._settings.quotes_max_age_s)

    async def _ask(self) -> None:
        at = self._clock.now()  # before the question: a price is never younger than it says
        traded = {each.code: self.raw(each) for each in self._contracts.values()}
        codes = sorted(traded)
        quotes: dict[str, Quote] = {}
        patience = self._settings.query_timeout_s
        for start in range(0, len(codes), SNAPSHOTS_MOST):
            some = [traded[code] for code in codes[start : start + SNAPSHOTS_MOST]]
            with accounting.answered():
                quotes |= _quotes(await self._snapshots(some, patience))
        self._quotes, self._quoted_at = quotes, at

    async def _snapshots(self, some: list[Any], patience: float) -> list[SdkSnapshot]:
        ms = int(patience * 1000)
        return await self._calls.market(
            lambda: self._sdk.snapshots(some, timeout=ms), patience_s=patience
        )


def _quotes(rows: Iterable[Any]) -> dict[str, Quote]:
    return {
        str(row.code): Quote(
            code=str(row.code),
            last=decimal_of(row.close),
            bid=decimal_of(row.buy_price),
            ask=decimal_of(row.sell_price),
        )
        for row in rows
    }
