"""The signer's socket as a stolen worker has it: raw frames, another tenant's rows, forbidden paths.

The control of each forbidden request is the same request at a desk with a policy that allows all.
"""

import asyncio
import hmac
import itertools
import re
import time
from uuid import uuid4

import msgspec
import pytest

from hsm import policy, protocol
from hsm.enrol import encrypt_key, encrypt_secret
from hsm.enroller import EnrolDesk
from hsm.envelope import name_of, pack, unpack
from hsm.protocol import EnrolKey, OpenSecret, SealKey, SealSecret, SignNote, SignRequest
from hsm.signer import SigningDesk
from tests.integration.hsm.conftest import enrol_token, signing_token

ALLOWED = "/api/v4/futures/usdt/orders"
TENANT, ACCOUNT, OTHER, OTHERS_ACCOUNT = (uuid4() for _ in range(4))
SECRET = b"secret"

FORBIDDEN = [
    "/api/v4/withdrawals", "/api/v4/withdrawals/push", "/api/v4/withdrawals/1",
    "/api/v4/wallet/transfers", "/api/v4/wallet/sub_account_transfers", "/api/v4/sub_accounts",
    "/api/v4/sub_accounts/1/keys", "/api/v4/earn/uni/lends", "/api/v4/loan/collateral/orders",
]  # fmt: skip


def spellings(path: str) -> list[str]:
    """The path as servers, proxies and libraries might read it again."""
    last = path.rsplit("/", 1)[1]
    percent = "".join(f"%{byte:02x}" for byte in last.encode())
    up = "/.." * 6
    return [
        path, path + "/", path + "//", "/" + path, path.replace("/", "//"), path.upper(),
        path.title(), " " + path, path + " ", path + "\t", path + "\n", path + "\r\n", path + "\0",
        path + "?", path + "?a=b", path + "#", path + ";", path + ";v=1", path + ".json",
        path.replace("/", "\\"), path.replace("/", "%2f"), path.replace("/", "%2F"),
        path.replace("/", "%252f"), path.replace("/", "%c0%af"), path.replace(last, percent),
        path.replace(last, percent.upper()), path.replace(last, percent.replace("%", "%25")),
        path.replace("/v4/", "/v4/./"), path.replace("/v4/", "/v4/x/../"),
        path.replace("/v4/", "/v4//"), path.replace("/v4/", "/v3/"), path.replace("/v4/", "/"),
        ALLOWED + up + path, ALLOWED + "/" + up + path, ALLOWED + "/%2e%2e" * 3 + path,
        ALLOWED + "/.%2e/.." + path, ALLOWED + "\n" + path, ALLOWED + "?" + path,
        ALLOWED + "#" + path, ALLOWED + ";" + path, ALLOWED + "\\..\\..\\.." + path,
        ALLOWED + "/1/../../../../.." + path, ALLOWED + "\0" + path, ALLOWED + " " + path,
        ALLOWED + path, path + ALLOWED, "https://api.gateio.ws" + path, "//api.gateio.ws" + path,
        path[1:], "." + path, path.replace("a", "\u0430"), path.replace("/", "\u2215"),
        path.replace("w", "\uff57"), path + "\u200b", path + "\u0085", path + "\u2028",
    ]  # fmt: skip


def forbidden_requests() -> list[dict[str, object]]:
    """Each spelling by each method; then what hides a second line in another field."""
    requests: list[dict[str, object]] = [
        {"method": method, "path": spelling}
        for path in FORBIDDEN
        for spelling in spellings(path)
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH")
    ]
    target = FORBIDDEN[0]
    requests += [
        {"method": f"POST\n{target}\n\n"}, {"method": "post"}, {"method": "POST "}, {"method": ""},
        {"method": "POST", "path": ""}, {"method": "HEAD"}, {"method": "CONNECT"},
        {"method": "POST", "query": f"\n{target}"}, {"method": "GET", "query": "a=b\r\nx: y"},
        {"method": "GET", "query": "a b"}, {"method": "GET", "query": "\x7f"},
        {"method": "POST", "scheme": ""}, {"method": "POST", "scheme": "GATEIO"},
        {"method": "POST", "scheme": "raw"}, {"method": "POST", "timestamp": 0},
        {"method": "POST", "timestamp": 2**40}, {"method": "POST", "timestamp": -1},
    ]  # fmt: skip
    return requests


@pytest.fixture(scope="module")
def rows(vault_without_daemons):
    """A sealed key of each of two tenants, and a sealed hook secret of the first."""
    vault_without_daemons.init(TENANT, OTHER)
    with enrol_token(vault_without_daemons) as anchor:
        worker = EnrolDesk(anchor).worker()
        pem = worker.serve(EnrolKey(1))

        def key(tenant, account, secret):
            return worker.serve(SealKey(1, tenant, account, "gateio", encrypt_key(pem, secret)))

        return {
            "mine": key(TENANT, ACCOUNT, SECRET),
            "theirs": key(OTHER, OTHERS_ACCOUNT, b"another secret"),
            "hook": worker.serve(SealSecret(1, TENANT, "s", "hook", encrypt_secret(pem, b"whsec"))),
        }


@pytest.fixture(scope="module")
def signer(vault_without_daemons, rows):
    vault_without_daemons.start("signer")
    yield vault_without_daemons
    vault_without_daemons.stop_all()


def request(row, number=1, **more):
    values = {
        "tenant_id": TENANT, "account_id": ACCOUNT, "scheme": "gateio", "method": "POST",
        "path": ALLOWED, "query": "", "body": b"{}", "timestamp": int(time.time()), **more,
    }  # fmt: skip
    named = name_of(row) if row is not None else values.pop("name")
    return SignRequest(number, named, row, **values)


