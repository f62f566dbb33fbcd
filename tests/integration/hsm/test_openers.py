"""The signer's doors, with its token: each opens what it is for, and the row's MAC proves the purpose."""

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from hsm import ceremony
from hsm.client import SignerClient
from hsm.enrol import encrypt_secret
from hsm.envelope import pack, unpack
from hsm.errors import SealBroken, SigningRefused
from tests.fixtures.softhsm import SoftHSM

DOORS = ("hook", "totp")
TENANT = uuid4()


@pytest.fixture(scope="module")
def doors(vault: SoftHSM) -> Iterator[dict[str, Path]]:
    """The signer again, with one door for hooks and one for codes, and nobody named at the main socket."""
    ceremony.create_tenant_keys(vault.settings, TENANT)
    vault.stop("signer")
    paths = {purpose: vault.directory / f"{purpose}.sock" for purpose in DOORS}
    tables = ", ".join(
        f'{purpose} = {{ socket = "{path}", purposes = ["{purpose}"] }}'
        for purpose, path in paths.items()
    )
    vault.start("signer", openers="{}", doors=f"{{ {tables} }}")
    yield paths
    vault.stop("signer")
    assert not [path for path in paths.values() if path.exists()]


async def sealed(vault: SoftHSM, purpose: str) -> bytes:
    async with vault.enroller() as enroller:
        ciphertext = encrypt_secret(await enroller.public_key_pem(), b"a secret")
        return await enroller.seal_secret(TENANT, "s", purpose, ciphertext)


async def opened(socket: Path, row: bytes) -> bytes:
    async with SignerClient(socket) as signer:
        return await signer.open_secret(row, tenant_id=TENANT, subject="s")


@pytest.mark.parametrize("purpose", DOORS)
async def test_a_door_opens_what_it_is_for_and_nothing_else(vault, doors, purpose):
    [other] = set(DOORS) - {purpose}
    assert await opened(doors[purpose], await sealed(vault, purpose)) == b"a secret"
    with pytest.raises(SigningRefused, match=other):
        await opened(doors[purpose], await sealed(vault, other))


async def test_at_the_main_socket_nobody_has_anything_opened_who_is_not_named(vault, doors):
    with pytest.raises(SigningRefused, match="not opened for this process"):
        await opened(vault.socket("signer"), await sealed(vault, "hook"))


async def test_a_row_that_says_another_purpose_than_it_was_sealed_for_does_not_open(vault, doors):
    row = unpack(await sealed(vault, "totp"))
    with pytest.raises(SealBroken, match="MAC"):
        await opened(doors["hook"], pack(msgspec.structs.replace(row, purpose="hook")))


async def test_a_door_for_secrets_signs_nothing(vault, doors):
    root = base64.b64encode(bytes(32)).decode()
    async with SignerClient(doors["hook"]) as signer:
        with pytest.raises(SigningRefused, match="nothing else"):
            await signer.sign_note("any", f"example.org/log\n0\n{root}\n".encode())
        assert (await signer.status())["daemon"] == "signer"


async def test_a_door_is_closed_to_other_users_as_the_main_socket_is(vault, doors):
    for path in doors.values():
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.stat().st_uid == os.getuid()
