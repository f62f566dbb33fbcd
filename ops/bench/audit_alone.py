"""`bench audit`: ops/bench/audit.py on stores of its own, with a tenant and its log.

Checkpoints are signed by a key in this process: one signature a second at most, whose cost in the
HSM `bench hsm` and `bench fanout` show.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ops.bench import audit, audit_files
from ops.bench.measure import Effort, Measurement
from ops.bench.stores import stores
from ops.bench.unsealed import give_audit_key
from tenancy.database import Database
from tenancy.ids import new_id
from tenancy.scope import Actor
from tenancy.store.audit_logs import create_audit_log
from tenancy.store.tenants import create_tenant
from tenancy.values import TenantID

ORIGIN = "portcullis.invalid/log/bench"


class KeyInProcess:
    """A NoteSigner (audit/ports.py) whose key lives as long as the bench."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public_key = self._key.public_key().public_bytes_raw()

    async def sign_note(self, label: str, text: bytes) -> bytes:
        return self._key.sign(text)


async def run(effort: Effort, say: Callable[[str], None]) -> list[Measurement]:
    """Every figure of the log."""
    say("audit: logs of their own, in files alone")
    with tempfile.TemporaryDirectory(prefix="pc-bench-") as directory:
        files = audit_files.run(Path(directory), effort.runs, quick=effort.quick).measurements()
    return await _recording(effort, say) + files


async def _recording(effort: Effort, say: Callable[[str], None]) -> list[Measurement]:
    say("audit: PostgreSQL of its own")
    with stores() as here:
        async with AsyncExitStack() as stack:
            admin = await _opened(stack, here.roles.admin, 1)
            recording = await _opened(stack, here.roles.recorder, 4)
            await _without_the_platforms_own(here.superuser)
            signer = KeyInProcess()
            tenant = await _tenant(admin, signer)
            return await audit.run(
                ingress=here.roles.ingress,
                recording=recording,
                tenant=tenant,
                signer=signer,
                store_dir=here.directory / "audit",
                floor_conninfo=here.superuser,
                seconds=effort.seconds or (1.0 if effort.quick else 3.0),
                runs=effort.runs,
            )


async def _without_the_platforms_own(superuser: str) -> None:
    """`init` left a record for the platform's log, whose key is in a token that no daemon here opens."""
    async with await psycopg.AsyncConnection.connect(superuser, autocommit=True) as conn:
        await conn.execute("DELETE FROM audit_inbox")


async def _opened(stack: AsyncExitStack, conninfo: str, size: int) -> Database:
    database = Database(conninfo, name="portcullis-bench", size=size)
    await database.open()
    stack.push_async_callback(database.close)
    return database


async def _tenant(admin: Database, signer: KeyInProcess) -> TenantID:
    scope = await create_tenant(admin, "bench", Actor("sys", "bench"))
    async with admin.tenant(scope) as conn:
        await create_audit_log(
            conn, scope, new_id(), origin=ORIGIN, key_label=ORIGIN, public_key=signer.public_key
        )
        await give_audit_key(conn, scope)
    return scope.tenant_id