async def say(signer, *requests):
    """Frames out, answers back by request: what is signed and what is refused."""
    reader, writer = await asyncio.open_unix_connection(str(signer.socket("signer")))
    answers, frames = {}, protocol.FrameReader()
    for at in range(0, len(requests), 500):
        batch = requests[at : at + 500]
        writer.write(b"".join(protocol.frame(one) for one in batch))
        while len(answers) < at + len(batch):
            for body in frames.feed(await asyncio.wait_for(reader.read(65536), 20)):
                answer = protocol.read_answer(body)
                answers[answer.id] = answer
    writer.close()
    return [answers[one.id] for one in requests]


def expected(one: SignRequest) -> bytes:
    return hmac.digest(SECRET, policy.text_to_sign(one), "sha512")


async def test_no_spelling_of_a_forbidden_request_is_signed(signer, rows):
    """The good request before and after shows that the signer was there to say no."""
    wrong = [request(rows["mine"], n + 2, **one) for n, one in enumerate(forbidden_requests())]
    good = [request(rows["mine"], 1), request(rows["mine"], len(wrong) + 2)]
    first, *refused, last = await say(signer, good[0], *wrong, good[1])
    assert (first.value, last.value) == (expected(good[0]), expected(good[1]))
    assert len(refused) > 2000
    for one, answer in zip(wrong, refused, strict=True):
        assert isinstance(answer, protocol.Refused), one
        assert answer.code == "signing_refused", (one, answer)


class _Anything:
    def __contains__(self, _: object) -> bool:
        return True


def test_their_control_is_signed_where_the_policy_is_weak(vault_without_daemons, rows, monkeypatch):
    """A policy that allows all signs each that is ASCII: nothing else stands in their way."""
    everything = [(_Anything(), re.compile(".*", re.DOTALL))]
    # What was found for one table is not another one's, here or in the tests after this.
    monkeypatch.setattr(policy, "_names", policy._names.__wrapped__)
    monkeypatch.setattr(
        policy, "_ALLOWED", dict.fromkeys(("gateio", "GATEIO", "", "raw"), everything)
    )
    monkeypatch.setattr(policy, "_QUERY", re.compile(".*", re.DOTALL))
    monkeypatch.setattr(policy, "CLOCK_TOLERANCE_S", 2**50)
    monkeypatch.setattr(policy, "check_purpose", lambda *_: None)
    with signing_token(vault_without_daemons) as anchor:
        desk = SigningDesk(anchor, keys_max=10)
        worker = desk.worker()
        signed = 0
        for one in forbidden_requests():
            asked = request(rows["mine"], **one)
            if "".join((asked.method, asked.path, asked.query)).isascii():
                desk.admit(asked)
                assert worker.serve(asked) == expected(asked)
                signed += 1
    assert signed > 2000


async def test_another_tenants_row_signs_nothing(signer, rows):
    """Also by name alone, once its owner has had it loaded; the owner is the control."""
    theirs = {"tenant_id": OTHER, "account_id": OTHERS_ACCOUNT}
    name = name_of(rows["theirs"])
    answers = await say(
        signer,
        request(rows["theirs"], 1, **theirs),
        request(rows["theirs"], 2),
        request(None, 3, name=name),
        request(None, 4, name=name, tenant_id=OTHER),
        request(None, 5, name=name, account_id=OTHERS_ACCOUNT),
        request(None, 6, name=name, **theirs),
    )
    codes = [getattr(answer, "code", "done") for answer in answers]
    assert codes == ["done", *["seal_broken"] * 4, "done"]
    assert answers[0].value == answers[5].value


async def test_a_row_put_together_from_two_signs_nothing(signer, rows):
    """Every field of another's row moved into ours, one and two at a time."""

    mine, theirs = unpack(rows["mine"]), unpack(rows["theirs"])
    fields = ("tenant_id", "subject", "wrapped", "mac")
    mixed = [
        msgspec.structs.replace(mine, **{field: getattr(theirs, field) for field in some})
        for size in (1, 2, 3)
        for some in itertools.combinations(fields, size)
    ]
    mixed += [
        msgspec.structs.replace(mine, **change)
        for change in ({"kek_version": 2}, {"purpose": "hook"}, {"mac": b""}, {"wrapped": b""})
    ]
    asked = [
        request(pack(row), n, tenant_id=row.tenant_id, account_id=uuid4() if n == 0 else account)
        for n, row in enumerate(mixed, 1)
        for account in [ACCOUNT if row.subject == str(ACCOUNT) else OTHERS_ACCOUNT]
    ]
    answers = await say(signer, *asked)
    assert len(answers) == 18
    assert {answer.code for answer in answers} <= {"seal_broken", "hsm_key_missing"}
    (control,) = await say(signer, request(pack(mine)))
    assert isinstance(control, protocol.Done)


async def test_a_signing_key_is_not_opened_and_a_checkpoint_key_signs_no_request(signer, rows):
    text = policy.text_to_sign(request(rows["mine"]))
    answers = await say(
        signer,
        OpenSecret(1, rows["mine"], TENANT, str(ACCOUNT)),
        OpenSecret(2, rows["hook"], OTHER, "s"),
        OpenSecret(3, rows["hook"], TENANT, "other"),
        SignNote(4, "log", text),
        OpenSecret(5, rows["hook"], TENANT, "s"),
    )
    codes = [getattr(answer, "code", "done") for answer in answers]
    assert codes == ["seal_broken", "seal_broken", "seal_broken", "signing_refused", "done"]
    assert answers[4].value == b"whsec"
