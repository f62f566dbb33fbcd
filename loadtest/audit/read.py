"""The facts, read from where they lie: the sender's notes, PostgreSQL, the exchange, the log's files.

The rows are read in one REPEATABLE READ transaction: one moment. Nothing waits here; whoever asks
has let the system settle first. A system that runs may still have something to record (a daily check
of fills), so the logs' rows are counted once more after their files were read: what was signed lies
between the two. The log's files are checked by `python -m audit.verifier`, in a
process of its own, with a key that is put together here from the registered public key.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from psycopg.rows import TupleRow

from loadtest.audit.facts import (
    Drift,
    Executed,
    Facts,
    Leg,
    Noted,
    Order,
    Plan,
    Record,
    Signal,
    Verified,
)
from loadtest.audit.payloads import DATA_KEYS, Payloads, read_audit_keys

ED25519 = b"\x01"
# What is looked at again and again goes on making records: those of the last seconds are on their way.
_INBOX = """
SELECT count(*) FROM audit_inbox WHERE ts < (extract(epoch FROM clock_timestamp()) - 5) * 1e9"""
_WALL = """
SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"""
_SIGNALS = "SELECT signal_id::text, message_id, state, body FROM signals"
_PLANS = "SELECT signal_id::text, plan::text, rotation FROM plans"
_YESES = """
SELECT signal_id::text, account_id::text FROM signal_approvals WHERE state = 'approved'"""
_ORDERS = """
SELECT o.cl_ord_id, o.order_id, o.signal_id::text, o.strategy_id::text, o.account_id::text, o.leg,
       o.attempt, o.broker, o.symbol, o.side, o.order_qty, o.ord_type, o.reduce_only, o.state,
       o.cum_qty, coalesce(o.text, ''), o.cancel_requested_at IS NOT NULL,
       (SELECT coalesce(sum(e.last_qty), 0) FROM execution_reports e WHERE e.cl_ord_id = o.cl_ord_id),
       o.role, o.asked_type,
       NOT (o.state = 'held' OR o.state IN ('canceled', 'expired') AND o.sent_at IS NULL
            AND o.broker_order_id IS NULL AND o.asked_type IS NULL)
