"""Padding that changes no signature, framing that gives the secret back."""

import hmac

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from hsm.enrol import encrypt_key, framed, hmac_key, unframed
from tenancy.errors import Invalid


@given(st.binary(min_size=1, max_size=300), st.binary(max_size=50))
def test_the_padded_key_signs_as_the_secret_does(secret, text):
    """Also between 64 bytes and SHA-512's block of 128, and beyond it."""
    key = hmac_key(secret)
    assert len(key) in (64, 128)
    assert hmac.digest(key, text, "sha512") == hmac.digest(secret, text, "sha512")


@given(st.binary(min_size=1, max_size=256))
def test_a_framed_secret_comes_back(secret):
    assert len(framed(secret)) % 8 == 0
    assert unframed(framed(secret)) == secret


@pytest.mark.parametrize("secret", [b"", bytes(257)])
def test_secrets_without_a_frame_are_refused(secret):
    with pytest.raises(Invalid):
        framed(secret)


@pytest.mark.parametrize("plain", [b"", b"\0\0", b"\0\x09aaaaaa", b"\0\x01a\0b\0\0\0"])
def test_what_was_not_framed_is_not_unframed(plain):
    with pytest.raises(Invalid):
        unframed(plain)


def test_an_empty_api_secret_is_refused():
    with pytest.raises(Invalid):
        hmac_key(b"")


def test_the_ciphertext_is_oaep_over_the_padded_key():
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    sha1 = hashes.SHA1()
    oaep = padding.OAEP(padding.MGF1(sha1), sha1, None)
    assert private.decrypt(encrypt_key(pem, b"secret"), oaep) == b"secret".ljust(64, b"\0")
