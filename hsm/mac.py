"""HMAC-SHA-512 with a session's keys: two C calls, prepared once.

The binding makes a mechanism, an operation and a buffer of 8 kB for each signature, which costs
half as much as the signature. Here all that is made when the thread opens its session. The calls let
go of the interpreter's lock, so a hung one holds up its thread and no other. For one thread only.
"""

from __future__ import annotations

from ctypes import Structure, addressof, c_char_p, c_ulong, c_void_p, create_string_buffer
from typing import Any

from pkcs11 import Mechanism
from pkcs11.exceptions import FunctionFailed

from hsm.module import CKR_OK, SIGN, SIGN_INIT, Module

MAC_BYTES = 64


class _Mechanism(Structure):
    """CK_MECHANISM."""

    _fields_ = [("mechanism", c_ulong), ("parameter", c_void_p), ("length", c_ulong)]


class Mac:
    """One session's way to sign."""

    def __init__(self, module: Module, session: int) -> None:
        self._session = session
        self._init = module.function(SIGN_INIT, c_ulong, c_void_p, c_ulong)
        self._sign = module.function(SIGN, c_ulong, c_char_p, c_ulong, c_void_p, c_void_p)
        self._mechanism = _Mechanism(int(Mechanism.SHA512_HMAC), None, 0)
        self._out: Any = create_string_buffer(MAC_BYTES)
        self._length = c_ulong(MAC_BYTES)
        self._at = tuple(addressof(x) for x in (self._mechanism, self._out, self._length))

    def sign(self, handle: int, text: bytes) -> bytes:
        """64 bytes by the key of that handle. Raises PKCS11Error."""
        mechanism, out, length = self._at
        result = self._init(self._session, mechanism, handle)
        if result == CKR_OK:
            self._length.value = MAC_BYTES
            result = self._sign(self._session, text, len(text), out, length)
        if result != CKR_OK or self._length.value != MAC_BYTES:
            raise FunctionFailed(f"signing failed: {result:#x}")
        return bytes(self._out.raw)


def handle_of(thing: Any) -> int:
    """The handle of one of the binding's sessions or keys, which its type stubs do not tell of."""
    return int(thing.handle)
