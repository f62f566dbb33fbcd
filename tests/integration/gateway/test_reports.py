"""Reports from orders whose figures are known by hand, in every form, with their bounds."""

from __future__ import annotations

import csv
import io
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import psycopg
import pytest

from gateway.reports import period as bounds
from tests.fakes.trading import id_at
from tests.fixtures.api import Api

pytestmark = pytest.mark.stack

AT = datetime(2026, 3, 1, 10, tzinfo=UTC)
WITHIN = "since=2026-03-01T00:00:00Z&until=2026-04-01T00:00:00Z"


class Books:
    """A strategy with accounts, and signals whose orders are written as they are told."""

    def __init__(self, api: Api, strategy: str, accounts: list[str]) -> None:
        self.api, self.strategy, self.accounts = api, strategy, accounts
        self.chance = random.Random(1)
        self.signals = 0

    def signal(self, *orders: dict[str, Any], hours: int = 0) -> UUID:
        """`orders`: what differs from a filled buy of 1 at 100, in fan-out order."""
        at = AT + timedelta(hours=hours, minutes=self.signals)
        signal, tenant = id_at(at, self.chance), self.api.tenant("admin")
        with psycopg.connect(self.api.database.superuser) as conn:
            conn.execute(
                "INSERT INTO signals (signal_id, tenant_id, strategy_id, hook_id, message_id, part, body,"
                " body_sha256, traceparent, received_at, state) VALUES (%s, %s, %s, 'h', %s, 0, '{}',"
                " sha256('{}'), 't', %s, 'planned')",
                (signal, tenant, self.strategy, str(signal), at),
            )
            conn.execute(
                "INSERT INTO plans (signal_id, tenant_id, strategy_id, version, seed, rotation, plan, planned_at)"
                " VALUES (%s, %s, %s, 1, 1, %s, '{}', %s)",
                (signal, tenant, self.strategy, self.signals, at),
            )
            for place, told in enumerate(orders):
                conn.execute(_ORDER, _order(self, signal, tenant, at, place, told))
        self.signals += 1
        return signal


def _order(
    books: Books, signal: UUID, tenant: UUID, at: datetime, place: int, told: dict[str, Any]
) -> dict[str, Any]:
    sent = at + timedelta(milliseconds=told.get("send_ms", 10))
    made = {
        "account": books.accounts[place], "broker": "paper", "symbol": "BTC", "side": "buy", "qty": 1,
        "filled": told.get("qty", 1), "px": 100, "ord_type": "market", "state": "filled",
        "signal_px": 100, "arrival_px": 100, "role": "main", "leg": 0,
    } | told  # fmt: skip
    return made | {
        "signal": signal, "tenant": tenant, "strategy": books.strategy, "place": place, "at": at,
        "id": f"{signal.hex[-12:]}{made['account'][-8:]}{made['leg']}", "sent": sent,
        "done": sent + timedelta(milliseconds=made.get("fill_ms", 5)),
    }  # fmt: skip


_ORDER = """
INSERT INTO orders (cl_ord_id, order_id, tenant_id, signal_id, strategy_id, account_id, part, leg, attempt, place,
    broker, symbol, side, order_qty, ord_type, time_in_force, deadline, state, epoch, cum_qty, avg_px, signal_px,
    arrival_px, sent_at, acked_at, done_at, intent_at, traceparent, role)
VALUES (%(id)s || '.1', %(id)s, %(tenant)s, %(signal)s, %(strategy)s, %(account)s, 0, %(leg)s, 1, %(place)s,
    %(broker)s, %(symbol)s, %(side)s, %(qty)s, %(ord_type)s, 'ioc', now(), %(state)s, 1, %(filled)s, %(px)s,
    %(signal_px)s, %(arrival_px)s, %(sent)s, %(sent)s, %(done)s, %(at)s, 't', %(role)s)"""


async def books(api: Api, accounts: int = 2) -> Books:
    admin = api.as_("admin")
    strategy = await admin.make("/v1/strategies", name="trend")
    made = [
        await admin.make("/v1/accounts", name=f"client {n}", broker="paper", currency="USDT")
        for n in range(accounts)
    ]
    return Books(api, strategy["strategy_id"], [one["account_id"] for one in made])


async def fairness(api: Api, made: Books, query: str = WITHIN) -> Any:
    return await api.as_("admin").get(f"/v1/reports/fairness?strategy_id={made.strategy}&{query}")


