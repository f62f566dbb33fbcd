"""The calls of one session, each under its C name, with Python values in and out.

Attributes are packed by the type of their value: a bool as CK_BBOOL, an int as CK_ULONG, text as
UTF-8, a dict as a nested template, a list as an array of CK_ULONG; bytes stay as they are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import Structure, c_ulong, c_void_p
from typing import TYPE_CHECKING, Any, NamedTuple

from hsm.cryptoki.numbers import CKU_USER, UNAVAILABLE

if TYPE_CHECKING:
    from hsm.cryptoki.library import Library

Value = bool | int | str | bytes | Mapping[Any, Any] | Sequence[int]
Template = Mapping[Any, Any] | Sequence[tuple[Any, Any]]
"""A sequence of pairs may say the same attribute twice, as an attacker would."""

ROOM = 16 * 1024
"""Bytes of room for an answer: beyond every blob and signature here, so one call is enough."""


class Attribute(Structure):
    """CK_ATTRIBUTE."""

    _fields_ = [("type", c_ulong), ("value", c_void_p), ("length", c_ulong)]


class _MechanismStructure(Structure):
    _fields_ = [("number", c_ulong), ("parameter", c_void_p), ("length", c_ulong)]


class Mechanism(NamedTuple):
    """A CK_MECHANISM. `alive` holds what pointers inside the parameter point to."""

    number: int
    parameter: bytes = b""
    alive: tuple[Any, ...] = ()


def oaep(digest: int, mask: int) -> Mechanism:
    """CKM_RSA_PKCS_OAEP with an empty label."""
    words = (digest, mask, 1, 0, 0)  # CKZ_DATA_SPECIFIED, no label
    return Mechanism(0x9, b"".join(bytes(c_ulong(word)) for word in words))


def string_data(number: int, data: bytes) -> Mechanism:
    """A derivation by CK_KEY_DERIVATION_STRING_DATA: a pointer and a length."""
    buffer = ctypes.create_string_buffer(data, len(data))
    words = (ctypes.addressof(buffer), len(data))
    return Mechanism(number, b"".join(bytes(c_ulong(word)) for word in words), (buffer,))


class _Packed:
    """A CK_ATTRIBUTE array, and the buffers that it points to."""

    def __init__(self, template: Template) -> None:
        pairs = list(template.items()) if isinstance(template, Mapping) else list(template)
        self._alive: list[Any] = []
        self.array = (Attribute * max(1, len(pairs)))()
        self.count = len(pairs)
        for index, (number, value) in enumerate(pairs):
            data = self._bytes(value)
            buffer = ctypes.create_string_buffer(data, max(1, len(data)))
            self._alive.append(buffer)
            self.array[index] = Attribute(int(number), ctypes.addressof(buffer), len(data))

    @property
    def address(self) -> int:
        return ctypes.addressof(self.array)

    def _bytes(self, value: Value) -> bytes:
        if isinstance(value, bool):
            return bytes([value])
        if isinstance(value, int):
            return bytes(c_ulong(value))
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, Mapping):
            inner = _Packed(value)
            self._alive.append(inner)
            return bytes(inner.array)[: inner.count * ctypes.sizeof(Attribute)]
        if isinstance(value, bytes):
            return value
        return b"".join(bytes(c_ulong(one)) for one in value)


def _mechanism(mechanism: Mechanism | int) -> tuple[int, Any]:
    """The address of a CK_MECHANISM, and what must outlive its use."""
    if not isinstance(mechanism, Mechanism):
        mechanism = Mechanism(int(mechanism))
    size = len(mechanism.parameter)
    parameter = ctypes.create_string_buffer(mechanism.parameter, size) if size else None
    structure = _MechanismStructure(
        mechanism.number, ctypes.addressof(parameter) if parameter is not None else None, size
    )
    return ctypes.addressof(structure), (structure, parameter, mechanism)


class Session:
    """An open session. Every method raises Refused with the CK_RV."""

    def __init__(self, library: Library, handle: int) -> None:
        self.library = library
        self.handle = handle

    def call(self, function: str, *arguments: Any) -> None:
        self.library.call(function, self.handle, *arguments)

    def login(self, pin: str, user: int = CKU_USER) -> None:
        secret = pin.encode()
        self.call("C_Login", user, secret, len(secret))

    def logout(self) -> None:
        self.call("C_Logout")

    def close(self) -> None:
        self.call("C_CloseSession")

    # ------------------------------------------------------------ objects

    def create(self, template: Template) -> int:
        return self._made("C_CreateObject", template)

    def copy(self, key: int, template: Template) -> int:
        return self._made("C_CopyObject", template, key)

    def destroy(self, key: int) -> None:
        self.call("C_DestroyObject", key)

    def set(self, key: int, template: Template) -> None:
        packed = _Packed(template)
        self.call("C_SetAttributeValue", key, packed.address, packed.count)

    def get(self, key: int, attribute: int) -> bytes:
        """The attribute's bytes."""
        buffer = ctypes.create_string_buffer(ROOM)
        one = (Attribute * 1)(Attribute(int(attribute), ctypes.addressof(buffer), ROOM))
        self.call("C_GetAttributeValue", key, ctypes.addressof(one), 1)
        if one[0].length == UNAVAILABLE:
            return b""
        return buffer.raw[: one[0].length]

    def flag(self, key: int, attribute: int) -> bool:
        return self.get(key, attribute) == b"\x01"

    def get_template(self, key: int, attribute: int) -> dict[int, bytes]:
        """A nested template, in the three calls of PKCS#11 5.7.5."""
        outer = (Attribute * 1)(Attribute(int(attribute), None, 0))
        ask = ("C_GetAttributeValue", key, ctypes.addressof(outer), 1)
        self.call(*ask)
        if outer[0].length == UNAVAILABLE:
            return {}
        inner = (Attribute * (outer[0].length // ctypes.sizeof(Attribute)))()
        if not len(inner):
            return {}
        outer[0].value = ctypes.addressof(inner)
        self.call(*ask)
        buffers = [ctypes.create_string_buffer(max(1, one.length)) for one in inner]
        for one, buffer in zip(inner, buffers, strict=True):
            one.value = ctypes.addressof(buffer)
        self.call(*ask)
        return {
            int(one.type): buffer.raw[: one.length]
            for one, buffer in zip(inner, buffers, strict=True)
        }

    def find(self, template: Template, most: int = 1000) -> list[int]:
        packed = _Packed(template)
        self.call("C_FindObjectsInit", packed.address, packed.count)
        found, count = (c_ulong * most)(), c_ulong()
        try:
            self.call("C_FindObjects", ctypes.addressof(found), most, ctypes.addressof(count))
        finally:
            self.call("C_FindObjectsFinal")
        return [int(handle) for handle in found[: count.value]]

    # ------------------------------------------------------------ keys

    def generate(self, mechanism: Mechanism | int, template: Template) -> int:
        address, alive = _mechanism(mechanism)
        key = self._made("C_GenerateKey", template, address)
        del alive
        return key

    def generate_pair(
        self, mechanism: Mechanism | int, public: Template, private: Template
    ) -> tuple[int, int]:
        address, alive = _mechanism(mechanism)
        halves = (c_ulong * 2)()
        one, two = _Packed(public), _Packed(private)
        self.call(
            "C_GenerateKeyPair", address, one.address, one.count, two.address, two.count,
            ctypes.addressof(halves), ctypes.addressof(halves) + ctypes.sizeof(c_ulong),
        )  # fmt: skip
        del alive
        return int(halves[0]), int(halves[1])

    def wrap(self, mechanism: Mechanism | int, wrapper: int, key: int) -> bytes:
        address, alive = _mechanism(mechanism)
        blob = self._answer("C_WrapKey", address, wrapper, key)
        del alive
        return blob

    def unwrap(
        self, mechanism: Mechanism | int, wrapper: int, blob: bytes, template: Template
    ) -> int:
        address, alive = _mechanism(mechanism)
        key = self._made("C_UnwrapKey", template, address, wrapper, blob, len(blob))
        del alive
        return key

    def derive(self, mechanism: Mechanism | int, base: int, template: Template) -> int:
        address, alive = _mechanism(mechanism)
        key = self._made("C_DeriveKey", template, address, base)
        del alive
        return key

    # ------------------------------------------------------------ using keys

    def encrypt(self, mechanism: Mechanism | int, key: int, data: bytes) -> bytes:
        self._begin("C_EncryptInit", mechanism, key)
        return self._answer("C_Encrypt", data, len(data))

    def decrypt(self, mechanism: Mechanism | int, key: int, data: bytes) -> bytes:
        self._begin("C_DecryptInit", mechanism, key)
        return self._answer("C_Decrypt", data, len(data))

    def sign(self, mechanism: Mechanism | int, key: int, data: bytes) -> bytes:
        self._begin("C_SignInit", mechanism, key)
        return self._answer("C_Sign", data, len(data))

    def sign_recover(self, mechanism: Mechanism | int, key: int, data: bytes) -> bytes:
        self._begin("C_SignRecoverInit", mechanism, key)
        return self._answer("C_SignRecover", data, len(data))

    def verify(self, mechanism: Mechanism | int, key: int, data: bytes, mac: bytes) -> None:
        self._begin("C_VerifyInit", mechanism, key)
        self.call("C_Verify", data, len(data), mac, len(mac))

    def digest_key(self, mechanism: Mechanism | int, key: int) -> bytes:
        """C_DigestInit, C_DigestKey, C_DigestFinal: the digest of a key's value."""
        self._begin("C_DigestInit", mechanism)
        self.call("C_DigestKey", key)
        return self._answer("C_DigestFinal")

    def operation_state(self) -> bytes:
        return self._answer("C_GetOperationState")

    def begin(self, function: str, mechanism: Mechanism | int, key: int) -> None:
        """An operation's Init alone (C_SignInit, …)."""
        self._begin(function, mechanism, key)

    def _begin(self, function: str, mechanism: Mechanism | int, *key: int) -> None:
        address, alive = _mechanism(mechanism)
        self.call(function, address, *key)
        del alive

    def _answer(self, function: str, *arguments: Any) -> bytes:
        room = ctypes.create_string_buffer(ROOM)
        size = c_ulong(ROOM)
        self.call(function, *arguments, ctypes.addressof(room), ctypes.addressof(size))
        return room.raw[: size.value]

    def _made(self, function: str, template: Template, *before: Any) -> int:
        packed = _Packed(template)
        handle = c_ulong()
        self.call(
            function, *before, packed.address, packed.count, ctypes.addressof(handle)
        )  # fmt: skip
        return handle.value
