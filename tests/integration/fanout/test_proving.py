"""A credential lives from the moment at which its broker has vouched for it, whatever dies on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import psycopg
import pytest

from fanout.brokers.gateio.adapter import GateioBroker
from fanout.leases import LeaseLost
from fanout.proof import NotProven, Proof, Proven
from fanout.proving import ProvingSettings
from tenancy.clock import SystemClock
from tenancy.errors import Unavailable
from tenancy.store.accounts import put_credential
from tenancy.values import AccountID
from tests.contract.venues import gateio_settings
from tests.fakes.broker import FakeBroker
from tests.fakes.signer import InProcessSigner
from tests.fixtures import proving as fixture
from tests.fixtures.proving import prove_all
from tests.integration.fanout.conftest import Bench

pytestmark = pytest.mark.stack

QUICK = ProvingSettings(poll_s=0.05, backoff_s=(0.1,), sweep_s=0.05, again_s=3600.0)
STATE = "SELECT state FROM credentials ORDER BY credential_id DESC LIMIT 1"
MAY_WITHDRAW = NotProven(code="can_withdraw", words="the key may write to wallet", broker_user="1")


@pytest.fixture
async def account(bench: Bench) -> AccountID:
    await bench.set_up(1)
    bench.settings = msgspec.structs.replace(bench.settings, proving=QUICK)
    return bench.accounts[0]


async def sealed(
    bench: Bench, account: AccountID, api_key: str = "k", sealed: bytes = b"s"
) -> None:
    admin = await bench.open("admin")
    async with admin.tenant(bench.scope) as conn:
        await put_credential(
            conn, bench.scope, account, broker="gateio", api_key=api_key, sealed=sealed
        )
    await admin.close()


async def told(bench: Bench) -> list[tuple[str, str | None]]:
    """Kind and code of every record about the key, in order."""
    found = await bench.rows(
        "SELECT kind, convert_from(payload, 'UTF8')::jsonb ->> 'code' FROM audit_inbox"
        " WHERE starts_with(kind, 'credential') ORDER BY seq"
    )
    return [(row[0], row[1]) for row in found]


async def one(bench: Bench, query: str) -> Any:
    ((value,),) = await bench.rows(query)
    return value


async def test_a_worker_proves_it_and_the_next_order_is_signed_with_it(bench, account):
    await sealed(bench, account, sealed=b"row")
    async with bench.worker():
        await bench.until(STATE, "live")
        await bench.signal()
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
    assert await told(bench) == [("credential.proven", None)]
    (asked,) = bench.broker.proved
    assert (asked.api_key, asked.credential) == ("k", b"row")


async def test_the_real_adapter_proves_at_the_exchange_through_a_worker(bench, account, gateio):
    await gateio.control.create_account("good", "s1")
    await gateio.control.create_account("rich", "s1", permissions=("futures", "wallet"))
    broker = GateioBroker(
        gateio_settings(gateio.url), InProcessSigner({account: b"s1"}), SystemClock()
    )
    bench.settings = msgspec.structs.replace(bench.settings, lease_ttl_s=2.5)
    await sealed(bench, account, "rich")
    async with bench.worker(broker):
        await bench.until(STATE, "refused")
        await sealed(bench, account, "good")
        await bench.until(STATE, "live")
    assert await told(bench) == [
        ("credential.refused", "can_withdraw"), ("credential.proven", None),
    ]  # fmt: skip


class Hanging(FakeBroker):
    """Hears the question and never gets to answer."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = asyncio.Event()

    async def prove(self, *arguments: Any, **named: Any) -> Proof:
        self.heard.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


async def test_an_order_that_rests_is_asked_about_with_the_key_that_replaced_its_own(
    bench, account
):
    await sealed(bench, account, sealed=b"old")
    async with bench.worker():
        await bench.until(STATE, "live")
        await bench.signal(quantity=1, orderType="limit", limitPrice=40_000)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'new'", 1)
        await sealed(bench, account, api_key="k2", sealed=b"new")
        await bench.until("SELECT count(*) FROM credentials WHERE revoked_at IS NOT NULL", 1)
        seen = bench.broker.sought_with
        before = len(seen)
        async with asyncio.timeout(10):
            while len(seen) <= before + 2 or seen[-1].credential != b"new":  # noqa: ASYNC110
                await asyncio.sleep(bench.settings.follow_s)
    asked = [account.credential for account in bench.broker.sought_with]
    assert asked[0] == b"old"
    assert len(asked) > before + 2
    assert asked[-1] == b"new"


async def test_a_worker_that_dies_while_it_asks_leaves_it_to_the_next(bench, account):
    await sealed(bench, account)
    hanging = Hanging()
    async with bench.crashing_worker(hanging) as crash:
        await asyncio.wait_for(hanging.heard.wait(), 5)
        await crash()
    assert await one(bench, STATE) == "proving"
    assert await told(bench) == []
    async with bench.worker(name="w2"):
        await bench.until(STATE, "live")


async def test_without_a_clear_answer_it_stays_as_it_is_and_is_asked_again(bench, account):

    await sealed(bench, account)
    bench.broker.proofs.extend([Unavailable("Gate.io is away"), RuntimeError("a bug"), Proven()])
    async with bench.worker():
        await bench.until(STATE, "live")
    assert len(bench.broker.proved) == 3
    assert await told(bench) == [("credential.proven", None)]


async def test_whoever_lost_the_partition_decides_nothing(bench, account, monkeypatch):
    """The answer came when the lease was somebody else's: they ask themselves."""
    await sealed(bench, account)

    async def lost(*_: Any) -> None:
        raise LeaseLost("not ours any more")

    monkeypatch.setattr(fixture.Leased, "fence", lost)
    with pytest.raises(LeaseLost):
        await prove_all(bench.made)
    assert await one(bench, STATE) == "proving"
    assert await told(bench) == []


