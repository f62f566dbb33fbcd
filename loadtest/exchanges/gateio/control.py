"""The other side of the simulator: set up, misbehave, audit. Only loopback is answered.

Paths below /_control/: POST accounts, POST keys, POST price, POST faults, DELETE faults, GET faults,
POST mood, GET mood, DELETE mood, POST settings, GET audit, GET positions, GET stats; spot's are in
spot_control.py. Bodies and answers are JSON; errors are 400 with a `message`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import orjson

from loadtest.exchanges.gateio.faults import Rule
from loadtest.exchanges.gateio.gateway import Answer, Gateway, Request
from loadtest.exchanges.gateio.ledger import Listed
from loadtest.exchanges.gateio.limits import Limits
from loadtest.exchanges.gateio.mood import BadMood, SeededMood
from loadtest.exchanges.gateio.orders import Order
from loadtest.exchanges.gateio.refusal import Refusal
from loadtest.exchanges.gateio.spot_control import SpotControl
from loadtest.exchanges.gateio.views import money, plain

PREFIX = "/_control/"
LOOPBACK = ("127.0.0.1", "::1")


class NewAccount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`balance` in USDT; None is a user who never funded a futures account."""

    key: str
    secret: str
    balance: Decimal | None = Decimal(10_000)
    leverage: Decimal = Decimal(10)
    permissions: tuple[str, ...] = ("futures",)
    read_only: tuple[str, ...] = ()
    ip_whitelist: tuple[str, ...] = ()
    sub_of: str | None = None
    """The key of the account that this is a sub-account of."""

    def __repr__(self) -> str:
        return f"NewAccount(key={self.key!r})"


class ChangedKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What its owner changes about a key, or about the account behind it. What is given is changed."""

    key: str
    permissions: tuple[str, ...] | None = None
    read_only: tuple[str, ...] | None = None
    key_state: int | None = None
    listed: Listed | None = None
    revoked: bool | None = None
    unified: bool | None = None
    evolved: bool | None = None
    dual_mode: bool | None = None


class NewPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`mark` in USDT; the market maker's depth: `levels` of `level_size` contracts a side."""

    contract: str
    mark: Decimal
    levels: int | None = None
    level_size: Decimal | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is given is changed. `order_delay_ms` comes before the execution of every order."""

    order_delay_ms: float | None = None
    orders_per_s: int | None = None
    cancels_per_s: int | None = None
    others_per_10_s: int | None = None
    spot_orders_per_s: int | None = None


class Control:
    """Answers /_control/ requests on behalf of tests, demo, chaos and the auditor."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._exchange = gateway.exchange
        self._spot = SpotControl(gateway.exchange)

    def answer(self, request: Request) -> Answer:
        if request.peer not in LOOPBACK:
            return _json(403, {"message": "control is for loopback only"})
        try:
            return _json(200, self._do(request))
        except (msgspec.DecodeError, Refusal, ValueError) as error:
            return _json(400, {"message": str(error)})

    def _do(self, request: Request) -> Any:
        if request.path.startswith(PREFIX + "spot/"):
            return self._spot.do(request)
        match (request.method, request.path.removeprefix(PREFIX)):
            case ("POST", "accounts"):
                return self._accounts(request.body)
            case ("POST", "keys"):
                return self._key(msgspec.json.decode(request.body, type=ChangedKey))
            case ("POST", "price"):
                return self._price(msgspec.json.decode(request.body, type=NewPrice))
            case ("POST", "faults"):
                self._gateway.faults.add(msgspec.json.decode(request.body, type=list[Rule]))
                return self._gateway.faults.report()
            case ("GET", "faults"):
                return self._gateway.faults.report()
            case ("DELETE", "faults"):
                self._gateway.faults.clear()
                return []
            case ("POST", "mood"):
                mood = SeededMood(msgspec.json.decode(request.body, type=BadMood))
                self._gateway.faults.mood = mood
                return mood.report()
            case ("GET", "mood"):
                mood_now = self._gateway.faults.mood
                return mood_now.report() if isinstance(mood_now, SeededMood) else None
            case ("DELETE", "mood"):
                self._gateway.faults.mood = None
                return None
            case ("POST", "settings"):
                return self._settings(msgspec.json.decode(request.body, type=Settings))
            case ("GET", "audit"):
                return self.audit()
            case ("GET", "positions"):
                return self.positions()
            case ("GET", "stats"):
                return self.stats()
        raise Refusal("NOT_FOUND", f"{request.method} {request.path}")

    def _accounts(self, body: bytes) -> list[dict[str, object]]:
        opened = []
        for it in msgspec.json.decode(body, type=list[NewAccount]):
            account = self._exchange.open_account(
                key=it.key,
                secret=it.secret,
                balance=it.balance,
                leverage=it.leverage,
                permissions=it.permissions,
                read_only=it.read_only,
                ip_whitelist=it.ip_whitelist,
                sub_of=it.sub_of,
            )
            opened.append({"key": account.key, "uid": account.uid})
        return opened

    def _key(self, it: ChangedKey) -> dict[str, str]:
        account = self._exchange.accounts.get(it.key)
        if account is None:
            raise Refusal("INVALID_KEY", f"there is no key {it.key}")
        for name in ChangedKey.__struct_fields__:
            if (value := getattr(it, name)) is not None:
                setattr(account, name, value)
        return {"key": account.key}

    def _price(self, it: NewPrice) -> dict[str, int]:
        hit = self._exchange.set_price(
            it.contract, it.mark, levels=it.levels, level_size=it.level_size
        )
        return {"orders_hit": hit}

    def _settings(self, it: Settings) -> dict[str, object]:
        if it.order_delay_ms is not None:
            self._gateway.order_delay_s = it.order_delay_ms / 1000
        limits = self._gateway.limiter.limits
        for name in Limits.__struct_fields__:
            if (value := getattr(it, name)) is not None:
                setattr(limits, name, value)
        return {
            "order_delay_ms": self._gateway.order_delay_s * 1000,
            **msgspec.to_builtins(limits),
        }

    # ------------------------------------------------------------------ what happened

    def audit(self) -> dict[str, object]:
        """Every order that was ever executed, oldest first, and texts used more than once."""
        seen: dict[tuple[str, str], list[int]] = {}
        for order in self._exchange.orders:
            if order.text.startswith("t-"):
                seen.setdefault((order.key, order.text), []).append(order.id)
        return {
            "orders": [_audited(order) for order in self._exchange.orders],
            "duplicates": [
                {"key": key, "text": text, "order_ids": ids}
                for (key, text), ids in seen.items()
                if len(ids) > 1
            ],
        }

    def positions(self) -> list[dict[str, object]]:
        """Every position of every account, and the market maker's (key "")."""
        return [
            {
                "key": account.key,
                "uid": account.uid,
                "contract": name,
                "leg": position.leg,
                "size": plain(position.size),
                "entry_price": money(position.entry_price),
            }
            for account in (self._exchange.house, *self._exchange.accounts.values())
            for (name, _), position in account.positions.items()
        ]

    def stats(self) -> dict[str, object]:
        return {
            "accounts": len(self._exchange.accounts),
            "requests": self._gateway.arrivals,
            "orders": len(self._exchange.orders),
            "fault_hits": self._gateway.faults.total_hits,
            "answers": {str(status): n for status, n in self._gateway.answers.items()},
            "refused": dict(self._exchange.refused),
        }


def _audited(order: Order) -> dict[str, object]:
    return {
        "order_id": order.id,
        "uid": order.uid,
        "key": order.key,
        "text": order.text,
        "contract": order.contract,
        "size": plain(order.size),
        "filled": plain(order.filled),
        "fill_price": money(order.value / order.filled) if order.filled else None,
        "tif": order.tif,
        "price": plain(order.price),
        "reduce_only": order.reduce_only,
        "status": order.status,
        "finish_as": order.finish_as,
        "arrival": order.arrival.index,
        "arrived_monotonic": order.arrival.monotonic,
        "arrived_wall": order.arrival.wall,
        "executed_monotonic": order.executed_monotonic,
        "executed_wall": order.create_time,
    }


def _json(status: int, document: object) -> Answer:
    return Answer(status, orjson.dumps(document), {})
