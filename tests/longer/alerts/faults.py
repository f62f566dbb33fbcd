"""What goes wrong, in order, and which alerts have to say so. What damages evidence is in evidence.py."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

from hsm.client import SignerClient
from ops.probe import accepts, is_ready
from ops.state import end
from ops.trial.cast import Member
from tests.longer.alerts.breaking import (
    EXCHANGE,
    FAULTS,
    FUTURES,
    ORDERS,
    again,
    beside,
    fault,
    locked,
    logged_out,
    named,
    ruled,
    sessions,
    standing,
)  # fmt: skip
from tests.longer.alerts.stage import SMALL_SIGNER, Stage

SEEN_S = 7.0
REASON = "a person of the alerts' run"


@fault(
    "AuditWormAdvisory",
    "CertificateExpiresSoon",
    "CertificateExpiring",
    "AnchorUnwitnessed",
    at_rest=True,
)
async def as_it_stands(stage: Stage) -> AsyncIterator[None]:
    """no sealer, a certificate of one day, a witness that nobody answers for; and keys that are due"""
    await stage.sql("UPDATE hsm_keys SET due_at = now() - interval '1 day' WHERE kind = 'kek'")
    await stage.sql("UPDATE hsm_keys SET due_at = now() + interval '9 days' WHERE kind <> 'kek'")
    yield


@fault("OrdersRejected", "ShortfallOpen", within_s=75.0)
async def too_large(stage: Stage) -> AsyncIterator[None]:
    """a strategy that wants more than any account can pay"""
    async with beside(again(lambda: stage.signals(3, quantity=400_000), 1.0)):
        yield


@fault("KillSwitchThrown")
async def thrown(stage: Stage) -> AsyncIterator[None]:
    """a tenant is stopped"""
    said = {"scope": "tenant", "reason": REASON}
    await stage.house.api.ask("POST", "/v1/halts", {**said, "level": "no_open"})
    yield
    await stage.house.api.ask("POST", "/v1/halts/release", said)


@fault("SignerOfSeveralDown")
async def one_signer(stage: Stage) -> AsyncIterator[None]:
    """one of two signers hangs"""
    with standing(*named(stage, "signer")):
        async with beside(again(stage.signal, 0.5)):
            yield


@fault("SignerDown", "AuditUnsealed", "AnchorLate")
async def both_signers(stage: Stage) -> AsyncIterator[None]:
    """all signers hang"""
    with standing(*named(stage, "signer", "signer2", SMALL_SIGNER)):
        async with beside(again(stage.signal, 1.0)):
            yield


@fault("EnrollerDown")
async def enroller(stage: Stage) -> AsyncIterator[None]:
    """the enroller hangs"""
    with standing(*named(stage, "enroller")):
        yield


@fault("HsmRestarts", "ProcessRestarts", within_s=75.0)
async def restarts(stage: Stage) -> AsyncIterator[None]:
    """a signer and the clock agent are killed again and again"""

    here = stage.ground.here

    async def kill() -> None:
        """Once both have been there for longer than the admin process takes to ask again."""
        ready = await is_ready(here.state.health["clock-0"])
        if not ready or not await accepts(here.settings.hsm.signer_sockets["signer2"]):
            return
        await asyncio.sleep(SEEN_S)
        for process in named(stage, "signer2", "clock-0"):
            end(process, signal.SIGKILL, 2.0)

    async with beside(again(kill, 0.5)):
        yield


@fault("HsmRefusals", "HsmJournalBehind", within_s=40.0)
async def asked_for_nonsense(stage: Stage) -> AsyncIterator[None]:
    """somebody asks the signer to sign what is none of ours, while no record can be written"""

    async def ask() -> None:
        async with SignerClient(stage.ground.here.settings.hsm.signer_socket) as client:
            await client.sign_note("a log", b"pay to bearer")

    async with locked(stage, "hsm_journals", "EXCLUSIVE"), beside(again(ask, 2.0)):
        yield


@fault("ClockBoundGrows")
async def clock_worse(stage: Stage) -> AsyncIterator[None]:
    """chronyd's sources are 35 ms away"""
    stage.chronyd.says.root_dispersion_s = 0.035
    yield


@fault("ClockDegraded", "ClockOverTier")
async def clock_bad(stage: Stage) -> AsyncIterator[None]:
    """chronyd's sources are 200 ms away, and a tenant wants a millisecond"""
    stage.chronyd.says.root_dispersion_s = 0.2
    await stage.house.api.change("/v1/tenant", {"settings": {"clock_tier": "mifid_1ms"}})
    yield
    await stage.house.api.change("/v1/tenant", {"settings": {"clock_tier": None}})
    stage.chronyd.says.root_dispersion_s = 0.0005


@fault("ClockUnknown")
async def clock_silent(stage: Stage) -> AsyncIterator[None]:
    """the clock agent hangs"""
    with standing(*named(stage, "clock-0")):
        yield


