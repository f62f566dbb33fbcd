"""The vault as the processes of a host see it: clients by the settings, readiness, metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from hsm.client import EnrollerClient, SignerClient, VaultClient
from hsm.errors import SignerUnavailable
from hsm.watch import described
from ops.health import Check
from ops.settings import HsmSettings


def signer_client(hsm: HsmSettings, door: Path | None = None) -> SignerClient:
    """Asks the preferred signer, or where it is away the next one. Connects when it is first used.

    `door`: at which socket of the preferred one, instead of its main one (hsm/openers.py).
    """
    first, *others = hsm.signer_sockets.values()
    return SignerClient(door or first, *others)


@asynccontextmanager
async def each_daemon(
    hsm: HsmSettings, door: Path | None = None
) -> AsyncIterator[dict[str, VaultClient]]:
    """A client for every daemon by itself, by name: for who wants that one's answer and no other's.

    `door`: at which socket of the preferred signer, as for `signer_client`: its main one lets workers in alone.
    """
    first, *_ = hsm.signer_sockets
    sockets = hsm.signer_sockets | ({} if door is None else {first: door})
    daemons: dict[str, VaultClient] = {
        name: SignerClient(socket) for name, socket in sockets.items()
    }
    daemons["enroller"] = EnrollerClient(hsm.enroller_socket)
    async with AsyncExitStack() as stack:
        for client in daemons.values():
            await stack.enter_async_context(client)
        yield daemons


def signs(client: VaultClient) -> Check:
    """Is one of its daemons there with its token well? The answer says it of each, and why not."""

    async def ask() -> str:
        return await described(client)

    return ask


def tells(client: VaultClient) -> Check:
    """The same in words, where the process is ready without: ingress keeps what it accepts."""

    async def ask() -> str:
        try:
            return await described(client)
        except SignerUnavailable as away:
            return f"{away}. Loaded hooks go on; new ones wait"

    return ask
