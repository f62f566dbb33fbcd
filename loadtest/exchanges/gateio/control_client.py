"""A small typed client of the control API, for tests, demo, chaos and the auditor."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import aiohttp
import msgspec
import orjson

from loadtest.exchanges.gateio.control import ChangedKey, NewAccount, NewPrice, Settings
from loadtest.exchanges.gateio.faults import Rule
from loadtest.exchanges.gateio.mood import BadMood


class AuditedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that the exchange executed. Sizes in contracts, `size` signed; times in seconds."""

    order_id: int
    uid: int
    key: str
    text: str
    contract: str
    size: Decimal
    filled: Decimal
    fill_price: Decimal | None
    tif: str
    price: Decimal
    reduce_only: bool
    status: str
    finish_as: str | None
    arrival: int
    arrived_monotonic: float
    arrived_wall: float
    executed_monotonic: float
    executed_wall: float


class Duplicate(msgspec.Struct, frozen=True):
    """One text with which one key had more than one order executed."""

    key: str
    text: str
    order_ids: list[int]


class Audit(msgspec.Struct, frozen=True):
    orders: list[AuditedOrder]
    duplicates: list[Duplicate]


class HeldPosition(msgspec.Struct, frozen=True):
    """`size` signed contracts; key "" is the market maker."""

    key: str
    uid: int
    contract: str
    size: Decimal
    entry_price: Decimal
    leg: str = "single"


class ControlRefused(Exception):
    """The control API said no; the message says why."""


class ControlClient:
    """Speaks /_control/ at `url`. Use as an async context manager."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> ControlClient:
        self._session = aiohttp.ClientSession(base_url=self.url)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def create_account(
        self,
        key: str,
        secret: str,
        *,
        balance: Decimal | None = Decimal(10_000),
        leverage: Decimal = Decimal(10),
        permissions: tuple[str, ...] = ("futures",),
    ) -> int:
        """Open and fund an account; returns its uid."""
        account = NewAccount(
            key=key, secret=secret, balance=balance, leverage=leverage, permissions=permissions
        )
        return (await self.create_accounts([account]))[0]

    async def create_accounts(self, accounts: Sequence[NewAccount]) -> list[int]:
        """Open many at once; returns their uids in the same order."""
        opened = await self._ask("POST", "accounts", list(accounts))
        return [row["uid"] for row in orjson.loads(opened)]

    async def change_key(self, key: str, **changed: Any) -> None:
        """As its owner does at the venue: the members of ChangedKey."""
        await self._ask("POST", "keys", ChangedKey(key=key, **changed))

    async def set_price(
        self,
        contract: str,
        mark: Decimal,
        *,
        levels: int | None = None,
        level_size: Decimal | None = None,
    ) -> None:
        """Move the mark price, and the market maker's quotes with it."""
        price = NewPrice(contract=contract, mark=mark, levels=levels, level_size=level_size)
        await self._ask("POST", "price", price)

    async def set_faults(self, *rules: Rule) -> None:
        """Add rules to those in force."""
        await self._ask("POST", "faults", list(rules))

    async def clear_faults(self) -> None:
        await self._ask("DELETE", "faults")

    async def set_mood(self, seed: int, *, share: float = 0.1) -> None:
        """Faults by number (mood.py), in place of those by another."""
        await self._ask("POST", "mood", BadMood(seed=seed, share=share))

    async def mood(self) -> dict[str, Any] | None:
        """What is asked for, and `hits` by kind; None where the venue is well."""
        found: dict[str, Any] | None = orjson.loads(await self._ask("GET", "mood"))
        return found

    async def clear_mood(self) -> None:
        await self._ask("DELETE", "mood")

    async def set_delay(self, order_delay_ms: float) -> None:
        """Delay every order by this much before its execution; 0 ends it."""
        await self._ask("POST", "settings", Settings(order_delay_ms=order_delay_ms))

    async def change_settings(self, settings: Settings) -> None:
        await self._ask("POST", "settings", settings)

    async def audit(self) -> Audit:
        """Every order that was ever executed, and texts used more than once."""
        return msgspec.json.decode(await self._ask("GET", "audit"), type=Audit)

    async def positions(self) -> list[HeldPosition]:
        return msgspec.json.decode(await self._ask("GET", "positions"), type=list[HeldPosition])

    async def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = orjson.loads(await self._ask("GET", "stats"))
        return stats

    async def _ask(self, method: str, path: str, document: object = None) -> bytes:
        assert self._session is not None, "use as an async context manager"
        data = None if document is None else msgspec.json.encode(document)
        async with self._session.request(method, "/_control/" + path, data=data) as response:
            body = await response.read()
            if response.status != 200:
                raise ControlRefused(orjson.loads(body)["message"])
            return body
