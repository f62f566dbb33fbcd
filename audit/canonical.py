"""RFC 8785 canonical JSON in a narrow profile: one value, one spelling.

The profile makes the standard library's sorted compact JSON equal to RFC 8785: keys are ASCII
(so code point order is UTF-16 order), there are no floats (decimals are strings), integers stay
below 2^53, strings are NFC and without lone surrogates, and a document is at most 16 KiB.
"""

from __future__ import annotations

import json
import unicodedata
from json.encoder import encode_basestring
from typing import Any

from audit.malformed import Malformed

MOST_BYTES = 16 * 1024
SAFE_INTEGER = 2**53 - 1

_encoder = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False
)


def encode(value: dict[str, Any]) -> bytes:
    """The canonical bytes. Raises Malformed where the value leaves the profile."""
    _check(value)
    data = _encoder.encode(value).encode()
    if len(data) > MOST_BYTES:
        raise Malformed(f"{len(data)} bytes of JSON; at most {MOST_BYTES} are allowed")
    return data


def decode(data: bytes) -> dict[str, Any]:
    """The object that `data` spells canonically. Raises Malformed for any other spelling."""
    if len(data) > MOST_BYTES:
        raise Malformed(f"{len(data)} bytes of JSON; at most {MOST_BYTES} are allowed")
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Malformed(f"a JSON object is needed, got {type(value).__name__}")
    if encode(value) != data:  # also finds repeated keys: only one of them survives parsing
        raise Malformed("the JSON is not in its canonical spelling")
    return value


def text(value: str) -> str:
    """How a string is spelled. Raises Malformed where it leaves the profile."""
    if type(value) is not str:
        raise Malformed(f"{type(value).__name__} is not text")
    _check_text(value)
    return encode_basestring(value)


def count(value: int | None) -> str:
    """How a number of the profile that is not negative is spelled. Raises Malformed."""
    if type(value) is not int or not 0 <= value <= SAFE_INTEGER:
        raise Malformed(f"{value!r} is not a count below 2^53")
    return str(value)


def _check(value: Any) -> None:
    kind = type(value)
    if kind is str:
        _check_text(value)
    elif kind is dict:
        for key, member in value.items():
            if type(key) is not str or not key.isascii():
                raise Malformed(f"key {key!r} is not ASCII text")
            _check(member)
    elif kind is int:
        if not -SAFE_INTEGER <= value <= SAFE_INTEGER:
            raise Malformed(f"the integer {value} is not below 2^53")
    elif kind is list:
        for member in value:
            _check(member)
    elif value is not None and kind is not bool:
        raise Malformed(f"{kind.__name__} is not in the profile")


def _check_text(value: str) -> None:
    if value.isascii():
        return
    if not unicodedata.is_normalized("NFC", value):
        raise Malformed("a string is not in Unicode NFC")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Malformed("a string holds a lone surrogate") from None
