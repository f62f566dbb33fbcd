"""One PKCS#11 library, loaded once per process with locking on.

python-pkcs11 0.10.1 calls `C_Initialize(NULL)` and then drops the GIL, which lets two threads
into a library that was told there is only one: SoftHSM crashes or hangs. Its `initialize` is a
`cpdef`, so a subclass may replace it; ours passes CKF_OS_LOCKING_OK through ctypes, on the very
function list that the binding uses (the loader hands out one copy of a library per process).

ctypes does more that the binding cannot: initialise a token (softhsm2-util would
want the PINs on its command line), read a nested template (the binding would hand the library
uninitialised pointers), finalise, and sign without making everything anew (hsm/mac.py).

The child of a fork would inherit the login and every key: `Module` refuses to work in one.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from ctypes import POINTER, Structure, byref, c_ubyte, c_ulong, c_void_p
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11._pkcs11 import lib
from pkcs11.exceptions import PKCS11Error

from hsm.errors import KeyMissing, TokenLost
from hsm.profile import Profile, check_guards, read_profile
from tenancy.errors import ConfigurationError

CKF_OS_LOCKING_OK = 0x2
CKR_OK = 0
CKR_ALREADY_INITIALIZED = 0x191

# Places of the functions in CK_FUNCTION_LIST (PKCS#11 2.40, pkcs11f.h; the order never changes).
_INITIALIZE, _FINALIZE, _INIT_TOKEN, _GET_ATTRIBUTE_VALUE = 0, 1, 9, 24
SIGN_INIT, SIGN = 42, 43


class Attribute(Structure):
    """CK_ATTRIBUTE."""

    _fields_ = [("type", c_ulong), ("value", c_void_p), ("length", c_ulong)]


class _InitializeArgs(Structure):
    """CK_C_INITIALIZE_ARGS: four mutex callbacks that we leave to the library, and flags."""

    _fields_ = [
        ("create_mutex", c_void_p), ("destroy_mutex", c_void_p),
        ("lock_mutex", c_void_p), ("unlock_mutex", c_void_p),
        ("flags", c_ulong), ("reserved", c_void_p),
    ]  # fmt: skip


class _FunctionList(Structure):
    _fields_ = [
        ("major", c_ubyte), ("minor", c_ubyte), ("functions", c_void_p * 68),
    ]  # fmt: skip


class _Raw:
    """The few C functions that we call ourselves."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)
        functions = POINTER(_FunctionList)()
        if self._library.C_GetFunctionList(byref(functions)) != CKR_OK:
            raise ConfigurationError(f"{path} gives no PKCS#11 function list")
        self._functions = functions.contents.functions

    def function(self, place: int, *types: Any) -> Callable[..., int]:
        """The C function there; a call of it lets go of the interpreter's lock."""
        return ctypes.CFUNCTYPE(c_ulong, *types)(self._functions[place])

    def call(self, place: int, types: tuple[Any, ...], *arguments: Any) -> int:
        return int(self.function(place, *types)(*arguments))


class _Library(lib):
    """The binding's library, initialised for threads."""

    def initialize(self) -> None:
        text = ctypes.create_string_buffer(_reserved.encode())
        arguments = _InitializeArgs(
            flags=CKF_OS_LOCKING_OK, reserved=ctypes.addressof(text) if _reserved else None
        )
        result = _Raw(self.path).call(_INITIALIZE, (c_void_p,), ctypes.addressof(arguments))
        if result not in (CKR_OK, CKR_ALREADY_INITIALIZED):
            raise TokenLost(f"C_Initialize of {self.path} failed: {result:#x}")

    @property
    def path(self) -> str:
        return _loading


_loading = _reserved = ""
_module: Module | None = None


