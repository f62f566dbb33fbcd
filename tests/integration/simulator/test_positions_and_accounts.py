"""Hedge mode, margin modes, kinds of account, statements: by the official client."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import gate_api
import pytest
from gate_api.exceptions import GateApiException

from loadtest.exchanges.gateio.control import NewAccount
from tests.integration.simulator.clients import limit, market, official

D = Decimal


async def label(answer) -> str:
    with pytest.raises(GateApiException) as refused:
        await answer
    return refused.value.label


async def sides(trader, contract: str = "BTC_USDT") -> dict[str, str]:
    return {p.mode: p.size for p in await trader.get_dual_mode_position(contract)}


# ------------------------------------------------------------------ hedge mode


async def test_in_hedge_mode_long_and_short_stand_beside_each_other(trader):
    assert (await trader.set_dual_mode(True)).in_dual_mode
    await trader.create_futures_order(market(5))
    await trader.create_futures_order(market(-3))
    assert await sides(trader) == {"dual_long": "5", "dual_short": "-3"}
    await trader.create_futures_order(market(-2, reduce_only=True))  # reduces the long side
    await trader.create_futures_order(market(1, reduce_only=True))  # and this the short one
    assert await sides(trader) == {"dual_long": "3", "dual_short": "-2"}
    held = await trader.list_positions(holding=True)
    assert {(p.mode, p.size) for p in held} == {("dual_long", "3"), ("dual_short", "-2")}


async def test_auto_size_closes_one_side_whole(trader):
    await trader.set_dual_mode(True)
    await trader.create_futures_order(market(5))
    await trader.create_futures_order(market(-3))
    closing = market(0, reduce_only=True, auto_size="close_long")
    closed = await trader.create_futures_order(closing)
    assert (closed.size, closed.finish_as) == ("-5", "filled")
    assert await sides(trader) == {"dual_long": "0", "dual_short": "-3"}
    assert await label(trader.create_futures_order(closing)) == "POSITION_EMPTY"


async def test_what_belongs_to_one_mode_is_refused_in_the_other(trader):
    closing = market(0, reduce_only=True, auto_size="close_long")
    assert await label(trader.create_futures_order(closing)) == "INVALID_PARAM_VALUE"
    await trader.set_position_mode("dual")
    assert await label(trader.create_futures_order(market(0, close=True))) == "POSITION_DUAL_MODE"
    assert await label(trader.get_position("BTC_USDT")) == "POSITION_DUAL_MODE"
    assert (
        await label(trader.create_futures_order(market(-1, reduce_only=True))) == "REDUCE_EXCEEDED"
    )


async def test_the_mode_changes_only_while_nothing_is_held_or_open(trader):
    await trader.create_futures_order(limit(1, "59000", "t-1"))
    assert await label(trader.set_dual_mode(True)) == "POSITION_HOLDING"
    await trader.cancel_futures_order("t-1")
    await trader.create_futures_order(market(1))
    assert await label(trader.set_dual_mode(True)) == "POSITION_HOLDING"
    await trader.create_futures_order(market(0, close=True))
    await trader.set_dual_mode(True)
    assert await label(trader.set_dual_mode(True)) == "NO_CHANGE"


# ------------------------------------------------------------------ margin


async def test_leverage_zero_is_cross_and_any_other_is_isolated(trader):
    cross = await trader.update_position_leverage("BTC_USDT", "0", cross_leverage_limit="20")
    assert (cross.leverage, cross.cross_leverage_limit, cross.pos_margin_mode) == (
        "0",
        "20",
        "cross",
    )
    own = await trader.update_position_leverage("BTC_USDT", "5", cross_leverage_limit="20")
    assert (own.leverage, own.pos_margin_mode, own.lever) == ("5", "isolated", "5")
    assert own.update_id == cross.update_id + 1
    assert await label(trader.update_position_leverage("BTC_USDT", "101")) == "LEVERAGE_TOO_HIGH"
    assert (await trader.get_leverage("BTC_USDT", "isolated", "")).lever == "5"


async def test_margin_is_added_to_and_taken_from_an_isolated_position_only(trader):
    await trader.create_futures_order(market(100))
    change = trader.update_position_margin
    assert await label(change("BTC_USDT", "10")) == "POSITION_CROSS_MARGIN"
    switched = await trader.update_position_cross_mode(
        gate_api.FuturesPositionCrossMode(mode="ISOLATED", contract="BTC_USDT")
    )
    assert (switched.leverage, switched.pos_margin_mode) == ("10", "isolated")
    more = await change("BTC_USDT", "25")
    assert D(more.margin) == D(switched.margin) + 25
    assert await label(change("BTC_USDT", "-26")) == "REMOVE_TOO_MUCH"
    assert D((await change("BTC_USDT", "-25")).margin) == D(switched.margin)


async def test_leverage_decides_what_an_order_needs(trader):
    await trader.update_position_leverage("BTC_USDT", "0", cross_leverage_limit="100")
    big = limit(8000, "60000")  # 48,000 USDT: too much at 4, enough at 100
    await trader.create_futures_order(big)
    await trader.cancel_futures_orders()
    await trader.update_position_leverage("BTC_USDT", "4")
    assert await label(trader.create_futures_order(big)) == "INSUFFICIENT_AVAILABLE"


async def test_every_change_of_a_position_has_a_higher_number(trader):
    seen = []
    for size in (1, 1, -2):
        await trader.create_futures_order(market(size))
        seen.append((await trader.get_position("BTC_USDT")).update_id)
    assert seen == sorted(set(seen))


# ------------------------------------------------------------------ accounts


async def test_a_unified_account_says_its_equity_elsewhere(gateio, trader):
    with pytest.raises(GateApiException):
        await asyncio.to_thread(trader.unified.list_unified_accounts)
    await gateio.control.change_key("trader", unified=True)
    await trader.create_futures_order(market(100))
    await gateio.control.set_price("BTC_USDT", D(61000))
    futures = await trader.list_futures_accounts()
    unified = await asyncio.to_thread(trader.unified.list_unified_accounts)
    detail = await asyncio.to_thread(trader.account.get_account_detail)
    assert (futures.total, futures.enable_credit, detail.key.mode) == ("0", True, 2)
    fee = D("60000.1") * 100 * D("0.0001") * D("0.0005")
    gained = D("999.9") * 100 * D("0.0001")
    assert D(unified.unified_account_total_equity) == D(10_000) + gained - fee
    assert unified.balances["USDT"].equity == unified.unified_account_total_equity


async def test_the_newer_classic_account_shows_its_cross_margin_balance(gateio, trader):
    assert (await trader.list_futures_accounts()).cross_margin_balance is None
    await gateio.control.change_key("trader", evolved=True)
    await trader.create_futures_order(market(100))
    await gateio.control.set_price("BTC_USDT", D(61000))
    account = await trader.list_futures_accounts()
    assert D(account.cross_margin_balance) == D(account.total) + D(account.unrealised_pnl)


async def test_the_account_book_adds_up_to_the_balance(gateio, trader):
    await trader.create_futures_order(market(10))
    await gateio.control.set_price("BTC_USDT", D(61000))
    await trader.create_futures_order(market(0, close=True))
    rows = await trader.list_futures_account_book()
    assert [row.type for row in rows] == ["fee", "pnl", "fee", "dnw"]
    total = (await trader.list_futures_accounts()).total
    assert sum(D(row.change) for row in rows) == D(total) == D(rows[0].balance)
    assert [row.type for row in await trader.list_futures_account_book(type="pnl")] == ["pnl"]


async def test_the_life_of_a_position_is_kept_when_it_is_closed(gateio, trader):
    await trader.create_futures_order(market(10))
    await gateio.control.set_price("BTC_USDT", D(61000))
    await trader.create_futures_order(market(0, close=True))
    (closed,) = await trader.list_position_close()
    assert (closed.side, closed.max_size, closed.long_price) == ("long", "10", "60000.1")
    assert D(closed.pnl) == D(closed.pnl_pnl) + D(closed.pnl_fee)
    assert (await trader.get_position("BTC_USDT")).last_close_pnl == closed.pnl


async def test_orders_and_fills_by_time(trader):
    await trader.create_futures_order(market(1, "t-1"))
    await trader.create_futures_order(limit(1, "59000", "t-2"))
    assert [o.text for o in await trader.get_orders_with_time_range()] == ["t-2", "t-1"]
    assert await trader.get_orders_with_time_range(to=1_000) == []
    (fill,) = await trader.get_my_trades_with_time_range(_from=1_000)
    assert (fill.text, fill.role) == ("t-1", "taker")


async def test_fees_the_book_and_public_trades_are_readable(trader):
    await trader.create_futures_order(limit(2, "60000", "t-best"))
    fees = await trader.get_futures_fee(contract="BTC_USDT")
    assert fees["BTC_USDT"].taker_fee == "0.0005"
    book = await trader.list_futures_order_book("BTC_USDT", limit=3)
    assert (book.bids[0].p, book.bids[0].s, len(book.asks)) == ("60000", "2", 3)
    await trader.create_futures_order(market(-1))
    (trade,) = await trader.list_futures_trades("BTC_USDT")
    assert (trade.size, trade.price) == ("-1", "60000")


async def test_a_sub_accounts_key_trades_for_itself_and_its_main_account_sees_it(gateio, trader):
    uid = (
        await gateio.control.create_accounts(
            [NewAccount(key="sub", secret="s", sub_of="trader", ip_whitelist=("127.0.0.1",))]
        )
    )[0]
    sub = official(gateio.api, "sub", "s")
    await asyncio.to_thread(sub.create_futures_order, "usdt", market(1))
    sub.api_client.rest_client.pool_manager.clear()
    assert await trader.list_positions(holding=True) == []
    (seen,) = await asyncio.to_thread(trader.subs.list_sub_accounts)
    (key,) = await asyncio.to_thread(trader.subs.list_sub_account_keys, uid)
    assert (seen.user_id, key.user_id, key.ip_whitelist) == (uid, uid, ["127.0.0.1"])
    assert [p.name for p in key.perms] == ["futures"]
