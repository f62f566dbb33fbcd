"""Protections at the broker: stops and targets behind a position that live without the gateway."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from fanout.abilities import Protection
from fanout.ports import Acked, CancelDone, CancelTooLate, Outcome, Rejected
from tests.acceptance.case import case
from tests.acceptance.desk import Desk, soon
from tests.acceptance.needs import PROTECTS


async def protect(desk: Desk, **changed: Any) -> Outcome:
    facts: dict[str, Any] = {
        "cl_ord_id": desk.order().cl_ord_id, "symbol": desk.symbol, "side": "sell",
        "qty": Decimal(10), "stop_px": None, "target_px": None,
    }  # fmt: skip
    wanted = Protection(**(facts | changed))
    outcome: Outcome = await desk.broker.protect(desk.account, wanted, not_after=soon())
    return outcome


async def standing(desk: Desk) -> int:
    return len(await desk.broker.protections(desk.account, desk.symbol))


@case("TC-E80", "a stop stands behind the position, and closes it at its price", PROTECTS)
async def stop(desk: Desk) -> None:
    await desk.hold()
    assert isinstance(await protect(desk, stop_px=desk.at("0.95")), Acked)
    assert await standing(desk) == 1
    await desk.move("0.94")
    assert await desk.held() == 0


@case("TC-E81", "a target stands behind the position, and closes it at its price", PROTECTS)
async def target(desk: Desk) -> None:
    await desk.hold()
    assert isinstance(await protect(desk, target_px=desk.at("1.05")), Acked)
    await desk.move("1.06")
    assert await desk.held() == 0


@case("TC-E82", "a stop and a target are taken back by their joint name", PROTECTS)
async def taken_back(desk: Desk) -> None:
    await desk.hold()
    outcome = await protect(desk, stop_px=desk.at("0.95"), target_px=desk.at("1.05"))
    assert isinstance(outcome, Acked), outcome
    name = outcome.report.broker_order_id
    assert isinstance(await desk.broker.unprotect(desk.account, name), CancelDone)
    assert await standing(desk) == 0
    await desk.move("0.94")
    assert await desk.held() == 10


@case("TC-E83", "a stop that was taken back is too late to take back", PROTECTS)
async def taken_back_twice(desk: Desk) -> None:
    await desk.hold()
    outcome = await protect(desk, stop_px=desk.at("0.95"))
    assert isinstance(outcome, Acked), outcome
    name = outcome.report.broker_order_id
    assert isinstance(await desk.broker.unprotect(desk.account, name), CancelDone)
    assert isinstance(await desk.broker.unprotect(desk.account, name), CancelTooLate)


@case("TC-E84", "a trailing stop follows the market, and closes the position", PROTECTS)
async def trailing(desk: Desk) -> None:
    await desk.hold()
    assert isinstance(await protect(desk, trail_percent=Decimal(1)), Acked)
    await desk.move("1.5")
    assert await desk.held() == 10
    await desk.move("1.4")
    assert await desk.held() == 0


@case("TC-E85", "a stop that the market has passed is refused, and stands nowhere", PROTECTS)
async def passed(desk: Desk) -> None:
    await desk.hold()
    outcome = await protect(desk, stop_px=desk.at("1.02"))
    assert isinstance(outcome, Rejected), outcome
    assert outcome.kind == "price"
    assert await standing(desk) == 0


@case("TC-E86", "a stop behind a position that is gone opens nothing", PROTECTS)
async def position_gone(desk: Desk) -> None:
    await desk.hold()
    await protect(desk, stop_px=desk.at("0.95"))
    await desk.placed(desk.order(side="sell"))
    await desk.move("0.94")
    assert await desk.held() == 0