class Module:
    """The process's one library."""

    def __init__(self, path: str, profile: Profile) -> None:
        global _loading, _reserved
        _loading, _reserved = path, profile.initialize_with
        self.profile = profile
        self._raw = _Raw(path)
        self._library = _Library(path)
        self._path = path
        self._pid = os.getpid()

    @classmethod
    def load(cls, path: Path, softhsm_conf: Path | None = None, profile: str = "softhsm") -> Module:
        """The library at `path`. `softhsm_conf` is what SoftHSM reads its token directory from.

        Raises ConfigurationError where the file is missing, another library is loaded already, or
        the profile lacks a guard that keys rest on.
        """
        global _module
        facts = read_profile(profile)
        check_guards(facts)
        if softhsm_conf is not None:
            os.environ["SOFTHSM2_CONF"] = str(softhsm_conf)
        if _module is not None and _module._pid == os.getpid():
            if _module._path != str(path):
                raise ConfigurationError(f"this process has loaded {_module._path} already")
            if _module.profile is not facts:
                raise ConfigurationError(f"{path} is loaded with profile {_module.profile.name!r}")
            return _module
        if not path.is_file():
            raise ConfigurationError(
                f"no PKCS#11 library at {path}: install softhsm2, or correct `module`"
            )
        _module = cls(str(path), facts)
        return _module

    def described(self) -> str:
        """The library in its own words, on one line."""
        about = self._library
        return f"{about.manufacturer_id} {about.library_description} {about.library_version}"

    def finalize(self) -> None:
        """Log out everywhere and forget every handle. Only ceremonies and tests do this."""
        global _module
        self._raw.call(_FINALIZE, (c_void_p,), None)
        _module = None

    def function(self, place: int, *types: Any) -> Callable[..., int]:
        """A C function of the library, prepared for many calls (hsm/mac.py)."""
        return self._raw.function(place, *types)

    def slot_of(self, label: str) -> pkcs11.Token:
        """The token of that label. Raises KeyMissing (none), ConfigurationError (several), TokenLost."""
        self._refuse_forked_child()
        try:
            found = [slot.get_token() for slot in self._library.get_slots(token_present=True)]
        except PKCS11Error as error:
            raise TokenLost(f"no look at the tokens: {type(error).__name__}") from None
        named = [token for token in found if token.label == label]
        if not named:
            raise KeyMissing(f"no token {label!r}: make it with `portcullis hsm init`")
        if len(named) > 1:
            raise ConfigurationError(f"{len(named)} tokens are called {label!r}")
        return named[0]

    def has_token(self, label: str) -> bool:
        try:
            self.slot_of(label)
        except KeyMissing:
            return False
        return True

    def init_token(self, label: str, so_pin: str) -> pkcs11.Token:
        """Make a token in the first free slot. Never touches an initialised one."""
        self._refuse_forked_child()
        for slot in self._library.get_slots(token_present=True):
            if slot.get_token().flags & pkcs11.TokenFlag.TOKEN_INITIALIZED:
                continue
            pin = so_pin.encode()
            result = self._raw.call(
                _INIT_TOKEN,
                (c_ulong, ctypes.c_char_p, c_ulong, ctypes.c_char_p),
                slot.slot_id, pin, len(pin), label.encode().ljust(32),
            )  # fmt: skip
            if result != CKR_OK:
                raise TokenLost(f"C_InitToken of {label!r} failed: {result:#x}")
            return slot.get_token()
        raise ConfigurationError("the library offers no free slot for a new token")

    def nested(self, session: int, handle: int, attribute: int) -> dict[int, bytes]:
        """A template inside an attribute (CKA_UNWRAP_TEMPLATE), by attribute. Empty if none.

        Three calls, as PKCS#11 5.7.5 wants: how many, how long each, the values.
        """
        outer = (Attribute * 1)(Attribute(attribute, None, 0))
        if self._read(session, handle, outer) != CKR_OK:
            return {}
        count = outer[0].length // ctypes.sizeof(Attribute)
        if count == 0:
            return {}
        inner = (Attribute * count)()
        outer[0].value = ctypes.addressof(inner)
        if self._read(session, handle, outer) != CKR_OK:
            return {}
        buffers = [ctypes.create_string_buffer(max(1, one.length)) for one in inner]
        for one, buffer in zip(inner, buffers, strict=True):
            one.value = ctypes.addressof(buffer)
        if self._read(session, handle, outer) != CKR_OK:
            return {}
        return {
            int(one.type): buffer.raw[: one.length]
            for one, buffer in zip(inner, buffers, strict=True)
        }

    def _read(self, session: int, handle: int, template: Any) -> int:
        return self._raw.call(
            _GET_ATTRIBUTE_VALUE,
            (c_ulong, c_ulong, c_void_p, c_ulong),
            session, handle, ctypes.addressof(template), len(template),
        )  # fmt: skip

    def _refuse_forked_child(self) -> None:
        if os.getpid() != self._pid:
            raise TokenLost("a forked child must not use its parent's token: exec instead")
