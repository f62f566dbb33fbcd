"""Accounts are kept for a second, but never one whose key may just have come."""

from __future__ import annotations

from fanout.accounts import Accounts
from tenancy.clock import SystemClock
from tenancy.store.accounts import put_credential
from tests.fixtures.proving import prove_all


async def test_a_key_is_used_by_the_next_order_once_it_is_proven_and_not_before(bench):
    await bench.set_up(1)
    (account,) = bench.accounts
    admin, worker = await bench.open("admin"), await bench.open("worker")
    accounts = Accounts(worker, SystemClock())
    before = (await accounts.get(bench.scope, [account]))[account]
    async with admin.tenant(bench.scope) as conn:
        await put_credential(
            conn, bench.scope, account, broker="gateio", api_key="k", sealed=b"row"
        )
    meanwhile = (await accounts.get(bench.scope, [account]))[account]
    await prove_all(bench.made)
    after = (await accounts.get(bench.scope, [account]))[account]
    seen = (before.credential, meanwhile.credential, after.credential)
    assert seen == (None, None, b"row")
    await admin.close()
    await worker.close()
