"""A PKCS#11 library's function list: loaded, initialised as we say, each function by its C name.

ctypes drops the GIL during a call, so threads really meet inside the library. Nothing here is
ever retried, and no PIN is kept.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, Structure, byref, c_char, c_ubyte, c_ulong, c_void_p
from pathlib import Path
from typing import Any, NamedTuple

from hsm.cryptoki.numbers import CKF_OS_LOCKING_OK, CKR_OK, name_of_result
from hsm.cryptoki.session import Session
from tenancy.errors import ConfigurationError

# PKCS#11 2.40, pkcs11f.h, in its order, which never changes: u is a CK_ULONG, p a pointer.
_FUNCTIONS = """
Initialize:p Finalize:p GetInfo:p GetFunctionList:p GetSlotList:upp GetSlotInfo:up GetTokenInfo:up
GetMechanismList:upp GetMechanismInfo:uup InitToken:upup InitPIN:upu SetPIN:upupu
OpenSession:uuppp CloseSession:u CloseAllSessions:u GetSessionInfo:up GetOperationState:upp
SetOperationState:upuuu Login:uupu Logout:u CreateObject:upup CopyObject:uupup DestroyObject:uu
GetObjectSize:uup GetAttributeValue:uupu SetAttributeValue:uupu FindObjectsInit:upu
FindObjects:upup FindObjectsFinal:u EncryptInit:upu Encrypt:upupp EncryptUpdate:upupp
EncryptFinal:upp DecryptInit:upu Decrypt:upupp DecryptUpdate:upupp DecryptFinal:upp DigestInit:up
Digest:upupp DigestUpdate:upu DigestKey:uu DigestFinal:upp SignInit:upu Sign:upupp SignUpdate:upu
SignFinal:upp SignRecoverInit:upu SignRecover:upupp VerifyInit:upu Verify:upupu VerifyUpdate:upu
VerifyFinal:upu VerifyRecoverInit:upu VerifyRecover:upupp DigestEncryptUpdate:upupp
DecryptDigestUpdate:upupp SignEncryptUpdate:upupp DecryptVerifyUpdate:upupp GenerateKey:uppup
GenerateKeyPair:uppupupp WrapKey:upuupp UnwrapKey:upupupup DeriveKey:upupup SeedRandom:upu
GenerateRandom:upu GetFunctionStatus:u CancelFunction:u WaitForSlotEvent:upp
"""
_TYPES = {"u": c_ulong, "p": c_void_p}
PLACES: dict[str, tuple[int, Any]] = {
    f"C_{name}": (place, ctypes.CFUNCTYPE(c_ulong, *(_TYPES[letter] for letter in letters)))
    for place, (name, letters) in enumerate(one.split(":") for one in _FUNCTIONS.split())
}


class Refused(Exception):
    """A function returned something other than CKR_OK."""

    def __init__(self, function: str, result: int) -> None:
        self.function = function
        self.result = result
        self.name = name_of_result(result)
        super().__init__(f"{function}: {self.name}")


class FunctionList(Structure):
    """CK_FUNCTION_LIST."""

    _fields_ = [("major", c_ubyte), ("minor", c_ubyte), ("functions", c_void_p * len(PLACES))]


class InitializeArgs(Structure):
    """CK_C_INITIALIZE_ARGS: four mutex callbacks that we leave to the library, and flags."""

    _fields_ = [
        ("create_mutex", c_void_p), ("destroy_mutex", c_void_p),
        ("lock_mutex", c_void_p), ("unlock_mutex", c_void_p),
        ("flags", c_ulong), ("reserved", c_void_p),
    ]  # fmt: skip


class _Info(Structure):
    """CK_INFO."""

    _fields_ = [
        ("cryptoki", c_ubyte * 2), ("manufacturer", c_char * 32), ("flags", c_ulong),
        ("description", c_char * 32), ("version", c_ubyte * 2),
    ]  # fmt: skip


class TokenInfo(Structure):
    """CK_TOKEN_INFO."""

    _fields_ = [
        ("label", c_char * 32), ("manufacturer", c_char * 32), ("model", c_char * 16),
        ("serial", c_char * 16), ("flags", c_ulong), ("max_sessions", c_ulong),
        ("sessions", c_ulong), ("max_rw_sessions", c_ulong), ("rw_sessions", c_ulong),
        ("max_pin", c_ulong), ("min_pin", c_ulong), ("total_public", c_ulong),
        ("free_public", c_ulong), ("total_private", c_ulong), ("free_private", c_ulong),
        ("hardware", c_ubyte * 2), ("firmware", c_ubyte * 2), ("utc_time", c_char * 16),
    ]  # fmt: skip


class _MechanismInfo(Structure):
    _fields_ = [("min_key", c_ulong), ("max_key", c_ulong), ("flags", c_ulong)]


class Description(NamedTuple):
    """What a library says of itself."""

    manufacturer: str
    description: str
    version: str
    cryptoki: str


class Library:
    """One loaded library. One process has one state of it, whoever loads it."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError where it is no PKCS#11 library."""
        try:
            self._library = ctypes.CDLL(str(path))
            functions = POINTER(FunctionList)()
            result = self._library.C_GetFunctionList(byref(functions))
        except (OSError, AttributeError) as error:
            raise ConfigurationError(f"{path} is not a PKCS#11 library: {error}") from None
        if result != CKR_OK:
            raise ConfigurationError(f"{path} gives no PKCS#11 function list")
        self._functions = {
            name: kind(functions.contents.functions[place])
            for name, (place, kind) in PLACES.items()
            if functions.contents.functions[place]
        }
        self.path = path

    def __repr__(self) -> str:
        return f"<Library {self.path}>"

    def ask(self, function: str, *arguments: Any) -> int:
        """The bare CK_RV of a call."""
        return int(self._functions[function](*arguments))

    def call(self, function: str, *arguments: Any) -> None:
        """Raises Refused unless the call returns CKR_OK."""
        result = self.ask(function, *arguments)
        if result != CKR_OK:
            raise Refused(function, result)

    def initialize(self, reserved: str = "", flags: int = CKF_OS_LOCKING_OK) -> None:
        """C_Initialize. `reserved` is the string that some libraries (NSS) take. Raises Refused."""
        text = ctypes.create_string_buffer(reserved.encode()) if reserved else None
        arguments = InitializeArgs(
            flags=flags, reserved=ctypes.addressof(text) if text is not None else None
        )
        self.call("C_Initialize", ctypes.addressof(arguments))

    def finalize(self) -> None:
        self.call("C_Finalize", None)

    def describe(self) -> Description:
        info = _Info()
        self.call("C_GetInfo", ctypes.addressof(info))
        return Description(
            text_of(info.manufacturer), text_of(info.description),
            f"{info.version[0]}.{info.version[1]}", f"{info.cryptoki[0]}.{info.cryptoki[1]}",
        )  # fmt: skip

    def slots(self) -> list[int]:
        """Those with a token in them."""
        count = c_ulong()
        self.call("C_GetSlotList", 1, None, ctypes.addressof(count))
        slots = (c_ulong * count.value)()
        self.call("C_GetSlotList", 1, ctypes.addressof(slots), ctypes.addressof(count))
        return [int(slot) for slot in slots[: count.value]]

    def token(self, slot: int) -> TokenInfo:
        info = TokenInfo()
        self.call("C_GetTokenInfo", slot, ctypes.addressof(info))
        return info

    def slot_of(self, label: str) -> int:
        """The slot of the token with that label. Raises ConfigurationError."""
        found = [slot for slot in self.slots() if text_of(self.token(slot).label) == label]
        if len(found) != 1:
            raise ConfigurationError(f"{len(found)} tokens are called {label!r}, one is needed")
        return found[0]

    def mechanisms(self, slot: int) -> dict[int, int]:
        """Number and flags (CKF_WRAP, …) of all mechanisms."""
        count = c_ulong()
        self.call("C_GetMechanismList", slot, None, ctypes.addressof(count))
        numbers = (c_ulong * count.value)()
        self.call("C_GetMechanismList", slot, ctypes.addressof(numbers), ctypes.addressof(count))
        return {int(number): self._flags(slot, number) for number in numbers[: count.value]}

    def open(self, slot: int, *, writable: bool = True) -> Session:
        handle = c_ulong()
        flags = 4 | (2 if writable else 0)  # CKF_SERIAL_SESSION, CKF_RW_SESSION
        self.call("C_OpenSession", slot, flags, None, None, ctypes.addressof(handle))
        return Session(self, handle.value)

    @contextmanager
    def initialized(self, reserved: str = "") -> Iterator[None]:
        """Between C_Initialize and C_Finalize."""
        self.initialize(reserved)
        try:
            yield
        finally:
            self.finalize()

    def _flags(self, slot: int, number: int) -> int:
        info = _MechanismInfo()
        self.call("C_GetMechanismInfo", slot, number, ctypes.addressof(info))
        return int(info.flags)


def text_of(field: bytes) -> str:
    """A blank-padded field of PKCS#11."""
    return field.decode("utf-8", "replace").rstrip(" \0")
