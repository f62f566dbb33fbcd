"""A token for one run, where the library is software: in a directory of its own, gone afterwards."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hsm.conformance.bench import Bench
from hsm.cryptoki.library import Library, text_of
from hsm.cryptoki.numbers import CKU_SO
from hsm.profile import Profile
from tenancy.errors import ConfigurationError

LABEL = "conformance"


@contextmanager
def named_token(path: Path, profile: Profile, label: str, pin: str) -> Iterator[Bench]:
    """A token that is there already. What is made in it is removed again."""
    library = Library(path)
    with library.initialized(profile.initialize_with):
        bench = Bench(
            library, profile, library.slot_of(label), pin,
            reserved=profile.initialize_with, own=False,
        )  # fmt: skip
        try:
            yield bench
        finally:
            bench.clean_up()


@contextmanager
def own_token(path: Path, profile: Profile) -> Iterator[Bench]:
    """A fresh token. Raises ConfigurationError where the profile says that we cannot make one."""
    if not profile.makes_own_store:
        raise ConfigurationError(
            f"profile {profile.name!r}: name a token with --token, and its PIN with --pin-file"
        )
    with tempfile.TemporaryDirectory(prefix="pc-conformance-") as name:
        _softhsm_configuration(Path(name))
        reserved = profile.initialize_with.format(store=name)
        library = Library(path)
        pin = secrets.token_hex(16)
        with library.initialized(reserved):
            slot = _prepared(library, pin)
            yield Bench(library, profile, slot, pin, reserved=reserved, own=True)


def _softhsm_configuration(directory: Path) -> None:
    """SoftHSM takes its directory from a file that the environment names; others do not look."""
    (directory / "tokens").mkdir()
    conf = directory / "softhsm2.conf"
    conf.write_text(
        f"directories.tokendir = {directory}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    os.environ["SOFTHSM2_CONF"] = str(conf)


def _prepared(library: Library, pin: str) -> int:
    """The slot of a token with a user PIN. NSS's database is a token from birth, without a PIN."""
    slot = library.slots()[-1]
    so_pin = ""
    if not text_of(library.token(slot).label):
        so_pin = secrets.token_hex(16)
        library.call("C_InitToken", slot, so_pin.encode(), len(so_pin), LABEL.ljust(32).encode())
        slot = library.slot_of(LABEL)
    session = library.open(slot)
    session.login(so_pin, CKU_SO)
    session.call("C_InitPIN", pin.encode(), len(pin))
    session.logout()
    session.close()
    return slot
