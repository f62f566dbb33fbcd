"""`python -m tests.longer.drill`: a host is lost under load, and everything that it acknowledged comes back.

The whole product with eight accounts at a simulated exchange, senders that never pause, and an archive.

1. A base backup under load, then a drill under load: every signal answered 202 before the drill began is in
   the second directory, by the ids that the senders noted.
2. Every process is killed at once under load and PostgreSQL's directory is taken away. From the repository
   alone: every 202 ever answered is there.
3. What came back is started beside the same exchange. It signs nothing and sends nothing, and says why;
   an operator releases the switch, and still nothing opens before two people have lifted the log's halt.
4. The same from an older point: the exchange has trades that the book does not know, and the accounts
   come back as `differs`.

Prints one JSON object; exit status 1 where a claim does not hold. About three minutes.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import psycopg

from fanout.stops_book import LEFT_OPEN
from hsm import backup as tokens
from ops import control
from ops.api_client import connected
from ops.backup.drill import Told, count
from ops.backup.layout import Places as Repository
from ops.backup.restore import Target, restore
from ops.initialise import Choices
from ops.paths import Places, places
from ops.platform import KEY_NAME
from ops.processes import ROOT
from ops.settings import read_settings
from ops.stack.postgres import Postgres
from ops.trial.customer import API_RATES, customer
from ops.trial.exchange import Exchange, broker_settings, exchange
from ops.trial.installation import Installation, fresh, remove
from ops.trial.sender import Hook, Sender, sender
from tenancy.pause import pause

PASSPHRASE = "a passphrase for one drill alone"
UP_S = 300.0
PACE_S = 0.2
"""Between two signals of one sender: planning keeps up with it on two busy cores."""
SENDERS, NAMES = 6, [f"client {number}" for number in range(8)]
BODY = {"ticker": "BTC_USDT", "quantity": 1}
REDUCED = "reduced: "
"""Before what became of an order that only closes: it goes on under a halted log."""


class Load:
    """Senders that note each 202 as it comes."""

    def __init__(self, notes: Path) -> None:
        self.notes = notes
        self.told: set[UUID] = set()
        self.other = 0
        self._file = notes.open("w")

    async def run(self, strategy: Sender, stop: asyncio.Event) -> None:
        side = 0
        while not stop.is_set():
            side += 1
            sent = await strategy.send(**BODY, action=("buy", "buy", "sell")[side % 3])
            if sent.signal_id is not None:
                self.told.add(UUID(sent.signal_id))
                self._file.write(f"{sent.signal_id}\n")
                self._file.flush()
            else:
                self.other += 1
            await pause(stop, PACE_S)

    async def more(self, least: int) -> None:
        """Until so many more were told."""
        wanted = len(self.told) + least
        await eventually(lambda: len(self.told) >= wanted, 120.0)


async def eventually(what: Callable[[], Any], limit_s: float = 300.0) -> None:
    """Wait for it, asking again and again. Raises TimeoutError."""
    async with asyncio.timeout(limit_s):
        while True:
            found = what()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.1)


class Claims:
    """What was to be shown, and whether it was."""

    def __init__(self) -> None:
        self.said: dict[str, Any] = {}
        self.broken: list[str] = []
        self._began = time.monotonic()

    def claim(self, what: str, holds: bool, figure: Any = None) -> None:
        self.said[what] = {"holds": holds, "figure": figure}
        print(f"{time.monotonic() - self._began:6.1f} s  {'ok ' if holds else 'NOT'} {what}: {figure}",
              file=sys.stderr)  # fmt: skip
        if not holds:
            self.broken.append(what)


@asynccontextmanager
async def up(where: Places) -> AsyncIterator[Installation]:
    """Started, however busy the machine is, and ended."""
    settings = read_settings(where.settings)
    try:
        await asyncio.to_thread(control.up, where.settings, UP_S)
        yield Installation(where, settings)
    finally:
        await asyncio.to_thread(control.down, settings)


async def cli(file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ops.cli.main", "--settings", str(file), *words]
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, cwd=ROOT, check=False
    )


async def set_up(here: Installation, market: Exchange) -> Hook:
    async with customer(here, "Acme") as house:
        account = {"broker": "gateio", "currency": "USDT", "stated_equity": "100000"}
        await house.declare(
            strategies=[{"name": "trend"}],
            accounts=[{"name": name, **account} for name in NAMES],
            subscriptions=[{"strategy": "trend", "account": name} for name in NAMES],
        )
        await house.connect(market, dict.fromkeys((await house.accounts()).values(), "1000000"))
        return await house.hook((await house.strategies())["trend"])


async def run(root: Path, claims: Claims) -> None:
    repository = Repository(root / "repository")
    async with AsyncExitStack() as stack:
        market = await stack.enter_async_context(exchange(root / "exchange.log"))
        await market.depth("BTC_USDT", "60000", "100000000")
        choices = Choices(
            ingress_port=0, admin_port=0, worker_processes=1, rate_per_minute=10**6,
            rate_per_hour=10**6, api_rates=API_RATES, backup=repository.root,
            brokers={"gateio": broker_settings(market.url, connections=16)},
        )  # fmt: skip
        where = await asyncio.to_thread(fresh, root / "var", choices)
        load = Load(root / "told")
        older = await living(where, market, load, repository, claims)
        shutil.move(where.var / "postgres", root / "lost-disk")
        tokens_copy = root / "tokens.hsm"
        tokens.back_up(where.var / "hsm", tokens_copy, PASSPHRASE)
        await lost(where, root / "second", repository, Target(), load.told, market, claims)
        await lost(where, root / "older", repository, Target(lsn=older), set(), market, claims)


async def living(
    where: Places, market: Exchange, load: Load, repository: Repository, claims: Claims
) -> str:
    """Parts 1 and the loss of 2; a point in the WAL that lies before the last trades."""
    async with up(where) as here:
        hook = await set_up(here, market)
        (where.var.parent / "hook").write_text(json.dumps([hook.hook_id, hook.secret]))
        authority = where.var / "tls" / "ca.pem"
        stop = asyncio.Event()
        async with (
            sender(here.state.urls["ingress"], authority, hook) as strategy,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(SENDERS):
                group.create_task(load.run(strategy, stop))
            await load.more(20)
            made = await cli(where.settings, "backup")
            claims.claim("a base backup under load", made.returncode == 0, made.stderr[-300:])
            await load.more(50)
            await drilled(where, load, claims)
            with psycopg.connect(Postgres(where).superuser()) as conn:
                row = conn.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
            assert row is not None
            before = await market.count()
            await load.more(50)
            await eventually(lambda: _more_than(market, before + len(NAMES)))
            state = here.state
            first = [state.processes[name].pid for name in ("postgres", "archive-0")]
            rest = [one.pid for one in state.processes.values()]
            for pid in (*first, state.supervisor.pid, *rest):
                _kill(pid)
            stop.set()
        claims.claim("a host was lost under load", True, f"{len(load.told)} told, {load.other} not")
    return str(row[0])


async def _more_than(market: Exchange, least: int) -> bool:
    return await market.count() > least


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


async def drilled(where: Places, load: Load, claims: Claims) -> None:
    notes = where.var.parent / "told-before-the-drill"
    shutil.copyfile(load.notes, notes)
    told = len(notes.read_text().splitlines())
    into = str(where.var.parent / "drilled")
    done = await cli(where.settings, "drill", "--to", into, "--told", str(notes), "--json")
    if done.returncode not in (0, 1):
        claims.claim("a drill under load", False, done.stderr[-500:])
        return
    report = json.loads(done.stdout)
    figures = ("told", "told_by_sender", "missing", "beyond", "recovery_point_s", "recovery_time_s")
    claims.claim(
        "a drill under load has everything that was told",
        report["proved"] and report["missing"] == 0 and report["told_by_sender"] == told > 50,
        {name: report[name] for name in figures},
    )


async def lost(
    old: Places, var: Path, repository: Repository, target: Target, told: set[UUID],
    market: Exchange, claims: Claims,
) -> None:  # fmt: skip
    """Restore, put by hand what no backup holds, start, and look what it does."""
    began, name = time.monotonic(), "older point" if target.lsn else "after the loss"
    made = await asyncio.to_thread(restore, repository, repository.backup(None), var, target)
    restored = places(var)
    if told:
        missing, beyond, total = await asyncio.to_thread(
            count, Postgres(restored), Told(frozenset(told), frozenset())
        )
        figure = {"told": len(told), "missing": len(missing), "beyond": beyond, "in it": total}
        claims.claim("after the loss everything that was ever told is there", not missing, figure)
    for directory in ("secrets", "tls"):
        shutil.copytree(old.var / directory, var / directory)
    tokens.restore(var.parent / "tokens.hsm", var / "hsm", PASSPHRASE)
    async with up(restored) as here:
        claims.claim(f"{name}: restored and ready", True, {
            "s": round(time.monotonic() - began, 1), "restore": made.took_s,
            "steps": {step.name: step.took_s for step in made.steps}, "records": made.records,
        })  # fmt: skip
        await halted(here, name, market, claims)


async def halted(here: Installation, name: str, market: Exchange, claims: Claims) -> None:
    """Part 3: nothing is signed, nothing is sent, released or not; and part 4 for an older point."""
    first, second = json.loads((here.places.var.parent / "hook").read_text())
    orders, authority = await market.count(), here.places.var / "tls" / "ca.pem"
    with psycopg.connect(Postgres(here.places).superuser(), autocommit=True) as conn:
        signed = _one(conn, "SELECT count(*) FROM audit_checkpoints")
        async with sender(here.state.urls["ingress"], authority, Hook(first, second)) as strategy:
            accepted = await strategy.send(**BODY, action="buy")
            claims.claim(
                f"{name}: signals are still accepted", accepted.status == 202, accepted.answer
            )
            await eventually(lambda: _ends(conn, accepted.signal_id))
            said = _ends(conn, accepted.signal_id)
            claims.claim(
                f"{name}: the switch denies every order", set(said) == {"platform_halted"}, said
            )
            sent = await market.count()
            claims.claim(f"{name}: nothing reached the exchange", sent == orders, orders)
            url, key = here.state.urls["admin"], here.places.keys / f"{KEY_NAME}.key"
            async with connected(url, key, authority) as operator:
                body = {"scope": "platform", "reason": "compared with the broker"}
                await operator.ask("POST", "/v1/halts/release", body)
            await asyncio.sleep(2.0)  # one second after the commit every worker knows of it
            opened = await strategy.send(**BODY, action=_opening(conn))
            await eventually(lambda: _ends(conn, opened.signal_id))
            said = _ends(conn, opened.signal_id)
            opening = {word for word in said if not word.startswith(REDUCED)}
            held = bool(opening) and opening <= {"audit_halted", LEFT_OPEN}
            claims.claim(f"{name}: released, nothing opens: the log is halted", held, said)
        now = _one(conn, "SELECT count(*) FROM audit_checkpoints")
        claims.claim(f"{name}: nothing was signed", now == signed, signed)
        if name == "older point":
            await eventually(
                lambda: _one(conn, "SELECT count(*) FROM reconciliations WHERE state = 'differs'")
            )
            rows = conn.execute("SELECT state, count(*) FROM reconciliations GROUP BY 1").fetchall()
            claims.claim(f"{name}: the accounts differ from the exchange, and say so",
                         dict(rows).get("differs", 0) > 0, dict(rows))  # fmt: skip


def _one(conn: psycopg.Connection, query: str) -> int:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def _opening(conn: psycopg.Connection) -> str:
    """What opens something: who holds it already buys no more, and no order would be there to be denied."""
    return "sell" if _one(conn, "SELECT count(*) FROM positions WHERE qty > 0") else "buy"


def _ends(conn: psycopg.Connection, name: str | None) -> list[str]:
    """How the signal's orders ended: the code of who denied it, or the state; `REDUCED` before what only closes.

    An account that the plan left out for a halt counts with that halt's code.
    """
    rows = conn.execute(
        "SELECT CASE WHEN reduce_only THEN %s || state || ' ' || coalesce(text, '')"
        " WHEN state = 'denied' THEN split_part(text, ':', 1) ELSE state END"
        " FROM orders WHERE signal_id = %s AND state NOT IN ('waiting', 'intent')",
        (REDUCED, name),
    ).fetchall()
    planned = conn.execute("SELECT plan::text FROM plans WHERE signal_id = %s", (name,)).fetchone()
    halts = ("platform_halted", "audit_halted")
    skipped = [word for word in halts if planned and word in planned[0]]
    return [str(row[0]) for row in rows] + skipped


@click.command()
@click.option(
    "--var", type=click.Path(path_type=Path), default=Path("var/drill"), show_default=True
)
@click.option("--keep", is_flag=True, help="Leave everything to be looked at.")
def main(var: Path, keep: bool) -> None:
    """Lose a host under load, and count what comes back."""
    root, claims = var.absolute(), Claims()
    for part in ("var", "second", "older"):
        remove(places(root / part))
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True, mode=0o711)
    asyncio.run(run(root, claims))
    print(json.dumps(claims.said, indent=2))
    if not keep:
        for part in ("var", "second", "older"):
            remove(places(root / part))
        shutil.rmtree(root, ignore_errors=True)
    sys.exit(1 if claims.broken else 0)


if __name__ == "__main__":
    main()
