"""Spot: a book of pairs against balances of assets, with what was there before and with dust."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fanout.abilities import Balance
from fanout.drift import Agreed, Aside, Differs, OpenOrder, Ours, compare, theirs_of
from fanout.drift_spot import by_asset, pair_of
from fanout.order import OrdState
from tests.builders import instrument

D = Decimal


def _pair(symbol: str) -> tuple[str, object]:
    traits = {"multiplier": D(1), "lot_step": D("0.001"), "min_qty": D("0.01")}
    return symbol, instrument(symbol, underlying=symbol.split("_")[0], kind="spot", **traits)


TABLE = dict([_pair("BTC_USDT"), _pair("BTC_USDC"), _pair("ETH_USDT")])


def _total(asset: str, total: str) -> Balance:
    return Balance(asset=asset, total=D(total), available=D(total))


def _compared(ours: Ours, baseline: dict[str, Decimal], *held: Balance) -> object:
    made = by_asset(ours, held, TABLE, baseline)
    return compare(made.ours, theirs_of(made.theirs, []), made.ours, Aside())


def test_what_was_there_before_we_traded_it_is_the_clients_own():
    made = by_asset(Ours(), [_total("BTC", "2")], TABLE, {})
    assert made.baseline == {"BTC": D(2)}
    held = Ours(positions={"BTC_USDT": D("0.5")})
    assert _compared(held, {"BTC": D(2)}, _total("BTC", "2.5")) == Agreed()
    assert isinstance(_compared(held, {}, _total("BTC", "2.5")), Differs)


def test_what_is_not_ours_may_come_and_go_while_we_hold_none_of_it():
    for total in ("2", "7"):
        made = by_asset(Ours(), [_total("BTC", total)], TABLE, {"BTC": D(1)})
        assert (made.theirs, made.baseline) == ((), {"BTC": D(total)})


def test_while_an_order_of_ours_is_open_its_assets_baseline_stays():
    order = OpenOrder("a.1", "BTC_USDT", OrdState.NEW, D(0))
    made = by_asset(Ours(open=(order,)), [_total("BTC", "3")], TABLE, {"BTC": D(2)})
    assert made.baseline == {"BTC": D(2)}
    assert [(one.symbol, one.qty) for one in made.theirs] == [("BTC", D(1))]


@pytest.mark.parametrize(("total", "agrees"), [("0.495", True), ("0.509", True), ("0.49", False)])
def test_less_than_a_pair_can_trade_is_dust(total, agrees):
    found = _compared(Ours(positions={"BTC_USDT": D("0.5")}), {}, _total("BTC", total))
    assert isinstance(found, Agreed if agrees else Differs)


def test_pairs_of_one_base_are_one_asset_and_only_a_single_one_is_named():
    two = Ours(positions={"BTC_USDT": D(1), "BTC_USDC": D(2)})
    assert _compared(two, {}, _total("BTC", "3")) == Agreed()
    assert pair_of("BTC", two, TABLE) is None
    assert pair_of("BTC", Ours(positions={"BTC_USDC": D(2)}), TABLE) == "BTC_USDC"
