"""What an intervention does next: rounds, pauses, and when it is done or lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from fanout.intervention_rows import Exits, Group, Intervention, Standing, message_id
from fanout.intervention_rules import (
    HOLDS_EVERYWHERE_S,
    ROUNDS_MAX,
    exits_due,
    is_done,
    is_lost,
    pause_s,
)
from fanout.interventions import LATE_S
from fanout.switch import STALE_S
from tenancy.scope import Actor
from tenancy.values import AccountID, StrategyID, TenantID

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
ACT = UUID(int=99)
BTC = Group(StrategyID(UUID(int=1)), "gateio", "BTC_USDT")
ETH = Group(StrategyID(UUID(int=1)), "gateio", "ETH_USDT")
HOLDER = (AccountID(UUID(int=2)),)


def standing(*exits: Exits, open: int = 0, left: bool = True) -> Standing:
    return Standing(
        remaining={BTC: HOLDER} if left else {}, exits=dict.fromkeys([BTC], exits[0]) if exits else {},
        open=open,
    )  # fmt: skip


def work(level: Any = "flatten") -> Intervention:
    return Intervention(
        intervention_id=ACT, tenant_id=TenantID(UUID(int=3)), part=0, level=level, scope="tenant",
        object_id=UUID(int=3), broker=None, symbol=None, reason="r", by=Actor("human", "x"), at=NOW,
        state="working",
    )  # fmt: skip


def test_the_first_exit_is_due_at_once_and_the_next_when_it_is_settled_and_a_while_has_passed():
    assert exits_due(standing(), NOW) == {BTC: 1}
    assert exits_due(standing(Exits(1, NOW, settled=False)), NOW + timedelta(hours=1)) == {}
    settled = standing(Exits(1, NOW, settled=True))
    assert exits_due(settled, NOW + timedelta(seconds=0.2)) == {}
    assert exits_due(settled, NOW + timedelta(seconds=0.25)) == {BTC: 2}
    assert exits_due(standing(Exits(ROUNDS_MAX, NOW, settled=True)), NOW + timedelta(hours=1)) == {}


def test_pauses_grow_to_half_a_minute():
    pauses = [pause_s(Exits(number, NOW, settled=True)) for number in range(1, ROUNDS_MAX + 1)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.25, 30.0)
    assert sum(pauses) > LATE_S


def test_it_is_done_when_nothing_is_left_open_or_held_and_the_switch_holds_everywhere():
    late = HOLDS_EVERYWHERE_S
    assert late >= 2 * STALE_S
    assert is_done(work(), standing(left=False), late)
    assert not is_done(work(), standing(left=False), late - 0.1)
    assert not is_done(work(), standing(left=False, open=1), late)
    assert not is_done(work(), standing(), late)
    assert not is_done(work(), standing(Exits(1, NOW, settled=False), left=False), late)
    assert is_done(work("cancel_open"), standing(), late), "positions are not its business"


def test_it_is_lost_when_every_position_that_is_left_has_had_all_its_rounds():
    used = Exits(ROUNDS_MAX, NOW, settled=True)
    later = NOW + timedelta(hours=1)
    assert is_lost(standing(used), later)
    assert not is_lost(standing(used), NOW)
    assert not is_lost(standing(Exits(3, NOW, settled=True)), later)
    assert not is_lost(standing(left=False), later)
    two = Standing(remaining={BTC: HOLDER, ETH: HOLDER}, exits={BTC: used}, open=0)
    assert not is_lost(two, later)


def test_an_exits_message_id_is_the_same_for_whoever_sends_it_and_no_other():
    assert message_id(ACT, BTC, 1) == message_id(ACT, BTC, 1)
    others = {message_id(ACT, BTC, 1), message_id(ACT, BTC, 2), message_id(ACT, ETH, 1)}
    assert len(others) == 3
    assert len(message_id(ACT, BTC, 999)) <= 256
