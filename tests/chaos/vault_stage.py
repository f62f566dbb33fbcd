"""The stage with a vault: every account's key is sealed, and the workers ask a signer for signatures."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hsm import ceremony
from hsm.enrol import encrypt_key
from loadtest.audit import read
from loadtest.exchanges.gateio.control import NewAccount
from tenancy.store.accounts import put_credential
from tests.chaos.stage import ROOT, Stage
from tests.fixtures.gateio_simulator import RunningSimulator
from tests.fixtures.postgres import Database
from tests.fixtures.proving import prove_all
from tests.fixtures.softhsm import SoftHSM


class VaultStage(Stage):
    """Accounts whose secrets only the exchange and the sealed rows know."""

    def __init__(self, database: Database, market: RunningSimulator, vault: SoftHSM) -> None:
        super().__init__(database, market)
        self.vault = vault
        self.sockets: list[Path] = [vault.socket("signer")]

    async def set_up(self, accounts: int = 64) -> None:
        """The enroller runs; each account has a secret of its own."""
        await self.bench.set_up(accounts)
        tenant = self.bench.scope.tenant_id
        await asyncio.to_thread(ceremony.create_tenant_keys, self.vault.settings, tenant)
        admin = await self.bench.open("admin")
        keys = []
        async with self.vault.enroller() as enroller, admin.tenant(self.bench.scope) as conn:
            pem = await enroller.public_key_pem()
            for account in self.bench.accounts:
                key, secret = f"key-{account.hex[-12:]}", uuid.uuid4().hex
                keys.append(NewAccount(key=key, secret=secret))
                sealed = await enroller.seal_key(
                    tenant, account, "gateio", encrypt_key(pem, secret.encode())
                )
                await put_credential(
                    conn, self.bench.scope, account, broker="gateio", api_key=key, sealed=sealed
                )
        await admin.close()
        await prove_all(self.bench.made)
        await self.market.control.create_accounts(keys)

    async def arrived(self) -> int:
        """Orders that the exchange has executed."""
        executed, _ = await read._exchange(self.market.url)
        return len(executed)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A worker at work for the length of a `with` block."""
        process = await self._start("vault")
        try:
            yield
        finally:
            process.terminate()
            await process.wait()

    async def _start(self, name: str, *step: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.vault_worker_process",
            self.bench.made.conninfo("worker"), self.market.url, name, *map(str, self.sockets),
            cwd=ROOT, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
