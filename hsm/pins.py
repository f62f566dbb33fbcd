"""Where a PIN comes from: a private file, a systemd credential, or a person; never argv, never the environment.

A source is written where a setting wants a PIN's file:

    /run/secrets/sign.pin   a file that nobody but its owner may read or write
    credential:sign.pin     a file of systemd's LoadCredential=, in $CREDENTIALS_DIRECTORY
    prompt:sign token       asked for at the terminal, without echo; for ceremonies alone
    held:sign token         from the file that M of N holders open (hsm/holders.py); for ceremonies alone

The environment names a directory, and never holds a PIN. What was asked for at the terminal is asked
for once in a ceremony, and kept no longer than it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from tenancy.errors import ConfigurationError

CREDENTIAL, PROMPT, HELD = "credential:", "prompt:", "held:"
DIRECTORY = "CREDENTIALS_DIRECTORY"
Ask = Callable[[str], str]

Holders = Callable[[], MutableMapping[str, str]]
"""Gives the held PINs by name; asks the holders when it is first called."""

_ask: ContextVar[Callable[..., str] | None] = ContextVar("ask", default=None)
_holders: ContextVar[Holders | None] = ContextVar("holders", default=None)


def is_file(source: Path) -> bool:
    return not str(source).startswith((CREDENTIAL, PROMPT, HELD))


@contextmanager
def held(holders: Holders) -> Iterator[None]:
    """Within the block `held:` sources are looked up there; make_pin() puts new ones in."""
    kept: list[MutableMapping[str, str]] = []

    def once() -> MutableMapping[str, str]:
        if not kept:
            kept.append(holders())
        return kept[0]

    token = _holders.set(once)
    try:
        yield
    finally:
        _holders.reset(token)
        kept.clear()


@contextmanager
def asking(ask: Ask) -> Iterator[None]:
    """Within the block `ask(question)` answers for `prompt:` sources, once for each; twice for a new PIN."""
    told: dict[str, str] = {}

    def once(what: str, *, new: bool = False) -> str:
        if what not in told:
            typed = ask(f"PIN of {what}: ")
            if new and ask(f"The new PIN of {what} again: ") != typed:
                raise ConfigurationError(
                    f"the two PINs of {what} differ: nothing was made with them"
                )
            told[what] = typed
        return told[what]

    token = _ask.set(once)
    try:
        yield
    finally:
        _ask.reset(token)
        told.clear()


def read_pin(source: Path) -> str:
    """The PIN: a file's first line. Raises ConfigurationError, which never quotes what was read."""
    text = str(source)
    if text.startswith(PROMPT):
        return _asked(text.removeprefix(PROMPT))
    if text.startswith(HELD):
        return _held(text.removeprefix(HELD))
    if text.startswith(CREDENTIAL):
        return _first_line(_credential(text.removeprefix(CREDENTIAL)))
    _require_private(source)
    return _first_line(source)


def make_pin(source: Path) -> str:
    """The PIN of the source; where it is a file (0600) or a held one that is absent, one is made.

    128 random bits. A person types a new one twice.

    Raises ConfigurationError.
    """
    if str(source).startswith(HELD):
        return _all_held().setdefault(str(source).removeprefix(HELD), secrets.token_hex(16))
    if str(source).startswith(PROMPT):
        return _asked(str(source).removeprefix(PROMPT), new=True)
    if not is_file(source):
        return read_pin(source)
    try:
        descriptor = os.open(source, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_pin(source)
    pin = secrets.token_hex(16)
    with os.fdopen(descriptor, "w") as file:
        file.write(pin + "\n")
        file.flush()
        os.fsync(file.fileno())
    return pin


def _asked(what: str, *, new: bool = False) -> str:
    ask = _ask.get()
    if ask is None:
        raise ConfigurationError(
            f"the PIN of {what} is to be asked for at a terminal, and nobody is there: daemons have"
            " theirs from a file or a systemd credential"
        )
    pin = ask(what, new=new)
    if not pin:
        raise ConfigurationError(f"the PIN of {what} is empty")
    return pin


def _held(name: str) -> str:
    try:
        return _all_held()[name]
    except KeyError:
        raise ConfigurationError(f"the holders keep no PIN called {name!r}") from None


def _all_held() -> MutableMapping[str, str]:
    holders = _holders.get()
    if holders is None:
        raise ConfigurationError(
            "a held PIN is for ceremonies, where its holders type their phrases: daemons have theirs"
            " from a file or a systemd credential"
        )
    return holders()


def _credential(name: str) -> Path:
    directory = os.environ.get(DIRECTORY)
    if not directory:
        raise ConfigurationError(
            f"{CREDENTIAL}{name} needs systemd's {DIRECTORY}: the unit has no LoadCredential={name}:…"
        )
    if not name or "/" in name or name.startswith("."):
        raise ConfigurationError(f"{CREDENTIAL}{name} is not the name of a credential")
    return Path(directory) / name


def _require_private(path: Path) -> None:
    """Not for credentials: systemd's are readable by their unit alone, whatever their mode says."""
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigurationError(f"cannot read the PIN file {path}: {error.strerror}") from None
    if status.st_mode & 0o077:
        raise ConfigurationError(
            f"the PIN file {path} may be read by others (mode {status.st_mode & 0o777:04o}): chmod 0600 it"
        )


def _first_line(path: Path) -> str:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"cannot read the PIN file {path}: {why}") from None
    if not lines or not lines[0]:
        raise ConfigurationError(f"the PIN file {path} is empty")
    return lines[0]