async def test_fairness_is_the_difference_from_the_signals_own_mean(api: Api):
    """By hand: two accounts; the first is always first, 4 ms sooner, and pays 99 where the other pays 101."""
    made = await books(api)
    for _ in range(3):
        made.signal({"px": 99, "send_ms": 8}, {"px": 101, "send_ms": 12})
    report = await fairness(api, made)
    assert (report["signals"], report["orders"], report["strategy"]) == (3, 6, "trend")
    first, second = report["accounts"]
    assert [first["name"], second["name"]] == ["client 0", "client 1"]
    assert (first["place"]["n"], first["place"]["mean"], second["place"]["mean"]) == (3, 0.25, 0.75)
    assert (first["place"]["first_share"], first["place"]["first_expected"]) == (1, 0.5)
    assert (second["place"]["last_share"], second["place"]["first_share"]) == (1, 0)
    # Of two, one place varies by (4 - 1) / 48: over three signals 1.96 * sqrt(3 / 16) / 3.
    assert first["place"]["low"] == pytest.approx(0.5 - 0.2829, abs=1e-4)
    assert first["send_ms"] == {"n": 3, "mean": -2.0, "low": -2.0, "high": -2.0}
    assert second["send_ms"]["mean"] == 2.0
    assert second["fill_ms"]["mean"] == 2.0
    # 99 against a mean of 100 is 100 basis points better: negative.
    assert (first["price_bps"]["mean"], second["price_bps"]["mean"]) == (-100, 100)


async def test_an_average_weighs_by_quantity_and_a_sale_is_worse_when_it_is_lower(api: Api):
    made = await books(api)
    made.signal({"side": "sell", "px": 100, "qty": 3}, {"side": "sell", "px": 104, "qty": 1})
    first, second = (await fairness(api, made))["accounts"]
    # The mean is 101: 1/101 worse, 3/101 better; weighted by quantity they cancel out.
    assert first["price_bps"]["mean"] == pytest.approx(99.0099, abs=1e-4)
    assert second["price_bps"]["mean"] == pytest.approx(-297.0297, abs=1e-4)


async def test_price_differences_weighted_by_quantity_add_up_to_nothing(api: Api):
    made = await books(api, accounts=5)
    chance = random.Random(7)
    quantities = [chance.randrange(1, 9) for _ in range(5)]
    made.signal(
        *({"px": Decimal(chance.randrange(9000, 11000)) / 100, "qty": q} for q in quantities)
    )
    accounts = (await fairness(api, made))["accounts"]
    by_name = sorted(accounts, key=lambda one: one["name"])
    total = sum(one["price_bps"]["mean"] * q for one, q in zip(by_name, quantities, strict=True))
    assert total == pytest.approx(0, abs=0.01)


async def test_who_is_always_first_is_called_early_and_who_takes_turns_is_not(api: Api):
    made = await books(api)
    for _ in range(8):
        made.signal({}, {})
    report = await fairness(api, made)
    assert [one["place"]["standing"] for one in report["accounts"]] == ["early", "late"]
    assert (report["outside"], report["outside_expected"]) == (2, 0.1)
    turned = await books_turned(api)
    report = await fairness(api, turned)
    assert [one["place"]["standing"] for one in report["accounts"]] == ["as_expected"] * 2
    assert [one["place"]["mean"] for one in report["accounts"]] == [0.5, 0.5]


async def books_turned(api: Api) -> Books:
    admin = api.as_("admin")
    strategy = await admin.make("/v1/strategies", name="turns")
    accounts = (await admin.get("/v1/accounts"))["items"]
    made = Books(api, strategy["strategy_id"], [one["account_id"] for one in accounts])
    made.chance = random.Random(2)
    for _ in range(8):
        made.accounts.reverse()
        made.signal({}, {})
    return made


async def test_who_was_alone_or_asked_a_person_does_not_count(api: Api):
    made = await books(api, accounts=3)
    made.signal({})
    signal = made.signal({}, {}, {"send_ms": 60_000})
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute(
            "INSERT INTO signal_approvals (signal_id, account_id, tenant_id, strategy_id, subscription_id, part,"
            " state, entry, open_for, traceparent, asked_at, expires_at, decided_at) VALUES (%s, %s, %s, %s,"
            " gen_random_uuid(), 0, 'approved', '{}', '1 s', 't', now(), now(), now())",
            (signal, made.accounts[2], api.tenant("admin"), made.strategy),
        )
    accounts = (await fairness(api, made))["accounts"]
    assert [(one["name"], one["place"]["n"]) for one in accounts] == [
        ("client 0", 1), ("client 1", 1),
    ]  # fmt: skip


