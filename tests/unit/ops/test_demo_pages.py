"""The demo's tables on a terminal of 100 columns: one line for each account."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from rich.console import Console

from fanout.plan import Leg, Plan, PlanEntry
from fanout.reasons import Reason
from ops.demo.pages import Pages
from ops.trial.cast import SIZINGS, Cast, Member
from ops.trial.outcome import Attempt, Story
from ops.trial.sender import Hook, Sent
from tenancy.scope import Actor, TenantScope
from tenancy.values import AccountID, SignalID, StrategyID, TenantID

AT = datetime(2026, 11, 21, tzinfo=UTC)
SIGNAL = UUID(int=1)
ACCOUNTS = 40
WORDS = "44000 × 2.5 % × 3 / (60000 × 0.0001) → 1250 lots"


def _later(milliseconds: int) -> datetime:
    return AT + timedelta(milliseconds=milliseconds)


def _attempt(place: int, **more: object) -> Attempt:
    values: dict[str, object] = {
        "cl_ord_id": f"order{place}.1", "order_id": f"order{place}", "signal_id": SIGNAL,
        "account_id": AccountID(UUID(int=100 + place)), "leg": 0, "place": place,
        "broker": "gateio", "side": "sell", "order_qty": Decimal(1250), "symbol": "BTC_USDT",
        "state": "filled", "cum_qty": Decimal(1250), "avg_px": Decimal("60000.1"), "text": "filled",
        "intent_at": _later(1585), "sent_at": _later(1605), "acked_at": _later(1623),
        "done_at": _later(1623),
    }  # fmt: skip
    return Attempt(**{**values, **more})  # type: ignore[arg-type]


def _entry(place: int, reason: Reason) -> PlanEntry:
    leg = Leg(leg=0, side="sell", order_qty=Decimal(1250), ord_type="market", time_in_force="ioc")
    return PlanEntry(
        account_id=AccountID(UUID(int=100 + place)), part=0, place=place, broker="gateio",
        reason=reason, words=WORDS, legs=(leg,) if reason is Reason.ORDER else (),
    )  # fmt: skip


def _story(*attempts: Attempt) -> Story:
    reasons = [Reason.ORDER] * (ACCOUNTS - 1) + [Reason.BELOW_MINIMUM]
    plan = Plan(
        signal_id=SignalID(SIGNAL), tenant_id=TenantID(UUID(int=2)),
        strategy_id=StrategyID(UUID(int=3)), version=1, seed=0, rotation=0,
        planned_at=AT, deadline=AT,
        written=tuple(_entry(place, reason) for place, reason in enumerate(reasons)),
    )  # fmt: skip
    return Story(AT, plan, attempts or tuple(_attempt(place) for place in range(ACCOUNTS - 1)))


def _shown(story: Story, width: int) -> list[str]:
    members = tuple(
        Member(AccountID(UUID(int=100 + n)), f"Client {n + 1:03}", "gateio", SIZINGS[2][0])
        for n in range(ACCOUNTS)
    )
    scope = TenantScope(TenantID(UUID(int=2)), Actor(kind="human", id="test"))
    cast = Cast(scope, StrategyID(UUID(int=3)), Hook("hook", "whsec_"), members)
    sent = Sent(
        message_id="m", fields={}, body="", status=202, signal_id=str(SIGNAL), answer="",
        sent_at=AT.timestamp(), took_s=0.0,
    )  # fmt: skip
    pages = Pages(quiet=False)
    pages.console = Console(file=io.StringIO(), width=width, highlight=False)
    pages.decisions(cast, sent, story)
    assert isinstance(pages.console.file, io.StringIO)
    return pages.console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [100, 160])
def test_every_account_takes_one_line(width: int):
    lines = _shown(_story(), width)
    assert sum("Client " in line for line in lines) == ACCOUNTS
    assert lines.index(next(line for line in lines if "Client 040" in line)) == ACCOUNTS + 2
    assert max(map(len, lines)) <= width
    row = next(line for line in lines if "Client 001" in line).split("  ")
    assert "sell 1250" in [cell.strip() for cell in row]
    assert "filled at 60000.1" in [cell.strip() for cell in row]


def test_the_sizing_setting_is_shown_where_there_is_room():
    assert "three times the signal's quantity" not in "\n".join(_shown(_story(), 100))
    assert "three times the signal's quantity" in "\n".join(_shown(_story(), 160))


def test_an_account_without_an_order_says_why_and_the_legend_says_it_in_a_sentence():
    lines = _shown(_story(), 100)
    assert "below minimum" in next(line for line in lines if "Client 040" in line)
    assert any("below minimum: The size is below" in line for line in lines)


def test_a_part_fill_and_the_brokers_own_words_are_shown():
    attempt = _attempt(0, state="canceled", cum_qty=Decimal(3), text="[red]IOC[/red]")
    line = next(line for line in _shown(_story(attempt), 200) if "Client 001" in line)
    assert "canceled 3 of 1250 at 60000.1 ([red]IOC[/red])" in line
