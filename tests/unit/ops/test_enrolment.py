"""Who enrols comes back when the credential signs, and otherwise hears why it does not."""

from __future__ import annotations

import asyncio
import os
from base64 import b64decode
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import pytest

from hsm.enrol import unframed
from ops import enrolment
from ops.api_client import Reply
from ops.cli.api.credentials import read_secret
from ops.enrolment import ApiSecret, CredentialRefused, NotProvenYet
from tenancy.errors import Conflict
from tenancy.values import AccountID
from tests.fakes.vault import Vault

ACCOUNT = AccountID(UUID(int=1))
CREDENTIAL = str(UUID(int=2))
SECRET = b"plain-text-secret"


class Answers:
    """The management API: what it answers to GET of a credential, in order; the last one for ever."""

    def __init__(self, *seen: dict[str, Any], put: Reply | None = None) -> None:
        self.vault, self.seen, self.sent = Vault(), list(seen), list[Any]()
        self.put = put or Reply(status=200, content=coming("proving"))

    async def get(self, path: str, **query: Any) -> Any:
        if path == "/v1/enrolment-key":
            return {"public_key_pem": (await self.vault.public_key_pem()).decode()}
        return self.seen.pop(0) if len(self.seen) > 1 else self.seen[0]

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Reply:
        self.sent.append((method, path, body))
        return self.put


def coming(state: str, credential: str = CREDENTIAL, **proof: Any) -> dict[str, Any]:
    return {
        "credential_id": None,
        "next": {"credential_id": credential, "state": state, "proof": proof or None},
    }


def live() -> dict[str, Any]:
    return {"credential_id": CREDENTIAL, "state": "live", "next": None}


def enrol(api: Any, wait_s: float = 5.0, **more: Any) -> Any:
    return enrolment.enrol(api, ApiSecret(ACCOUNT, "k", SECRET, **more), wait_s=wait_s)


async def test_it_comes_back_when_the_credential_signs():
    api = Answers(coming("proving"), coming("proving"), live())
    reply = await enrol(api)
    assert reply.content["state"] == "live"
    assert SECRET.decode() not in repr(api.sent)


async def test_a_key_that_is_not_taken_ends_it_with_the_brokers_words():
    api = Answers(coming("refused", code="can_withdraw", words="may write to wallet"))
    with pytest.raises(CredentialRefused, match=r"can_withdraw.*may write to wallet"):
        await enrol(api)


@pytest.mark.parametrize(
    "seen", [{"credential_id": None, "next": None}, coming("proving", str(UUID(int=3)))]
)
async def test_one_that_was_revoked_or_replaced_meanwhile_is_not_waited_for(seen: dict[str, Any]):
    with pytest.raises(Conflict):
        await enrol(Answers(seen))


async def test_patience_ends_and_says_that_the_proof_goes_on():
    with pytest.raises(NotProvenYet, match="asked again by itself"):
        await enrol(Answers(coming("proving")), wait_s=0.05)


async def test_what_waits_for_a_second_person_is_not_waited_for():
    proposed = Reply(status=202, content={"proposal_id": "p"})
    assert (await enrol(Answers(live(), put=proposed))).proposal == "p"


async def test_no_waiting_where_none_is_wanted():
    assert (await enrol(Answers(live()), wait_s=0)).content["next"]["state"] == "proving"


async def test_many_are_all_sealed_before_the_first_is_waited_for():
    """The proofs run beside the sealing."""
    api = Answers(live())
    wanted = [ApiSecret(AccountID(UUID(int=n)), "k", SECRET) for n in range(20)]
    await enrolment.enrol_many(api, wanted, wait_s=1.0)  # type: ignore[arg-type]
    assert len(api.sent) == 20


async def test_of_many_none_is_given_up_while_others_are_proven():
    """Each needs two thirds of the patience, and the last is looked at after more than all of it."""
    wait_s = 0.3
    started = dict[str, float]()
    loop = asyncio.get_running_loop()

    class OneByOne(Answers):
        """A credential is proven some time after somebody first asked for it."""

        async def get(self, path: str, **query: Any) -> Any:
            if path == "/v1/enrolment-key":
                return await super().get(path, **query)
            since = started.setdefault(path, loop.time())
            return live() if loop.time() - since > wait_s * 0.66 else coming("proving")

    wanted = [ApiSecret(AccountID(UUID(int=n)), "k", SECRET) for n in range(3 * enrolment.AT_ONCE)]
    await enrolment.enrol_many(OneByOne(), wanted, wait_s=wait_s)  # type: ignore[arg-type]
    assert max(started.values()) - min(started.values()) > wait_s


async def test_a_secret_that_has_to_come_out_again_is_framed_for_it():
    api = Answers(live())
    await enrol(api, sealing="sdk")
    ((_, _, body),) = api.sent
    assert body["sealing"] == "sdk"
    assert unframed(api.vault.decrypted(b64decode(body["envelope"]))) == SECRET


def test_the_secret_is_read_from_a_file_or_an_open_descriptor_and_never_from_both(tmp_path: Path):
    file = tmp_path / "secret"
    file.write_bytes(SECRET + b"\n")
    reading, writing = os.pipe()
    os.write(writing, SECRET + b"\n")
    os.close(writing)
    try:
        assert (
            read_secret(None, reading, "The API secret")
            == read_secret(file, None, "The API secret")
            == SECRET
        )
        with pytest.raises(click.UsageError):
            read_secret(file, reading, "The API secret")
    finally:
        os.close(reading)