async def test_execution_is_counted_by_broker_instrument_hour_and_type(api: Api):
    made = await books(api, accounts=4)
    made.signal(
        {"px": 101, "arrival_px": 101},
        {"px": 103},
        {"side": "sell", "px": 98, "symbol": "ETH", "ord_type": "limit", "qty": 4, "filled": 2,
         "state": "canceled"},
        {"state": "rejected", "filled": 0, "px": None},
        hours=1,
    )  # fmt: skip
    made.signal({"px": 100}, hours=13)
    report = await api.as_("admin").get(f"/v1/reports/execution?{WITHIN}")
    rows = {(row["by"], row["value"]): row for row in report["rows"]}
    every = rows["all", None]
    assert (every["orders"], every["rejected"], every["fill_ratio"]) == (5, 1, 0.7)
    # Against the signal: 100, 300, 200 (a sale at 98) and 0 basis points.
    assert every["signal"] == {"n": 4, "mean": 150, "median": 150, "p95": 285, "worst": 300}
    assert every["arrival"] == {"n": 4, "mean": 125, "median": 100, "p95": 285, "worst": 300}
    assert rows["symbol", "ETH"]["signal"]["mean"] == 200
    assert rows["ord_type", "limit"]["fill_ratio"] == 0.5
    assert {value for by, value in rows if by == "hour"} == {"11", "23"}
    assert rows["broker", "paper"]["orders"] == 5
    mine = await api.as_("admin").get(
        f"/v1/reports/execution?{WITHIN}&account_id={made.accounts[0]}&strategy_id={made.strategy}"
    )
    assert mine["orders"] == 2


async def test_what_stands_behind_a_position_is_no_entry(api: Api):
    made = await books(api)
    made.signal({}, {"role": "stop", "leg": 2, "px": 50})
    report = await api.as_("admin").get(f"/v1/reports/execution?{WITHIN}")
    assert report["orders"] == 1


async def test_a_report_is_a_file_or_a_picture_as_is_asked(api: Api):
    made = await books(api)
    admin = api.as_("admin")
    await admin.change(f"/v1/accounts/{made.accounts[0]}", "*", name="=HYPERLINK(1)")
    made.signal({"px": 99}, {"px": 101})
    for address in (
        f"/v1/reports/fairness?strategy_id={made.strategy}&{WITHIN}",
        f"/v1/reports/execution?{WITHIN}",
    ):
        by_query = await admin("GET", f"{address}&format=csv")
        by_accept = await admin("GET", address, None, {"accept": "text/csv"})
        assert by_query.status == by_accept.status == 200
        assert by_query.body == by_accept.body
        assert by_query.headers["content-type"] == "text/csv; charset=utf-8"
        assert "attachment; filename=" in by_query.headers["content-disposition"]
        lines = list(csv.DictReader(io.StringIO(by_query.body.decode())))
        assert lines
        picture = await admin("GET", f"{address}&format=svg")
        assert picture.headers["content-type"] == "image/svg+xml"
        assert "script" not in picture.headers["content-security-policy"]
        drawn = ElementTree.fromstring(picture.body)
        assert drawn.tag.endswith("svg")
        assert not [node for node in drawn.iter() if node.tag.endswith("script")]
    page = await admin(
        "GET", f"/v1/reports/fairness?strategy_id={made.strategy}&{WITHIN}&format=csv"
    )
    line = next(csv.DictReader(io.StringIO(page.body.decode())))
    assert line["name"] == "'=HYPERLINK(1)"
    assert (line["price_bps_mean"], line["place_standing"]) == ("-100.0", "as_expected")


@pytest.mark.parametrize(
    "query",
    [
        "since=2026-03-02T00:00:00Z&until=2026-03-01T00:00:00Z",
        "since=2024-01-01T00:00:00Z&until=2026-03-01T00:00:00Z",
        "format=pdf",
    ],
)
async def test_a_period_that_is_none_or_too_long_is_refused(api: Api, query: str):
    reply = await api.as_("admin")("GET", f"/v1/reports/execution?{query}")
    assert reply.status == 422


async def test_too_many_orders_are_refused_before_they_are_counted(api: Api, monkeypatch):
    made = await books(api)
    made.signal({}, {})
    monkeypatch.setattr(bounds.bounded, "__defaults__", (1,))
    reply = await api.as_("admin")("GET", f"/v1/reports/execution?{WITHIN}")
    assert reply.status == 422
    assert "more than 1 orders" in reply.json()["detail"]


async def test_an_empty_period_is_a_report_of_nothing(api: Api):
    made = await books(api)
    report = await fairness(api, made)
    assert (report["signals"], report["accounts"]) == (0, [])
    for address in (f"fairness?strategy_id={made.strategy}", "execution?"):
        for form in ("csv", "svg"):
            reply = await api.as_("admin")("GET", f"/v1/reports/{address}&format={form}")
            assert reply.status == 200


async def test_another_tenants_strategy_is_nobodys(api: Api):
    made = await books(api)
    for query in (
        f"fairness?strategy_id={made.strategy}",
        f"execution?strategy_id={made.strategy}",
    ):
        assert (await api.as_("other")("GET", f"/v1/reports/{query}")).status == 404