@fault("ClockStepped")
async def clock_stepped(stage: Stage) -> AsyncIterator[None]:
    """the host's clock is set three seconds forward, and back"""
    assert stage.ground.clock is not None
    step = stage.ground.clock.off_by(3.0, 3.0, stage.superuser)
    async with beside(step):
        yield
    stage.chronyd.says.ref_time_s += 1.0  # it measures anew: the clock is explained again


@fault("BudgetAlone", "RedisAway")
async def redis(stage: Stage) -> AsyncIterator[None]:
    """Redis hangs"""
    with standing(*named(stage, "redis")):
        async with beside(again(stage.signal, 0.4)):
            yield


@fault("AcceptSlow", "QueueLong", "SignalsNotKept")
async def ingress_database(stage: Stage) -> AsyncIterator[None]:
    """the sessions of ingress at PostgreSQL hang"""
    with standing(*await sessions(stage, "ingress")):
        async with beside(stage.signals(30)):
            await asyncio.sleep(8.0)
    async with beside(again(stage.signal, 0.3)):
        yield


@fault("HooksStale", within_s=40.0)
async def hooks_locked(stage: Stage) -> AsyncIterator[None]:
    """somebody's open transaction holds the hooks"""
    async with locked(stage, "hooks"):
        yield


@fault("AuditAppendFails", within_s=60.0)
async def inbox_locked(stage: Stage) -> AsyncIterator[None]:
    """somebody's open transaction holds the audit inbox"""
    async with locked(stage, "audit_inbox"), beside(again(stage.signal, 1.0)):
        stage.chronyd.says.root_dispersion_s = 0.2  # something to write about the clock
        yield
    stage.chronyd.says.root_dispersion_s = 0.0005


@fault("OrdersRefusedWithoutAudit", within_s=40.0)
async def intents_late(stage: Stage) -> AsyncIterator[None]:
    """the line from workers to PostgreSQL hangs for five seconds, again and again: intents are late"""

    async def late() -> None:
        await stage.ground.cables["database"].stall(5.0)

    async with beside(again(stage.signal, 0.2), again(late, 1.5)):
        yield


@fault("ClockRecordsWait", within_s=60.0)
async def clock_refused(stage: Stage) -> AsyncIterator[None]:
    """the recorder, which writes what is said of the clock, may not log in to PostgreSQL any more"""
    async with logged_out(stage, "portcullis_recorder", "recorder"):
        yield


@fault("RecorderStands", "AuditCheckStands", within_s=60.0)
async def leaves_locked(stage: Stage) -> AsyncIterator[None]:
    """somebody's open transaction holds the log's leaves"""
    async with locked(stage, "audit_leaves"):
        yield


@fault("PlansSlow", "SignalsWait", within_s=45.0)
async def plans_locked(stage: Stage) -> AsyncIterator[None]:
    """somebody's open transaction holds the plans"""
    async with locked(stage, "plans"):
        await stage.signals(5)
        await asyncio.sleep(8.0)
    async with beside(again(stage.signal, 1.0)):
        yield


@fault("SwitchUnread", "SpillWaits", within_s=30.0)
async def workers_database(stage: Stage) -> AsyncIterator[None]:
    """the line from workers to PostgreSQL is dead, while timed orders rest"""
    await stage.rest(limitPrice=48_000, cancelAfter=6)
    async with beside(stage.ground.cables["database"].stall(25.0)):
        yield


@fault("PartitionsUnheld", "ProcessDown")
async def workers_stand(stage: Stage) -> AsyncIterator[None]:
    """all workers hang"""
    with standing(*named(stage, *stage.ground.here.names("worker"))):
        yield


@fault("KeyCalendarUnknown", within_s=30.0)
async def admin_stands(stage: Stage) -> AsyncIterator[None]:
    """the admin process hangs"""
    with standing(*named(stage, "admin-0")):
        yield


@fault("JobFails")
async def admin_sessions(stage: Stage) -> AsyncIterator[None]:
    """PostgreSQL ends the admin process' sessions, again and again"""

    async def terminate() -> None:
        await stage.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'portcullis_admin'"
        )

    async with beside(again(terminate, 0.1)):
        yield


@fault("NotificationsFail", within_s=90.0)
async def receiver(stage: Stage) -> AsyncIterator[None]:
    """a webhook's receiver is not there"""
    body = {"name": "nobody", "kind": "webhook", "url": "https://127.0.0.1:9/hook"}
    await stage.house.api.ask("POST", "/v1/channels", body)
    async with beside(again(stage.signal, 2.0)):
        yield


@fault("DoubtOld", "ManyInDoubt", "LanesWait", within_s=30.0)
async def doubt(stage: Stage) -> AsyncIterator[None]:
    """the exchange swallows the answers to orders, and answers no question about them"""
    async with (
        ruled(
            stage,
            {"kind": "drop_after", "path": ORDERS},
            {"kind": "500_before", "method": "GET", "path": f"{ORDERS}/*"},
        ),
        beside(again(stage.signal, 3.0)),
    ):
        yield