# ------------------------------------------------------------------ again


async def live(bench: Bench, account: AccountID) -> None:
    await sealed(bench, account)
    await prove_all(bench.made)


async def again(bench: Bench, *proofs: Proof) -> None:
    broker = FakeBroker()
    broker.proofs.extend(proofs)
    for _ in proofs:
        await prove_all(bench.made, broker, again=True)


async def test_a_live_one_is_asked_about_again_by_a_worker_when_its_proof_is_old(bench, account):
    await live(bench, account)
    await bench.rows("UPDATE credential_proofs SET due_at = now() RETURNING 1")
    before = await one(bench, "SELECT proved_at FROM credential_proofs")
    async with bench.worker():
        await bench.until("SELECT due_at > now() FROM credential_proofs", True)
    assert await one(bench, "SELECT proved_at FROM credential_proofs") > before
    assert await told(bench) == [("credential.proven", None)]  # the same answer is no news


async def test_an_answer_that_is_no_news_moves_no_strategys_version(bench, account):
    await live(bench, account)
    before = await one(bench, "SELECT version FROM strategies")
    await again(bench, Proven(scopes=("futures:write",)))
    assert await one(bench, "SELECT version FROM strategies") == before


@pytest.mark.parametrize(
    ("asked", "state", "level"),
    [(None, "reducing", "no_open"), ("halted", "halted", "block_all"), ("active", "active", None)],
)
async def test_a_key_that_came_to_withdraw_raises_an_alarm_and_stops_its_account_as_set(
    bench, account, asked: str | None, state: str, level: str | None
):
    await live(bench, account)
    if asked:
        settings = f'{{"unsafe_credential": "{asked}"}}'
        await bench.rows("UPDATE tenants SET settings = %s RETURNING 1", settings)
    await again(bench, MAY_WITHDRAW)
    assert await told(bench) == [
        ("credential.proven", None), ("credential.refused", "can_withdraw"),
    ]  # fmt: skip
    assert await one(bench, STATE) == "live"
    assert await one(bench, "SELECT state FROM accounts") == state
    found = await bench.rows("SELECT level, state, by ->> 'id', reason FROM interventions")
    if level is None:
        assert found == []
    else:
        ((got, done, by, reason),) = found
        assert (got, done, by) == (level, "done", "prover")
        assert "wallet" in reason
        ((before, after),) = await bench.rows(
            "SELECT before ->> 'state', after ->> 'state' FROM revisions WHERE kind = 'account'"
        )
        assert (before, after) == ("active", state)


async def test_after_that_nothing_opens_in_a_running_worker(bench, account):
    await live(bench, account)
    await bench.rows("UPDATE credential_proofs SET due_at = now() RETURNING 1")
    bench.broker.proofs.append(MAY_WITHDRAW)
    async with bench.worker():
        await bench.until("SELECT state FROM accounts", "reducing")
        await bench.signal()
        await bench.until("SELECT count(*) FROM signals WHERE state = 'accepted'", 0)
    assert bench.broker.executed == []


async def test_who_lets_it_trade_again_is_not_overruled_by_the_same_news(bench, account):
    await live(bench, account)
    await again(bench, MAY_WITHDRAW)
    await bench.rows("UPDATE accounts SET state = 'active' RETURNING 1")
    await again(bench, MAY_WITHDRAW)
    assert await one(bench, "SELECT state FROM accounts") == "active"
    await again(bench, Proven(scopes=("futures:write",)), MAY_WITHDRAW)
    assert await one(bench, "SELECT state FROM accounts") == "reducing"
    assert [kind for kind, _ in await told(bench)] == [
        "credential.proven", "credential.refused", "credential.proven", "credential.refused",
    ]  # fmt: skip


async def test_a_key_that_ceased_to_work_is_news_and_stops_nothing(bench, account):
    await live(bench, account)
    await again(bench, NotProven(code="key", words="Gate.io: INVALID_KEY"))
    assert (await told(bench))[-1] == ("credential.refused", "key")
    assert await one(bench, "SELECT state FROM accounts") == "active"


# ------------------------------------------------------------------ rights


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts SET state = 'active'",
        "UPDATE accounts SET revision = revision + 1",
        "INSERT INTO revisions (tenant_id, kind, object_id, revision, actor)"
        """ VALUES (portcullis_tenant(), 'strategy', 'x', 1, '{"id": "prover"}')""",
        "UPDATE credentials SET state = 'proving', revoked_at = NULL",
        "UPDATE credentials SET sealed = 'other'",
        "INSERT INTO credentials (credential_id, tenant_id, account_id, broker, api_key, sealed)"
        " SELECT account_id, tenant_id, account_id, 'gateio', 'k', 'x' FROM accounts",
    ],
)
async def test_a_worker_has_no_right_to_anything_else(bench, account, statement: str):
    await live(bench, account)
    await bench.rows("UPDATE accounts SET state = 'reducing' RETURNING 1")
    with psycopg.connect(bench.made.conninfo("worker"), autocommit=True) as conn:
        conn.execute(
            "SELECT set_config('portcullis.tenant_id', %s, false)", (str(bench.scope.tenant_id),)
        )
        with pytest.raises(psycopg.Error) as refused:
            conn.execute(statement)
    assert refused.value.sqlstate in {"42501", "P0001"}


async def test_another_tenants_credential_is_out_of_sight(bench, account):
    await live(bench, account)
    with psycopg.connect(bench.made.conninfo("worker")) as conn:
        assert conn.execute("SELECT 1 FROM credentials").fetchall() == []
        assert conn.execute("SELECT 1 FROM credential_proofs").fetchall() == []
