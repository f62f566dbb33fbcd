"""What ceremonies ask of people at a terminal: PINs, and the phrases of M of N holders.

Nothing typed is echoed, or it is refused. A phrase is shown to one holder at a time; the screen and what
was scrolled away are wiped, and nothing goes on before the holder has typed it back from the paper.

Making tokens under a quorum, in this order:

1. A secret and its phrases; each holder has theirs, and has typed it back. *Crash: papers for nothing.*
2. The PINs, in this process; the tokens are made with them. *Crash: tokens whose PINs nobody knows. They
   hold nothing yet: the security officer's tool of the HSM removes them.*
3. The file of held PINs, encrypted to the secret.
"""

from __future__ import annotations

import getpass
import os
import sys
import warnings
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click

from hsm.holders import gather, new_phrases, seal, unseal
from hsm.pins import HELD, asking, held
from ops.ceremonies import token_settings
from ops.cli.output import fail
from ops.settings import Settings
from tenancy.errors import ConfigurationError, Invalid, PortcullisError

WIPE = "\x1b[3J\x1b[2J\x1b[H"
"""What was scrolled away, the screen, and back to its corner (xterm; the console knows it too)."""


class NewHolders(NamedTuple):
    """What exists between steps 1 and 3, in this process alone."""

    secret: bytes
    pins: dict[str, str]

    def __repr__(self) -> str:
        return "NewHolders(…)"


def file_of(settings: Settings) -> Path:
    """Where the held PINs lie, encrypted."""
    return settings.instance.var / "hsm" / "held-pins.json"


@contextmanager
def said_plainly(settings: Settings, new: NewHolders | None = None) -> Iterator[None]:
    """As people(); what was refused is said in one line, and ends the command with 1."""
    try:
        with people(settings, new):
            yield
    except PortcullisError as error:
        fail(error, 1)


@contextmanager
def people(settings: Settings, new: NewHolders | None = None) -> Iterator[None]:
    """PINs and phrases are asked for when they are needed."""

    def holders() -> MutableMapping[str, str]:
        if new is not None:
            return new.pins
        file = file_of(settings)
        try:
            data = file.read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"the file of held PINs, {file}, cannot be read: {error.strerror}"
            ) from None
        return unseal(data, gather(_ask))

    with asking(_ask), held(holders):
        yield


def hand_out(settings: Settings, holders: int | None, quorum: int | None) -> NewHolders | None:
    """Step 1. None where no PIN is a held one. Ends the command where the words do not fit."""
    wanted = any(
        str(getattr(pair, name)).startswith(HELD)
        for pair in token_settings(settings).pairs
        for name in ("enrol_pin_file", "enrol_so_pin_file", "sign_pin_file", "sign_so_pin_file")
    )
    if not wanted and holders is None and quorum is None:
        return None
    try:
        if not wanted:
            raise Invalid(
                "no PIN in the settings is `held:`: there is nothing that holders could hold"
            )
        if not _at_a_terminal():
            raise ConfigurationError("phrases are shown at a terminal, to one holder at a time")
        if holders is None or quorum is None:
            raise Invalid("the settings have PINs that are `held:`: say --holders N and --quorum M")
        if file_of(settings).exists():
            raise Invalid(f"{file_of(settings)} exists: other tokens' PINs are in it")
        secret, phrases = new_phrases(quorum, holders)
    except PortcullisError as error:
        fail(error, 1)
    for number, phrase in enumerate(phrases, 1):
        _hand_to(number, phrase, len(phrases), quorum)
    return NewHolders(secret, {})


def keep(settings: Settings, new: NewHolders) -> None:
    """Step 3."""
    file = file_of(settings)
    write_new(file, seal(new.pins, new.secret))
    click.echo(f"The held PINs are in {file}; it is worth nothing without the phrases: back it up.")


def new_passphrase() -> str:
    """Typed twice. Raises Invalid where the two differ."""
    typed = _ask("Passphrase of the copy: ")
    if _ask("The same again: ") != typed:
        raise Invalid("the two passphrases differ; nothing was written")
    return typed


def passphrase_of(copy: Path) -> str:
    return _ask(f"Passphrase of {copy.name}: ")


def write_new(file: Path, content: bytes) -> None:
    """Of mode 0600, on disk when this returns. Raises FileExistsError."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def _hand_to(number: int, phrase: str, holders: int, quorum: int) -> None:
    click.pause(f"Holder {number} of {holders}, alone at the screen: any key shows your phrase.")
    while True:
        click.echo(f"\nWrite these twenty words on paper; {quorum} holders together are needed.\n")
        words = phrase.split()
        for at in range(0, len(words), 5):
            click.echo("    " + "  ".join(f"{n + 1:2} {words[n]:<10}" for n in range(at, at + 5)))
        click.pause("\nWritten? Any key clears the screen.")
        click.echo(WIPE, nl=False)
        if " ".join(_ask("Now type it from the paper: ").split()).lower() == phrase:
            return
        click.echo("That is not what was shown. Once more.")


def _at_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _ask(question: str) -> str:
    """Raises ConfigurationError where what is typed could be seen: no terminal, or one that echoes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(question)
    except (getpass.GetPassWarning, EOFError):
        raise ConfigurationError("PINs and phrases are typed at a terminal, without echo") from None
