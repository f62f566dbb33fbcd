"""A signal, its plan and order, a fill, a position and a balance, as the workers would have left them."""

from __future__ import annotations

import psycopg

from tenancy.ids import new_id
from tests.fixtures.api import Api


def traded(api: Api, tenant: str, ids: dict[str, str]) -> dict[str, str]:
    """The ids of what was traded, by the names that addresses have for them."""
    own, signal = api.tenant(tenant), new_id()
    order = f"o{signal.hex}"
    account, strategy = ids["account_id"], ids["strategy_id"]
    trace = f"00-{signal.hex}-{signal.hex[:16]}-01"
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute(
            "INSERT INTO signals (signal_id, tenant_id, strategy_id, hook_id, message_id, part, body,"
            " body_sha256, traceparent, received_at, state) VALUES (%s, %s, %s, %s, %s, 1, %s,"
            " sha256(%s), %s, now(), 'planned')",
            (signal, own, strategy, ids["hook_id"], str(signal), b"{}", b"{}", trace),
        )
        conn.execute(
            "INSERT INTO plans (signal_id, tenant_id, strategy_id, version, seed, rotation, plan,"
            " planned_at) VALUES (%s, %s, %s, 1, 1, 0, %s, now())",
            (signal, own, strategy, PLAN),
        )
        conn.execute(
            "INSERT INTO orders (cl_ord_id, order_id, tenant_id, signal_id, strategy_id, account_id,"
            " part, leg, attempt, place, broker, symbol, side, order_qty, ord_type, time_in_force,"
            " deadline, state, epoch, cum_qty, avg_px, intent_at, traceparent) VALUES (%s, %s, %s, %s,"
            " %s, %s, 1, 0, 1, 0, 'paper', 'BTC', 'buy', 1, 'market', 'ioc', now(), 'filled', 1, 1,"
            " 5, now(), %s)",
            (f"{order}.1", order, own, signal, strategy, account, trace),
        )
        conn.execute(
            "INSERT INTO execution_reports (exec_id, cl_ord_id, tenant_id, account_id, exec_type,"
            " ord_status, last_qty, last_px, cum_qty, at)"
            " VALUES ('1', %s, %s, %s, 'trade', 'filled', 1, 5, 1, now())",
            (f"{order}.1", own, account),
        )
        conn.execute(
            "INSERT INTO positions (account_id, strategy_id, symbol, tenant_id, qty, avg_px,"
            " updated_at) VALUES (%s, %s, 'BTC', %s, 1, 5, now())",
            (account, strategy, own),
        )
        conn.execute(
            "INSERT INTO balances (account_id, tenant_id, equity, available, currency, as_of)"
            " VALUES (%s, %s, 10, 5, 'USDT', now())",
            (account, own),
        )
    return {"signal_id": str(signal), "order_id": order}


PLAN = '{"entries": []}'
