"""The abilities that not every adapter has, who claims them, and what holds where they are not claimed."""

from __future__ import annotations

import inspect
from decimal import Decimal

from fanout import abilities
from fanout.abilities import AmendRefused
from fanout.ports import AbsentUnproven, Acked, InDoubt
from tests.acceptance.case import Claims, Need
from tests.acceptance.desk import Desk, soon
from tests.fakes.orders import submitted

# ------------------------------------------------------------------ kinds of order


def ord_type(name: str) -> Need:
    async def refused(desk: Desk) -> None:
        """Unsent would be tried again until its deadline, a close for ever."""
        order = desk.order(ord_type=name, stop_px=desk.at("1.1"), price=desk.at("1.15"))
        assert (await desk.refused(order)).code == "unsupported_order"
        assert await desk.held() == 0
        assert not await desk.open()

    word = name.replace("_", " ")
    return Need(
        word, lambda it: name in it.caps.ord_types, refused, f"a {word} order is refused for good"
    )


def in_force(kind: str, tif: str) -> Need:
    async def refused(desk: Desk) -> None:
        order = desk.order(ord_type=kind, time_in_force=tif, price=desk.at("1"))
        assert (await desk.refused(order)).code == "unsupported_order"
        assert await desk.held() == 0
        assert not await desk.open()

    return Need(
        f"{kind} {tif}", lambda it: tif in it.caps.times_in_force[kind], refused,
        f"a {kind} order {tif} is refused for good",
    )  # fmt: skip


# ------------------------------------------------------------------ abilities of fanout/abilities.py


def ability(name: str, protocol: type) -> Need:
    """Nobody can call what is not there: the caller sees it in Caps, and the type checker in the adapter."""

    async def refused(desk: Desk) -> None:
        for method, _ in inspect.getmembers(protocol, inspect.isfunction):
            if not method.startswith("_"):
                assert not hasattr(desk.broker, method), f"{method}() is there and not claimed"

    def claimed(it: Claims) -> bool:
        value = getattr(it.caps, name)
        return bool(value > 1) if name == "batch_max" else bool(value)

    return Need(name, claimed, refused, "the adapter has no such method")


AMEND = ability("amend", abilities.Amends)
BATCHES = ability("batch_max", abilities.Batches)
CANCEL_ALL = ability("cancel_all", abilities.CancelsAll)
PROTECTS = ability("protects", abilities.Protects)
STATEMENT = ability("statement", abilities.Statement)
BALANCES = ability("balances", abilities.HasBalances)
TELLS = ability("tells", abilities.Tells)
DEAD_MAN = ability("dead_man", abilities.DeadMan)


async def _quantity_stands(desk: Desk) -> None:
    if not desk.caps.amend:
        await AMEND.refused(desk)
        return
    order = await desk.known(desk.limit())
    outcome = await desk.broker.amend(
        desk.account, order, order_qty=Decimal(7), price=None, not_after=soon()
    )
    assert isinstance(outcome, AmendRefused), outcome
    assert not outcome.too_late
    assert await desk.open() == {order.cl_ord_id}


AMEND_QTY = Need(
    "amends quantities", lambda it: it.caps.amend and "amend_qty" in it.also, _quantity_stands,
    "a change of quantity is refused and the order stands as it stood",
)  # fmt: skip


# ------------------------------------------------------------------ kinds of account


async def _no_short(desk: Desk) -> None:
    assert (await desk.refused(desk.order(side="sell"))).kind == "funds"
    assert await desk.held() == 0


SHORTS = Need(
    "shorts", lambda it: not it.caps.balances, _no_short, "what is not held cannot be sold"
)


async def _one_way(desk: Desk) -> None:
    await desk.hold(10)
    await desk.placed(desk.order(side="sell", order_qty=Decimal(6)))
    (row,) = await desk.broker.positions(desk.account)
    assert (row.side, row.qty) == ("net", 4)


HEDGE = Need(
    "hedge mode", lambda it: "hedge" in it.also, _one_way,
    "a sell takes from what a buy opened: one net position",
)  # fmt: skip


async def _needs_no_key(desk: Desk) -> None:
    bare = desk.same(desk.account, api_key=None, credential=None)  # type: ignore[type-var]
    assert isinstance(await submitted(desk.broker, bare, desk.order()), Acked)


CREDENTIAL = Need(
    "keys", lambda it: it.caps.credential, _needs_no_key, "an account trades without a key"
)


# ------------------------------------------------------------------ doubt


async def _never_in_doubt(desk: Desk) -> None:
    """Its book is in our process: there is no way on which anything could be lost."""
    assert not desk.caps.remembers
    order = desk.order()
    assert not isinstance(await submitted(desk.broker, desk.account, order), InDoubt)
    await desk.found(order)


NETWORK = Need(
    "a network", lambda it: "network" in it.also, _never_in_doubt,
    "nothing is ever in doubt: the book is in our process",
)  # fmt: skip


async def _not_proven(desk: Desk) -> None:
    """Without a deadline at the server a lost order may still come: a person decides."""
    if desk.spoil_next is None:
        await _never_in_doubt(desk)
        return
    await desk.spoil("lost_before")
    order = desk.order()
    assert isinstance(await submitted(desk.broker, desk.account, order), InDoubt)
    assert isinstance(await desk.looked_up(order), AbsentUnproven)


DEADLINE = Need(
    "a server deadline", lambda it: it.caps.server_deadline, _not_proven,
    "what left and is not there is never proven absent; where the book is ours nothing leaves",
)  # fmt: skip


async def _second_order(desk: Desk) -> None:
    order = desk.order()
    await desk.placed(order)
    await desk.placed(order)
    assert await desk.held() == 20


UNIQUE_IDS = Need(
    "unique client ids", lambda it: it.caps.unique_client_ids, _second_order,
    "a second sending is a second order: only our own rule protects, once each",
)  # fmt: skip


async def _no_equity(desk: Desk) -> None:
    assert await desk.broker.equity(desk.account) is None


EQUITY = Need("equity", lambda it: it.caps.equity, _no_equity, "equity() is None")
