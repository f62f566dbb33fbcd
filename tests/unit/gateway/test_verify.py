"""Standard Webhooks on the raw bytes, and everything that is not a good signature."""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook

from gateway.hooks import verify as module
from gateway.hooks.verify import MAX_SIGNATURES, Refusal, Secret, Verified, read_secret, verify

NOW = 1_700_000_000.0
BODY = b'{"ticker":"TSLA","action":"buy"}'
KEY = bytes(range(32))
TEXT = "whsec_" + base64.b64encode(KEY).decode()
OURS = (Secret("v1", KEY),)
Pairs = list[tuple[bytes, bytes]]


def sign(secret: str = TEXT, message_id: str = "msg_1", at: float = NOW, body: bytes = BODY) -> str:
    when = datetime.fromtimestamp(at, UTC)
    signature: str = Webhook(secret).sign(message_id, when, body.decode())
    return signature


def headers(signature: str, message_id: str = "msg_1", at: float | str = NOW) -> Pairs:
    stamp = at if isinstance(at, str) else str(int(at))
    return [
        (b"host", b"x"),
        (b"webhook-id", message_id.encode()),
        (b"webhook-timestamp", stamp.encode()),
        (b"webhook-signature", signature.encode()),
    ]


def refusal(pairs: Pairs, body: bytes = BODY, secrets: tuple[Secret, ...] = OURS) -> str:
    verdict = verify(pairs, body, secrets, now=NOW)
    assert isinstance(verdict, Refusal)
    return verdict.code


def test_what_the_independent_package_signs_is_verified() -> None:
    assert verify(headers(sign()), BODY, OURS, now=NOW) == Verified("msg_1", int(NOW))


def test_the_published_example_is_verified() -> None:
    """The vector of the specification's own libraries: fixed bytes, not our code on both sides."""
    key = read_secret(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    pairs = headers(
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
    )
    verdict = verify(pairs, body, (Secret("v1", key),), now=1614265330)
    assert isinstance(verdict, Verified)


def test_any_of_several_signatures_and_any_live_secret_fits() -> None:
    other = "whsec_" + base64.b64encode(b"o" * 32).decode()
    both = f"v2,AAAA {sign(other)} {sign()}"
    assert isinstance(verify(headers(both), BODY, OURS, now=NOW), Verified)
    two = (Secret("v1", b"o" * 32), Secret("v1", KEY))
    assert isinstance(verify(headers(sign()), BODY, two, now=NOW), Verified)
    assert isinstance(verify(headers(sign(other)), BODY, two, now=NOW), Verified)


def test_ed25519_fits_its_public_key_and_no_other() -> None:
    private = Ed25519PrivateKey.generate()
    raw = private.sign(b"msg_1.1700000000." + BODY)
    signature = "v1a," + base64.b64encode(raw).decode()
    mine = (Secret("v1a", private.public_key().public_bytes_raw()),)
    assert isinstance(verify(headers(signature), BODY, mine, now=NOW), Verified)
    assert refusal(headers(signature), BODY + b" ", mine) == "bad_signature"
    assert refusal(headers(signature)) == "bad_signature"


def test_a_public_key_is_never_a_mac_key() -> None:
    """Confusing the schemes would let everybody who knows the public key sign."""
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    forged = sign("whsec_" + base64.b64encode(public).decode())
    assert refusal(headers(forged), BODY, (Secret("v1a", public),)) == "bad_signature"


@pytest.mark.parametrize("changed", [BODY + b"\n", BODY.replace(b"buy", b"add"), b""])
def test_one_changed_byte_is_refused(changed: bytes) -> None:
    assert refusal(headers(sign()), changed) == "bad_signature"


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_each_missing_or_doubled_header_is_named(missing: int) -> None:
    pairs = headers(sign())
    name = pairs[missing][0].decode()
    verdict = verify(pairs[:missing] + pairs[missing + 1 :], BODY, OURS, now=NOW)
    assert verdict == Refusal("missing_header", f"{name}: is missing")
    assert refusal([*pairs, pairs[missing]]) == "malformed_header"


@pytest.mark.parametrize("at", [NOW - 301, NOW + 301])
def test_the_time_window_has_two_sides(at: float) -> None:
    assert refusal(headers(sign(at=at), at=at)) == "stale_timestamp"
    nearer = at + 1 if at < NOW else at - 1
    assert isinstance(verify(headers(sign(at=nearer), at=nearer), BODY, OURS, now=NOW), Verified)


@pytest.mark.parametrize(
    "stamp", ["1700000000.0", "+1700000000", " 1700000000", "1e9", "-1", "\u0661", "9" * 12, "NaN"]
)
def test_only_whole_seconds_are_a_timestamp(stamp: str) -> None:
    assert refusal(headers(sign(), at=stamp)) == "bad_timestamp"


@pytest.mark.parametrize("message_id", ["a.b", "a b", "x" * 257, "\x00", "é"])
def test_an_id_that_could_be_split_otherwise_is_refused(message_id: str) -> None:
    assert refusal(headers(sign(), message_id)) == "malformed_header"


@pytest.mark.parametrize(
    "signature",
    ["v1", "v1,", "v1,%%%", "v1,AAAA", ",AAAA", "v1," + "A" * 2000, "  ", "v1,é"],
)
def test_signatures_that_cannot_be_read_are_refused(signature: str) -> None:
    assert refusal(headers(signature)) == "malformed_header"


def test_more_signatures_than_the_limit_are_refused_even_with_a_good_one() -> None:
    assert refusal(headers(" ".join([sign()] * (MAX_SIGNATURES + 1)))) == "malformed_header"
    allowed = " ".join(["v9,x"] * (MAX_SIGNATURES - 1) + [sign()])
    assert isinstance(verify(headers(allowed), BODY, OURS, now=NOW), Verified)


def test_an_unknown_hook_is_refused_in_the_same_words() -> None:
    wrong = sign("whsec_" + base64.b64encode(b"w" * 32).decode())
    unknown = verify(headers(wrong), BODY, (), now=NOW)
    assert unknown == verify(headers(wrong), BODY, OURS, now=NOW)


def test_every_candidate_meets_every_secret_whatever_fits_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No early exit: the number of comparisons does not depend on where a match is."""
    compared: list[int] = []

    compare = hmac.compare_digest

    def counting(a: bytes, b: bytes) -> bool:
        compared[-1] += 1
        return compare(a, b)

    monkeypatch.setattr(module.hmac, "compare_digest", counting)
    wrong = sign("whsec_" + base64.b64encode(b"w" * 32).decode())
    two = (Secret("v1", KEY), Secret("v1", b"o" * 32))
    for signatures, secrets in [
        (f"{sign()} {wrong}", two),
        (f"{wrong} {sign()}", two),
        (f"{wrong} {wrong}", OURS),
        (f"{wrong} {wrong}", ()),
    ]:
        compared.append(0)
        verify(headers(signatures), BODY, secrets, now=NOW)
    assert compared == [4, 4, 4, 4]


def test_a_secret_never_shows_in_a_repr_or_an_error() -> None:
    assert KEY.hex() not in repr(OURS[0])
    assert str(KEY) not in repr(OURS[0])
    with pytest.raises(ValueError) as caught:
        read_secret(b"whsec_AAAA")
    assert "AAAA" not in str(caught.value)
