"""A request that passed the gateway, as the paths' handlers see it, and how they read its query."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from loadtest.exchanges.gateio import rules
from loadtest.exchanges.gateio.exchange import Exchange
from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.orders import Arrival
from loadtest.exchanges.gateio.refusal import Refusal, invalid

T = TypeVar("T")


class Call(msgspec.Struct, kw_only=True):
    """`argument`: what stood for `{}` in the path. `decimals`: sizes as decimal strings."""

    exchange: Exchange
    account: Account | None
    argument: str
    query: Mapping[str, str]
    body: bytes
    decimals: bool
    arrival: Arrival
    source: str = "api"
    """The text of an order that has none of its own."""

    @property
    def user(self) -> Account:
        assert self.account is not None
        return self.account

    def funded(self) -> Account:
        """Raises USER_NOT_FOUND for a user without a futures account."""
        rules.funded(self.user)
        return self.user

    def needed(self, name: str) -> str:
        """Raises MISSING_REQUIRED_PARAM."""
        value = self.query.get(name)
        if not value:
            raise Refusal("MISSING_REQUIRED_PARAM", f"Missing required parameter: {name}")
        return value

    def contract(self) -> str | None:
        """The query's contract, which must exist where it is given."""
        name = self.query.get("contract")
        if name:
            self.exchange.book(name)
        return name or None

    def whole(self, name: str, default: int, least: int = 0, most: int = 2**63) -> int:
        """Raises INVALID_PARAM_VALUE for what is no number or out of bounds."""
        text = self.query.get(name, str(default))
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise invalid(name, text)
        return int(text)

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() == "true"

    def page(self, rows: list[T]) -> list[T]:
        """By `limit` (1 to 1000, 100 if nothing is said) and `offset`."""
        limit = self.whole("limit", 100, 1, 1000)
        offset = self.whole("offset", 0, 0, 1_000_000)
        return rows[offset : offset + limit]

    def between(self, rows: list[T], at: Callable[[T], float]) -> list[T]:
        """Those in the query's `from` and `to`: Unix seconds, both included."""
        since, until = self.whole("from", 0), self.whole("to", 2**40)
        return [row for row in rows if since <= at(row) <= until]


Answered = tuple[int, Any]
Handler = Callable[[Call], Answered]


class Endpoint(msgspec.Struct, frozen=True):
    """`path` after /api/v4/, `{}` for one segment; `counts_as`: the rate limit's name; `public` ones
    need no signature."""

    method: str
    path: str
    counts_as: str
    handler: Handler
    public: bool = False
