"""Workers in processes, an exchange in another, and the auditor's judgement on what they leave.

No recorder runs here: the records are read from the inbox, where each lies from the very commit
that it describes.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fanout.approvals import approve
from loadtest.audit import read
from loadtest.audit.facts import Executed, Facts, Record, Verified
from loadtest.auditor import judge
from loadtest.exchanges.gateio.control import NewAccount
from loadtest.exchanges.gateio.faults import Rule
from tenancy.store.accounts import put_credential
from tests.chaos.worker_process import SECRET
from tests.fixtures.gateio_simulator import RunningSimulator
from tests.fixtures.postgres import Database
from tests.fixtures.proving import prove_all
from tests.integration.fanout.conftest import Bench

ROOT = Path(__file__).parents[2]
DIES_WITHIN_S = 20.0
SETTLES_WITHIN_S = 30.0
AWAKE_S = 1.5
"""Time enough for a worker that wakes to do what it should not."""
LEFT = """
SELECT (SELECT count(*) FROM signals WHERE state = 'accepted') + (SELECT count(*) FROM plan_parts)
     + (SELECT count(*) FROM orders WHERE state IN ('waiting', 'intent', 'in_doubt', 'partially_filled'))
     + (SELECT count(*) FROM orders WHERE state = 'new'
        AND (ord_type = 'market' OR cancel_requested_at IS NOT NULL))"""


class Stage:
    """One test's tenant, exchange and processes."""

    def __init__(self, database: Database, market: RunningSimulator) -> None:
        self.bench = Bench(database)
        self.market = market

    async def set_up(self, accounts: int = 3) -> None:
        await self.bench.set_up(accounts)
        admin = await self.bench.open("admin")
        keys = []
        async with admin.tenant(self.bench.scope) as conn:
            for account in self.bench.accounts:
                key = f"key-{account.hex[-12:]}"
                keys.append(NewAccount(key=key, secret=SECRET.decode()))
                await put_credential(
                    conn, self.bench.scope, account, broker="gateio", api_key=key, sealed=b"sealed"
                )
        await admin.close()
        await prove_all(self.bench.made)
        await self.market.control.create_accounts(keys)

    async def seal(self, key: str, *, test_order: bool = False) -> None:
        """Another key for the first account, known at the exchange: it is to be proven."""
        account = self.bench.accounts[0]
        await self.market.control.create_account(key, SECRET.decode())
        admin = await self.bench.open("admin")
        async with admin.tenant(self.bench.scope) as conn:
            await put_credential(
                conn, self.bench.scope, account, broker="gateio", api_key=key, sealed=b"sealed",
                test_order=test_order,
            )  # fmt: skip
        await admin.close()

    async def signal(self, **fields: Any) -> None:
        await self.bench.signal(**fields)

    async def fault(self, kind: str, **rule: Any) -> None:
        """A fault for the next order that arrives."""
        await self.market.control.set_faults(Rule(kind=kind, nth=1, **rule))

    async def dies(self, step: str) -> None:
        """A worker works until it dies there, by its own hand, and nothing else ends it."""
        process = await self._start("doomed", step)
        try:
            status = await asyncio.wait_for(process.wait(), DIES_WITHIN_S)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise AssertionError(f"no worker came to {step}") from None
        assert status == -signal.SIGKILL, f"ended with {status} before {step}"
        await self.market.control.clear_faults()

    @asynccontextmanager
    async def frozen(self, step: str) -> AsyncIterator[None]:
        """A worker that has stopped where it stood at that step; it wakes at the end, and goes on."""
        process = await self._start("sleeper", step)
        try:
            await asyncio.to_thread(_until_stopped, process.pid)
            yield
            process.send_signal(signal.SIGCONT)
            await asyncio.sleep(AWAKE_S)
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            await process.wait()

    async def asked(self, **fields: Any) -> None:
        """A signal that is planned, and about which a person is asked for every account."""
        await self.rows(
            """UPDATE subscriptions SET settings = '{"needs_approval": true}' RETURNING 1"""
        )
        await self.signal(**fields)
        assert await self.settles() == []

    async def approved(self, **fields: Any) -> None:
        """As asked, and somebody has said yes for every account."""
        await self.asked(**fields)
        admin = await self.bench.open("admin")
        async with admin.tenant(self.bench.scope) as conn:
            for signal, account in await self.rows(
                "SELECT signal_id, account_id FROM signal_approvals"
            ):
                await approve(conn, self.bench.scope, signal, account, datetime.now(UTC))
        await admin.close()

    async def settles(self, left: str = LEFT) -> list[Executed]:
        """A fresh worker finishes; nothing is lost, doubled or unexplained. What was executed."""
        process = await self._start("next")
        try:
            await self.bench.until(left, 0, SETTLES_WITHIN_S)
        finally:
            process.terminate()
            await process.wait()
        return await self.executed()

    async def executed(self) -> list[Executed]:
        """What the exchange executed, after the auditor has found nothing wrong."""
        facts = await self.facts()
        findings = judge(facts, carried_out=True).findings
        assert findings == (), "\n".join(map(str, findings))
        return list(facts.executed)

    async def facts(self) -> Facts:
        _, rows = await read._rows(self.bench.made.superuser, "gateio")
        executed, held = await read._exchange(self.market.url)
        records = [
            Record("inbox", seq, kind, oid, json.loads(payload))
            for seq, kind, oid, payload in await self.bench.rows(
                "SELECT seq, kind, oid, payload FROM audit_inbox ORDER BY seq"
            )
        ]
        # `Bench.signal` puts the row where ingress does, without ingress' record. (The kill switch's
        # own signals have theirs.)
        told = {
            r.payload["signal_id"] for r in records if r.kind == "signal.accepted" and r.payload
        }
        records += [
            Record("bench", index, "signal.accepted", None, {"signal_id": signal.signal_id})
            for index, signal in enumerate(rows["signals"])
            if signal.signal_id not in told
        ]
        # So does `planned.plan`, for a plan that is given.
        planned = {
            r.payload["signal_id"] for r in records if r.kind == "signal.planned" and r.payload
        }
        records += [
            Record(
                "given", index, "signal.planned", None,
                {"signal_id": plan.signal_id, "plan_sha256": plan.sha256},
            )
            for index, plan in enumerate(rows["plans"])
            if plan.signal_id not in planned
        ]  # fmt: skip
        log = Verified("inbox", "verified", 0, 0, 0)
        facts = Facts(executed=executed, held=held, logs=(log,), **rows)
        return replace(facts, records=tuple(records), inbox=0)

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        return await self.bench.rows(query)

    async def _start(self, name: str, *step: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.worker_process",
            self.bench.made.conninfo("worker"), self.market.url, name, *step,
            cwd=ROOT, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip


def _until_stopped(pid: int) -> None:
    """Until the kernel says that the process sleeps by SIGSTOP (proc(5): state T)."""
    deadline = time.monotonic() + DIES_WITHIN_S
    while " T " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < deadline, "the worker never came to where it falls asleep"
        time.sleep(0.02)


@asynccontextmanager
async def staged(
    database: Database, market: RunningSimulator, accounts: int = 3
) -> AsyncIterator[Stage]:
    stage = Stage(database, market)
    await stage.set_up(accounts)
    yield stage
