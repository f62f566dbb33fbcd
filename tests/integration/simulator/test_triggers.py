"""Price-triggered and trailing orders, by the official client."""

from __future__ import annotations

from decimal import Decimal

import gate_api
import pytest
from gate_api.exceptions import GateApiException

from tests.integration.simulator.clients import Wire, limit, market

D = Decimal
BTC = "BTC_USDT"


def stop(
    at: str,
    rule: int,
    *,
    order_type: str | None = None,
    expiration: int | None = None,
    price_type: int = 0,
    **initial: object,
) -> gate_api.FuturesPriceTriggeredOrder:
    wanted = {"contract": BTC, "size": 0, "price": "0", "tif": "ioc", **initial}
    return gate_api.FuturesPriceTriggeredOrder(
        initial=gate_api.FuturesInitialOrder(**wanted),
        trigger=gate_api.FuturesPriceTrigger(
            strategy_type=0, price_type=price_type, price=at, rule=rule, expiration=expiration
        ),
        order_type=order_type,
    )


async def refused(answer) -> str:
    with pytest.raises(GateApiException) as error:
        await answer
    return error.value.label


async def size(trader) -> str:
    return (await trader.get_position(BTC)).size


async def test_a_stop_closes_the_position_when_the_price_falls_to_it(gateio, trader):
    await trader.create_futures_order(market(5))
    made = await trader.create_price_triggered_order(
        stop("59000", 2, close=True, order_type="close-long-position")
    )
    await gateio.control.set_price(BTC, D("59000.1"))
    assert await size(trader) == "5"
    await gateio.control.set_price(BTC, D(59000))
    assert await size(trader) == "0"
    it = await trader.get_price_triggered_order(str(made.id))
    assert (it.status, it.finish_as, it.id_string) == ("finished", "succeeded", str(made.id))
    order = await trader.get_futures_order(str(it.trade_id))
    assert (order.text, order.is_close, order.finish_as) == (f"ao-{made.id}", True, "filled")


async def test_a_target_fires_at_its_price_and_its_stop_stays(gateio, trader):
    """No OCO: what is left over is the client's to cancel."""
    await trader.create_futures_order(market(5))
    await trader.create_price_triggered_order(stop("61000", 1, size=-5, reduce_only=True))
    await trader.create_price_triggered_order(stop("59000", 2, size=-5, reduce_only=True))
    await gateio.control.set_price(BTC, D(61500))
    assert await size(trader) == "0"
    (left,) = await trader.list_price_triggered_orders("open")
    assert left.trigger.rule == 2
    await gateio.control.set_price(BTC, D(58500))
    failed = await trader.get_price_triggered_order(left.id_string)
    assert (failed.finish_as, failed.reason) == ("failed", "REDUCE_EXCEEDED")


async def test_a_trigger_on_the_wrong_side_of_the_last_price_is_refused(trader):
    create = trader.create_price_triggered_order
    assert await refused(create(stop("60000", 1, size=1))) == "AUTO_TRIGGER_PRICE_GREATE_LAST"
    assert await refused(create(stop("60000", 2, size=1))) == "AUTO_TRIGGER_PRICE_LESS_LAST"
    assert await refused(create(stop("61000.05", 1, size=1))) == "INVALID_PARAM_VALUE"
    assert await refused(create(stop("61000", 1, size=0))) == "INVALID_PARAM_VALUE"
    assert await trader.list_price_triggered_orders("open") == []


async def test_a_trigger_on_the_last_price_looks_at_trades(gateio, trader):
    """The mark stands still; somebody sells down to the trigger."""
    await gateio.control.set_price(BTC, D(60000), levels=0)
    await trader.create_futures_order(limit(1, "59500"))
    await trader.create_price_triggered_order(stop("59500", 2, size=-1, price="59000", tif="gtc"))
    by_mark = await trader.create_price_triggered_order(stop("59500", 2, size=-1, price_type=1))
    await gateio.control.create_account("seller", "s")
    await Wire(gateio.url, "seller", "s").order("t-s", size=-1, price="59500")
    (still,) = await trader.list_price_triggered_orders("open")
    assert still.id == by_mark.id
    (resting,) = await trader.list_futures_orders("open")
    assert resting.text.startswith("ao-")