@fault("BrokerSilent", "AccountsNotAnswered", within_s=30.0)
async def silent(stage: Stage) -> AsyncIterator[None]:
    """the exchange cuts every order before it is executed"""
    async with (
        ruled(stage, {"kind": "drop_before", "path": ORDERS}),
        beside(again(stage.signal, 5.0)),
    ):
        yield


@fault("BudgetExhausted", within_s=40.0)
async def burst(stage: Stage) -> AsyncIterator[None]:
    """a strategy sends far more than the exchange's limit allows, which is two a second now"""
    await stage.ground.market.limits(orders_per_s=2)
    async with beside(again(lambda: stage.signals(5), 1.0)):
        yield
    await stage.ground.market.limits(orders_per_s=100)


@fault("ClosesWait", within_s=40.0)
async def storm(stage: Stage) -> AsyncIterator[None]:
    """the exchange wants no order for five seconds, and says so to each"""
    await stage.hold()
    async with (
        ruled(stage, {"kind": "429", "path": ORDERS, "seconds": 5.0}),
        beside(again(stage.signal, 5.0)),
    ):
        yield


@fault("BrokerDown", "AccountsNotCompared", "ReconciliationOld", within_s=75.0)
async def away(stage: Stage) -> AsyncIterator[None]:
    """the exchange is in maintenance, and the workers begin anew"""
    async with ruled(stage, {"kind": "maintenance", "method": "*", "path": EXCHANGE}):
        for name in stage.ground.here.names("worker"):
            stage.ground.here.kill(name)
        async with beside(again(stage.signal, 3.0)):
            yield


@fault("OrdersNotReconciled", within_s=120.0)
async def unreconciled(stage: Stage) -> AsyncIterator[None]:
    """the exchange tells no positions, and the workers begin anew: what opens waits until its deadline"""
    rule = {"kind": "500_before", "method": "GET", "path": f"{FUTURES}/positions"}
    async with ruled(stage, rule):
        for name in stage.ground.here.names("worker"):
            stage.ground.here.kill(name)
        async with beside(again(stage.signal, 3.0)):
            yield


@fault("DeadManUnconfirmed", within_s=40.0)
async def countdown(stage: Stage) -> AsyncIterator[None]:
    """the exchange takes resting orders of accounts that want a countdown, and no countdown"""
    rule = {"kind": "500_before", "path": f"{FUTURES}/countdown_cancel_all"}
    wanting = [one.account_id for one in stage.cast.members if one.broker == "gateio"]
    for account in wanting:
        await stage.house.api.change(f"/v1/accounts/{account}", {"settings": {"dead_man_s": 30}})
    async with ruled(stage, rule):
        await stage.rest(limitPrice=48_000)
        yield
    await stage.signal(action="cancel")


@fault("DriftOpen", within_s=90.0)
async def drift(stage: Stage) -> AsyncIterator[None]:
    """a hand in the database: the book is not what the exchange has"""
    one: Member = next(member for member in stage.cast.members if member.broker == "gateio")
    await stage.sql(
        "INSERT INTO positions (account_id, strategy_id, symbol, tenant_id, qty, updated_at)"
        " VALUES (%s, %s, 'ETH_USDT', %s, 17, now()) ON CONFLICT (account_id, strategy_id, symbol)"
        " DO UPDATE SET qty = positions.qty + 17",
        one.account_id, stage.cast.strategy, stage.cast.scope.tenant_id,
    )  # fmt: skip
    yield


@fault("InterventionLate", within_s=60.0)
async def flatten(stage: Stage) -> AsyncIterator[None]:
    """everything is to be closed, and the exchange cuts every order"""
    said = {"scope": "tenant", "reason": REASON}
    async with ruled(stage, {"kind": "drop_before", "path": ORDERS}):
        await stage.house.api.ask("POST", "/v1/halts", {**said, "level": "flatten"})
        yield
    await stage.house.api.ask("POST", "/v1/halts/release", said)


@fault("DiskLow", "DiskFull", "AuditStoreRefuses", needs_root=True)
async def audit_disk(stage: Stage) -> AsyncIterator[None]:
    """the disk of the audit store is full"""
    async with beside(stage.ground.disks["audit"].full(25.0), again(stage.signal, 1.0)):
        yield


@fault("SpillFails", needs_root=True, within_s=30.0)
async def spill_disk(stage: Stage) -> AsyncIterator[None]:
    """the disk of the spill is full, the line to PostgreSQL dead, and timed orders are to be cancelled"""
    await stage.rest(limitPrice=48_000, cancelAfter=5)
    async with beside(
        stage.ground.disks["spill"].full(25.0), stage.ground.cables["database"].stall(20.0)
    ):
        yield


@fault("KeyDueSoon", "KeyOverdue", within_s=75.0, at_rest=True)
async def keys(stage: Stage) -> AsyncIterator[None]:
    """keys that are due since the beginning of this run: the calendar is read each minute"""
    yield


BEFORE = tuple(FAULTS)
"""In this order; rarer.py goes on."""