FROM orders o"""
_POSITIONS = "SELECT account_id::text, strategy_id::text, symbol, qty FROM positions WHERE qty <> 0"
_KEYS = """
SELECT account_id::text, api_key FROM credentials WHERE state = 'live' AND revoked_at IS NULL AND broker = %s"""
_DRIFTS = "SELECT drift_id::text, account_id::text, kind, subject, cause, state FROM drifts"
_WORKING = "SELECT count(*) FROM interventions WHERE state = 'working'"
_RECORDS = """
SELECT l.log_id::text, l.i, l.leaf, p.payload, l.tenant_id::text FROM audit_leaves l
JOIN audit_logs g ON g.log_id = l.log_id AND g.kind = 'records'
LEFT JOIN audit_payloads p ON p.log_id = l.log_id AND p.i = l.i ORDER BY l.log_id, l.i"""
_LOGS = """
SELECT log_id::text, origin, public_key, (SELECT count(*) FROM audit_leaves v WHERE v.log_id = l.log_id)
FROM audit_logs l WHERE l.kind = 'records'"""


class CannotAudit(Exception):
    """Something that must be read cannot be; the message says what and what to do."""


async def read_facts(
    *,
    database: str,
    simulator: str,
    store: Path,
    sent: Path,
    venue: str = "gateio",
    audit_keys: Path | None = None,
) -> Facts:
    """Everything. Raises CannotAudit."""
    logs, rows = await _rows(database, venue, read_audit_keys(audit_keys))
    executed, held = await _exchange(simulator)
    checked = await asyncio.gather(*(_verify(store, *log) for log in logs))
    now = await _counted(database)
    verified = [replace(one, rows_after=now[one.log_id]) for one in checked]
    return Facts(
        noted=tuple(_noted(sent)),
        executed=executed,
        held=held,
        logs=tuple(verified),
        **rows,
    )


def _noted(file: Path) -> list[Noted]:
    notes = []
    for line in file.read_text().splitlines():
        said = json.loads(line)
        notes.append(Noted(said["message_id"], said["body"], said["status"], said.get("signalId")))
    return notes


# ------------------------------------------------------------------ rows


async def _rows(
    database: str, venue: str, audit_keys: Mapping[str, bytes] = {}
) -> tuple[Sequence[TupleRow], dict[str, Any]]:
    try:
        async with await psycopg.AsyncConnection.connect(database) as conn:
            await conn.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
            wall = await _all(conn, _WALL)
            if not wall or not wall[0][0]:
                raise CannotAudit(
                    "this database role sees one tenant at most: an auditor needs one that is"
                    " superuser or has BYPASSRLS"
                )
            payloads = Payloads(audit_keys, await _all(conn, DATA_KEYS))
            return await _all(conn, _LOGS), {
                "signals": tuple(
                    Signal(row[0], row[1], row[2], row[3].decode("utf-8", "replace"))
                    for row in await _all(conn, _SIGNALS)
                ),
                "plans": tuple(_plan(*row) for row in await _all(conn, _PLANS)),
                "yeses": frozenset(await _all(conn, _YESES)),
                "orders": tuple(Order(*row) for row in await _all(conn, _ORDERS)),
                "positions": {row[:3]: row[3] for row in await _all(conn, _POSITIONS)},
                "keys": dict(await _all(conn, _KEYS, venue)),
                "drifts": tuple(Drift(*row) for row in await _all(conn, _DRIFTS)),
                "working": (await _all(conn, _WORKING))[0][0],
                "records": tuple(_record(payloads, *row) for row in await _all(conn, _RECORDS)),
                "inbox": (await _all(conn, _INBOX))[0][0],
            }
    except psycopg.OperationalError as error:
        raise CannotAudit(f"the database cannot be read: {error}") from error


async def _counted(database: str) -> dict[str, int]:
    """How many rows each log has now."""
    try:
        async with await psycopg.AsyncConnection.connect(database) as conn:
            return {row[0]: row[3] for row in await _all(conn, _LOGS)}
    except psycopg.OperationalError as error:
        raise CannotAudit(f"the database cannot be read: {error}") from error


async def _all(conn: psycopg.AsyncConnection, query: Any, *values: object) -> list[TupleRow]:
    return await (await conn.execute(query, values)).fetchall()


def _plan(signal_id: str, text: str, rotation: int) -> Plan:
    """Raises CannotAudit for a plan of another form: passing over it would let an order go unaudited."""
    said = json.loads(text, parse_float=Decimal)
    if "groups" not in said:
        raise CannotAudit(
            f"the plan of signal {signal_id} has no groups: an earlier version wrote it"
        )
    legs = [
        Leg(
            signal_id=signal_id,
            account_id=account,
            leg=leg["leg"],
            broker=group["broker"],
            symbol=group["symbol"],
            side=leg["side"],
            order_qty=_number(group["numbers"][leg["lots"]], index),
            ord_type=leg["ord_type"],
            reduce_only=leg.get("reduce_only", False),
            asked=bool(group.get("asked")),
            protected=leg.get("protect") is not None,
        )
        for group in said["groups"]
        for leg in group.get("legs", ())
        for index, account in enumerate(group["account_id"])
    ]
    return Plan(signal_id, hashlib.sha256(text.encode()).hexdigest(), tuple(legs), rotation)


def _number(column: dict[str, Any], index: int) -> Decimal:
    """An account's number: integers of 10^-scale, and a single one is everybody's."""
    values = column["values"]
    value = values[index] if len(values) > 1 else values[0]
    return Decimal(value).scaleb(-column.get("scale", 0))


def _record(
    payloads: Payloads, log_id: str, index: int, leaf: bytes, stored: bytes | None, tenant: str
) -> Record:
    said = json.loads(leaf)
    payload = None if stored is None else payloads.open(tenant, stored, said["pc"])
    meant: dict[str, Any] | None = None
    opens = False
    if payload is not None:
        try:
            meant = json.loads(payload)
            key = bytes.fromhex(meant["k_rec"]) if meant is not None else b""
            digest = hmac.new(key, payload, hashlib.sha256).hexdigest()
            opens = hmac.compare_digest(digest, said["pc"])
        except (ValueError, KeyError, TypeError):
            meant = None
    return Record(log_id, index, said["k"], said.get("oid"), meant, opens)


# ------------------------------------------------------------------ exchange and files


async def _exchange(
    url: str,
) -> tuple[tuple[Executed, ...], dict[tuple[str, str], Decimal]]:
    try:
        async with aiohttp.ClientSession() as session:
            audit = await _ask(session, f"{url}/_control/audit")
            positions = await _ask(session, f"{url}/_control/positions")
    except aiohttp.ClientError as error:
        raise CannotAudit(f"the exchange at {url} does not answer: {error}") from error
    executed = tuple(
        Executed(
            order_id=row["order_id"],
            key=row["key"],
            text=row["text"],
            contract=row["contract"],
            size=Decimal(str(row["size"])),
            filled=Decimal(str(row["filled"])),
            status=row["status"],
        )
        for row in audit["orders"]
    )
    held = {
        (row["key"], row["contract"]): Decimal(str(row["size"]))
        for row in positions
        if Decimal(str(row["size"]))
    }
    return executed, held


async def _ask(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url) as response:
        response.raise_for_status()
        return json.loads(await response.text(), parse_float=Decimal)


def vkey(origin: str, public_key: bytes) -> str:
    """The C2SP signed-note verifier key of an Ed25519 log key."""
    typed = ED25519 + public_key
    key_id = hashlib.sha256(origin.encode() + b"\n" + typed).hexdigest()[:8]
    return f"{origin}+{key_id}+{base64.b64encode(typed).decode()}"


async def _verify(store: Path, log_id: str, origin: str, public_key: bytes, rows: int) -> Verified:
    words = [str(store / log_id), "--vkey", vkey(origin, public_key), "--json"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "audit.verifier", *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, complaint = await process.communicate()
    try:
        verdict = json.loads(said)
    except ValueError:
        raise CannotAudit(f"the verifier failed: {complaint.decode()[-500:]}") from None
    findings = "; ".join(finding["what"] for finding in verdict["findings"][:3])
    word = verdict["verdict"] + (f" ({findings})" if findings else "")
    if process.returncode == 0 and verdict["verdict"] != "verified":
        word = f"exit status 0, but {word}"
    return Verified(log_id, word, verdict["size"], rows, rows)