async def test_triggers_expire_and_are_cancelled_one_or_all(gateio, trader):
    create = trader.create_price_triggered_order
    await create(stop("61000", 1, size=1, expiration=60))
    one = await create(stop("62000", 1, size=1))
    await create(stop("63000", 1, size=1))
    exchange = gateio.simulator.exchange
    exchange.triggers.expire(exchange.now() + 61)
    gone = await trader.cancel_price_triggered_order(one.id)
    assert (gone.status, gone.finish_as) == ("finished", "cancelled")
    assert await refused(trader.cancel_price_triggered_order(one.id)) == "AUTO_ORDER_NOT_FOUND"
    assert len(await trader.cancel_price_triggered_order_list(contract=BTC)) == 1
    ends = [it.finish_as for it in await trader.list_price_triggered_orders("finished")]
    assert sorted(ends) == ["cancelled", "cancelled", "expired"]
    await gateio.control.set_price(BTC, D(70000))
    assert (await gateio.control.audit()).orders == []


async def test_a_trigger_can_be_amended(gateio, trader):
    made = await trader.create_price_triggered_order(stop("61000", 1, size=1))
    update = gate_api.FuturesUpdatePriceTriggeredOrder(
        order_id=made.id, trigger_price="62000", amount="3"
    )
    await trader.update_price_triggered_order(str(made.id), update)
    await gateio.control.set_price(BTC, D(61500))
    assert (await gateio.control.audit()).orders == []
    await gateio.control.set_price(BTC, D(62000))
    assert await size(trader) == "3"


async def test_in_hedge_mode_a_trigger_closes_its_side(gateio, trader):
    await trader.set_dual_mode(True)
    await trader.create_futures_order(market(5))
    await trader.create_futures_order(market(-5))
    await trader.create_price_triggered_order(
        stop("59000", 2, auto_size="close_long", reduce_only=True)
    )
    await gateio.control.set_price(BTC, D(58000))
    sides = {p.mode: p.size for p in await trader.get_dual_mode_position(BTC)}
    assert sides == {"dual_long": "0", "dual_short": "-5"}


# ------------------------------------------------------------------ trailing


def trailing(amount: str, offset: str, **more: object) -> gate_api.CreateTrailOrder:
    given = {"price_type": 3, "text": "t-trail", **more}
    return gate_api.CreateTrailOrder(contract=BTC, amount=amount, price_offset=offset, **given)


async def test_a_trailing_sell_follows_the_price_up_and_fires_when_it_turns(gateio, trader):
    await trader.create_futures_order(market(5))
    made = await trader.create_trail_order(trailing("-5", "500", reduce_only=True))
    for mark, left in ((61000, "5"), (60600, "5"), (62000, "5"), (61500, "0")):
        await gateio.control.set_price(BTC, D(mark))
        assert await size(trader) == left, mark
    detail = (await trader.get_trail_order_detail(made.data.id)).data.order
    assert (detail.status, detail.reason, detail.extremum_price) == (
        "finished",
        "triggered",
        "62000",
    )
    order = await trader.get_futures_order(str(detail.suborder_id))
    assert (order.text, order.size) == ("t-trail", "-5")


async def test_a_trailing_buy_waits_for_its_activation_and_follows_down_by_a_ratio(gateio, trader):
    made = await trader.create_trail_order(
        trailing("2", "1%", activation_price="59000", is_gte=False)
    )
    for mark, filled in ((59500, 0), (60500, 0), (58000, 0), (50000, 0), (50499, 0), (50500, 1)):
        await gateio.control.set_price(BTC, D(mark))
        assert len((await gateio.control.audit()).orders) == filled, mark
    assert (await trader.get_trail_order_detail(made.data.id)).data.order.status == "finished"


async def test_trailing_orders_are_stopped_by_id_by_text_and_all(gateio, trader):
    texts = ("t-1", "t-2", "t-3", "t-4")
    made = [await trader.create_trail_order(trailing("1", "5", text=text)) for text in texts]
    await trader.stop_trail_order(gate_api.StopTrailOrder(id=made[0].data.id))
    await trader.stop_trail_order(gate_api.StopTrailOrder(text="t-2"))
    await trader.stop_all_trail_orders(gate_api.StopAllTrailOrders(contract=BTC))
    stopped = trader.stop_trail_order(gate_api.StopTrailOrder(text="t-2"))
    assert await refused(stopped) == "AUTO_ORDER_NOT_FOUND"
    await gateio.control.set_price(BTC, D(70000))
    assert (await gateio.control.audit()).orders == []
