"""Shadows change nothing of a plan, and take their twins' decision: settings, share, place, refusals."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

import msgspec
import pytest

from fanout.mandate import SENDERS, Mandate
from fanout.market import AccountNow, Instruments, Market
from fanout.plan import Plan, PlanEntry, make_plan
from fanout.reasons import Reason
from fanout.shadows import everybody, with_shadows
from fanout.totals import totals
from tenancy.ids import new_id
from tenancy.limits import EffectiveLimits, Limit
from tenancy.snapshot import Shadow, Snapshot
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings
from tenancy.values import SignalID, SubscriptionID
from tests.builders import NOW, RULES, account, instrument, signal, snapshot, subscribed

OWN = SubscriptionSettings(override_quantity=Decimal(3), override_quantity_type="multiplier")


def shadow_of(snap: Snapshot, index: int, **changes: object) -> Shadow:
    row = snap.rows[index]
    said = {"name": f"{row.account.name} (shadow)", "broker": "shadow-gateio", **changes}
    return Shadow(
        subscription_id=SubscriptionID(new_id()),
        twin=row.subscription_id,
        enabled=True,
        account=account(**said),
    )


def with_a_shadow(snap: Snapshot, index: int, **changes: object) -> Snapshot:
    return msgspec.structs.replace(snap, shadows=(shadow_of(snap, index, **changes),))


def market_of(snap: Snapshot, **changes: object) -> Market:
    known = Instruments([instrument()])
    brokers = {row.account.broker for row in everybody(snap).rows}
    return Market(
        **{"instruments": dict.fromkeys(brokers, known), "accounts": {}, **changes}  # type: ignore[arg-type]
    )


def planned(
    snap: Snapshot, market: Market | None = None, mandate: Mandate = SENDERS, **fields: object
) -> Plan:
    make = partial(
        make_plan, signal(**{"quantity": 2, **fields}), signal_id=SignalID(new_id()),
        received_at=NOW, planned_at=NOW, seed=1, rotation=0, rules=RULES, mandate=mandate,
    )  # fmt: skip
    return with_shadows(make, snap, market or market_of(snap), mandate)


def decided(entry: PlanEntry) -> tuple[object, ...]:
    return entry.reason, entry.legs, entry.symbol, entry.place


def test_a_shadow_does_what_its_twin_does_behind_everybody():
    snap = with_a_shadow(snapshot(subscribed(), subscribed(OWN), subscribed()), 1)
    *real, shadow = planned(snap).entries
    assert [entry.account_id for entry in real] == [row.account.account_id for row in snap.rows]
    assert shadow.account_id == snap.shadows[0].account.account_id
    assert shadow.broker == "shadow-gateio"
    assert (shadow.reason, shadow.legs, shadow.source) == (
        real[1].reason, real[1].legs, real[1].source,
    )  # fmt: skip
    assert shadow.legs[0].order_qty == 6
    assert shadow.place == 3


@pytest.mark.parametrize("kind", ["fixed_quantity", "block_equal", "block_net_liq"])
def test_no_real_decision_or_place_changes_because_of_a_shadow(kind):
    without = snapshot(*(subscribed() for _ in range(5)), sequence="random")
    snap = with_a_shadow(without, 2)
    fields = {"quantity": 7, "quantityType": kind}
    before, after = planned(without, **fields), planned(snap, **fields)
    assert list(map(decided, before.entries)) == list(map(decided, after.entries[:5]))
    shadow = after.entries[5]
    twin = next(e for e in after.entries[:5] if e.account_id == without.rows[2].account.account_id)
    assert (shadow.reason, shadow.legs) == (twin.reason, twin.legs)


def test_two_shadows_come_in_the_order_of_their_twins():
    snap = snapshot(*(subscribed() for _ in range(4)), sequence="random")
    snap = msgspec.structs.replace(snap, shadows=(shadow_of(snap, 0), shadow_of(snap, 3)))
    entries = planned(snap).entries
    assert [entry.place for entry in entries] == list(range(6))
    place = {entry.account_id: entry.place for entry in entries}
    twin_places = [place[snap.rows[n].account.account_id] for n in (0, 3)]
    shadow_places = [place[shadow.account.account_id] for shadow in snap.shadows]
    assert (twin_places[0] < twin_places[1]) == (shadow_places[0] < shadow_places[1])


def test_the_position_that_counts_is_the_shadows_own():
    snap = with_a_shadow(snapshot(subscribed()), 0)
    held = AccountNow(position=Decimal(5))
    market = market_of(snap, accounts={snap.rows[0].account.account_id: held})
    real, shadow = planned(snap, market, action="exit").entries
    assert real.legs
    assert shadow.legs == ()


def test_what_stops_the_twin_stops_the_shadow():
    for row in (
        subscribed(state="halted"),
        subscribed(archived=True),
        msgspec.structs.replace(subscribed(), enabled=False),
        subscribed(held_to=EffectiveLimits(max_order_quantity=Limit(Decimal(1), "account"))),
    ):
        real, shadow = planned(with_a_shadow(snapshot(row), 0)).entries
        assert (shadow.reason, shadow.legs) == (real.reason, real.legs)


def test_a_shadow_that_is_halted_or_switched_off_stops_alone():
    snap = with_a_shadow(snapshot(subscribed()), 0, state="halted")
    off = msgspec.structs.replace(
        snap, shadows=(msgspec.structs.replace(shadow_of(snap, 0), enabled=False),)
    )
    for each in (snap, off):
        real, shadow = planned(each).entries
        assert real.legs
        assert not shadow.legs


def test_an_instrument_that_is_halted_at_the_broker_is_halted_for_its_shadows():
    snap = with_a_shadow(snapshot(subscribed()), 0)
    market = market_of(snap, instrument_states={("gateio", "BTC_USDT"): "halted"})
    real, shadow = planned(snap, market).entries
    assert real.reason == shadow.reason == Reason.INSTRUMENT_HALTED


def test_nobody_is_asked_about_paper():
    snap = with_a_shadow(snapshot(subscribed(SubscriptionSettings(needs_approval=True))), 0)
    real, shadow = planned(snap).entries
    assert real.asked is not None
    assert shadow.asked is None
    assert shadow.acts


def test_the_kill_switch_closes_a_shadow_as_one_of_the_accounts_it_names():
    """It is a row of its own then, once, and none behind."""
    snap = with_a_shadow(snapshot(subscribed()), 0)
    shadow = snap.shadows[0]
    row = msgspec.structs.replace(
        subscribed(), subscription_id=shadow.subscription_id, account=shadow.account
    )
    snap = msgspec.structs.replace(snap, rows=(*snap.rows, row))
    held = AccountNow(position=Decimal(5))
    market = market_of(snap, accounts={shadow.account.account_id: held})
    mandate = Mandate(origin="kill_switch", accounts=frozenset({shadow.account.account_id}))
    entries = planned(snap, market, mandate, action="exit").entries
    assert [entry.account_id for entry in entries if entry.legs] == [shadow.account.account_id]
    assert len(entries) == 2
    assert everybody(snap) is snap


def test_a_shadow_does_not_count_for_the_quorum():
    """Of two real accounts one fails: 50 %. With the shadow counted it would be two of three."""
    for percent, real_reason in ((60, Reason.QUORUM_NOT_MET), (50, Reason.ORDER)):
        settings = StrategySettings(quorum_percent=Decimal(percent))
        failing = subscribed(
            held_to=EffectiveLimits(max_order_quantity=Limit(Decimal(1), "account"))
        )
        snap = with_a_shadow(snapshot(subscribed(), failing, settings=settings), 0)
        first, _, shadow = planned(snap).entries
        assert first.reason == shadow.reason == real_reason
        assert bool(shadow.legs) == (real_reason is Reason.ORDER)


def test_a_shadow_that_fails_does_not_hold_up_the_quorum():
    settings = StrategySettings(quorum_percent=Decimal(100))
    snap = with_a_shadow(snapshot(subscribed(), settings=settings), 0, state="halted")
    real, shadow = planned(snap).entries
    assert real.legs
    assert shadow.reason == Reason.ACCOUNT_HALTED


def test_shadows_have_no_quorum_among_themselves():
    settings = StrategySettings(quorum_percent=Decimal(100))
    snap = snapshot(subscribed(), subscribed(), settings=settings)
    shadows = (shadow_of(snap, 0, state="halted"), shadow_of(snap, 1))
    *_, halted, other = planned(msgspec.structs.replace(snap, shadows=shadows)).entries
    assert halted.reason == Reason.ACCOUNT_HALTED
    assert other.legs


def test_a_signal_of_the_kill_switch_for_the_twin_alone_is_none_for_its_shadow():
    snap = with_a_shadow(snapshot(subscribed()), 0)
    mandate = Mandate(origin="kill_switch", accounts=frozenset({snap.rows[0].account.account_id}))
    (only,) = planned(snap, None, mandate, action="exit").entries
    assert only.broker == "gateio"


def test_totals_are_of_the_real_accounts():
    snap = with_a_shadow(snapshot(subscribed(), subscribed()), 0)
    market = market_of(snap)
    made = totals(planned(snap, market), market.instruments)
    assert (made.accounts, made.trading) == (2, 2)
    assert [(one.broker, one.buy_lots) for one in made.turnover] == [("gateio", Decimal(4))]


def test_without_a_shadow_there_is_one_plan():
    calls = []

    def make(given: Snapshot, market: Market) -> Plan:
        calls.append(given)
        return planned(given)

    snap = snapshot(subscribed())
    with_shadows(make, snap, market_of(snap), SENDERS)
    assert calls == [snap]
