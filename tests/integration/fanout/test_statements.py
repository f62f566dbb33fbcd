"""A day's fills in our book against a broker's statement: one record for each account and day."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import msgspec
import pytest

from fanout.abilities import BrokerFill
from fanout.accounts import Accounts
from fanout.leases import Leases
from fanout.statements import Statements
from tenancy.clock import SystemClock
from tests.builders import broker_account
from tests.fakes.broker import FakeBroker
from tests.integration.fanout.planned import leg, plan

TODAY = datetime.now(UTC).date
RECORDS = "SELECT payload, acct FROM audit_inbox WHERE kind = 'fills.reconciled' ORDER BY seq"


class Stating(FakeBroker):
    """A broker that keeps a record of what it executed."""

    caps = msgspec.structs.replace(FakeBroker.caps, statement=True)

    async def fills(self, account, *, since, until) -> Sequence[BrokerFill]:
        return [
            BrokerFill(
                trade_id=order.cl_ord_id, broker_order_id="b", cl_ord_id=order.cl_ord_id,
                symbol=order.symbol, side=order.side, qty=order.order_qty, price=Decimal(50_000),
                at=datetime.now(UTC),
            )
            for order in self.executed
            if order.account_id == account.account_id
        ]  # fmt: skip


@pytest.fixture
async def traded(bench):
    """One account with one fill of today, and who looks."""
    bench.broker = Stating()
    await bench.set_up(1)
    async with bench.worker():
        await plan(bench, leg())
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
    database = await bench.open("worker")
    clock = SystemClock()
    looker = Statements(
        database, {"gateio": bench.broker}, Accounts(database, clock),
        cast(Leases, None), clock,
    )  # fmt: skip
    account = broker_account(
        account_id=bench.accounts[0], tenant_id=bench.scope.tenant_id, credential=b"sealed"
    )
    yield bench, looker, account
    await database.close()


async def said(bench) -> list[dict[str, Any]]:
    return [json.loads(bytes(payload)) for payload, _ in await bench.rows(RECORDS)]


async def test_what_the_broker_states_and_what_we_recorded_agree(traded):
    bench, looker, account = traded
    assert await looker.check(bench.scope, account, "gateio", TODAY()) == []
    (told,) = await said(bench)
    assert (told["event"], told["fills"], told["statement"]) == ("agreed", 1, 1)
    assert await bench.rows("SELECT differences FROM statement_checks") == [(0,)]


async def test_a_fill_that_we_do_not_have_is_named_and_told_once(traded):
    bench, looker, account = traded
    (order,) = bench.broker.executed
    bench.broker.executed.append(msgspec.structs.replace(order, cl_ord_id="lost.1"))
    for _ in range(2):
        (found,) = await looker.check(bench.scope, account, "gateio", TODAY())
        assert (found.what, found.order, found.theirs) == ("missing", "lost.1", Decimal(10))
    (told,) = await said(bench)
    assert (told["event"], told["differences"]) == ("differ", 1)
    assert told["named"][0]["order"] == "lost.1"


async def test_days_that_are_over_are_looked_at_for_every_account_and_once(traded):
    bench, looker, account = traded
    looker._accounts.get = _known(account)
    await looker.look(list(range(16)))
    days = await bench.rows("SELECT day FROM statement_checks ORDER BY day")
    assert len(days) == 3
    assert days[-1][0] <= TODAY() - timedelta(days=1)
    await looker.look(list(range(16)))
    assert len(await said(bench)) == 3


def _known(account):
    async def get(scope, ids):
        return {account.account_id: account}

    return get
