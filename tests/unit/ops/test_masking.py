"""Nothing that is a secret by its shape, its name or its value stays in a text; what is none stays."""

from __future__ import annotations

import base64

import pytest

from ops.masking import MAIL, MASK, Masker, masked, spellings

PIN = b"ce9546d2bbc9af1e01415e971bae3ca5"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("sent whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "C2FVsBQIhrscChlQIMV"),
        ("key pck_01a2.aGVsbG8td29ybGQtMTIz", "aGVsbG8td29ybGQ"),
        ("cookie pcs_aGVsbG8td29ybGQtMTIz", "aGVsbG8td29ybGQ"),
        ("https://x/join#pci_aGVsbG8td29ybGQtMTIz", "aGVsbG8td29ybGQ"),
        ("rediss://:hunter22@cache:6379/0", "hunter22"),
        ("https://otel:hunter22@collector/v1/traces", "hunter22"),
        ("Authorization: Bearer eyJhbGciOiJFZERTQSJ9", "eyJhbGciOiJFZERTQSJ9"),
        ("host=db user=a password=hunter22 dbname=b", "hunter22"),
        ('{"api_secret": "hunter22", "a": 1}', "hunter22"),
        ("client_secret = 'hunter22'", "hunter22"),
        ("-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----", "MHcCAQEE"),
        ("-----BEGIN PRIVATE KEY-----\nMHcCAQEE\n", "MHcCAQEE"),
    ],
)
def test_a_secret_is_masked_by_its_shape_or_its_name(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in masked(text)
    assert MASK in masked(text)


@pytest.mark.parametrize(
    "text",
    [
        'client_secret_file = "/etc/portcullis/oidc.key"',
        'pin_file = "/run/credentials/sign.pin"',
        'purposes = ["audit", "channel", "probe", "totp"]',
        "host=/run/pg user=portcullis_admin passfile=/etc/pgpass",
        'portcullis_hsm_request_seconds_bucket{kind="sign_request",le="0.1"} 4.0',
        "unix:///run/redis.sock and https://localhost:8443/v1/hooks",
        "-----BEGIN CERTIFICATE-----\nMHcCAQEE\n-----END CERTIFICATE-----",
        '{"event": "hsm_daemon_ready", "epoch": 3, "token_label": "portcullis-sign"}',
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    "spelled",
    [
        PIN.decode(), PIN.hex(), PIN.hex().upper(), base64.b64encode(PIN).decode(),
        base64.urlsafe_b64encode(PIN).decode().rstrip("="),
    ],
)  # fmt: skip
def test_a_known_secret_is_found_in_whatever_spelling_and_counted(spelled: str) -> None:
    masker = Masker([PIN])
    assert masker.text(f"the token said {spelled}.") == f"the token said {MASK}."
    assert masker.found == 1


def test_a_secret_of_bytes_is_found_by_its_spellings() -> None:
    key = bytes(range(200, 232))
    masker = Masker([key])
    text = masker.text(f"{key.hex()} {base64.b64encode(key).decode()}")
    assert text == f"{MASK} {MASK}"


def test_the_longer_secret_is_masked_where_it_holds_a_shorter_one() -> None:
    masker = Masker([b"hunter22", b"hunter22-and-more"])
    assert masker.text("x hunter22-and-more y") == f"x {MASK} y"


def test_a_value_that_is_too_short_to_be_one_is_not_looked_for() -> None:
    assert spellings(b"1234") == set()
    assert Masker([b"1234"]).text("12345 orders") == "12345 orders"


def test_peoples_addresses_are_taken_out_of_what_leaves() -> None:
    assert Masker().text("invited ada.l@mail.example.com") == f"invited {MAIL}"


def test_a_masker_shows_no_secret_of_its_own() -> None:
    assert PIN.decode() not in repr(Masker([PIN]))
