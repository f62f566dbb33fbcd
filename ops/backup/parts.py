"""What a backup holds beside the database: settings, the log's manifests, the tokens' encrypted copy.

No secret goes in. Settings name secrets' files and hold none; the tokens come as the encrypted copy
that `portcullis hsm backup` made under a passphrase, never as they are; PINs, private keys of TLS and
keys of the API are left out, and `without()` says so, because each of them belongs somewhere else or
is made anew.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from audit.integrator import CHECKPOINT, VKEY
from hsm.pins import is_file
from ops.backup.layout import Damaged, make_directories
from ops.settings import Settings

SETTINGS, OUTSIDE, WORM, HSM = "settings", "outside", "worm", "hsm"
TOKENS = "tokens.hsm"


def copy_settings(settings: Settings, file: Path, into: Path) -> None:
    """Settings files: below `var` by their place in it, others below `outside/`; another user's, which
    cannot be read, are left out (without() names them)."""
    for path in _settings_files(settings, file):
        if os.access(path, os.R_OK):
            copy_private(path, into / place_of(path, settings.instance.var))


def place_of(path: Path, var: Path) -> Path:
    """Where a file lies below settings/."""
    if path.is_relative_to(var):
        return Path("var") / path.relative_to(var)
    return Path(OUTSIDE) / path.relative_to("/")


def _settings_files(settings: Settings, file: Path) -> Iterator[Path]:
    hsm = settings.hsm
    yield file
    yield hsm.signer_config
    yield hsm.enroller_config
    yield from (more.config for more in hsm.more_signers)
    if hsm.softhsm_conf is not None:
        yield hsm.softhsm_conf
    if settings.recorder.witness_policy is not None:
        yield settings.recorder.witness_policy


def copy_worm(store: Path, into: Path) -> None:
    """Each log's manifest, key and checkpoint. Its tiles are made again from the database's rows, and
    the manifest then says whether they are the same (tree.py)."""
    for log in sorted(path for path in store.glob("*") if path.is_dir()):
        for name in (VKEY, CHECKPOINT):
            if (log / name).exists():
                copy_private(log / name, into / log.name / name)
        for path in sorted((log / "manifest").rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                copy_private(path, into / log.name / path.relative_to(log))


def copy_tokens(copy: Path | None, into: Path) -> None:
    """The tokens' encrypted copy. Raises Damaged where it is something else: a token is never copied."""
    if copy is None:
        return
    with copy.open("rb") as file:
        if not file.read(25).startswith(b"portcullis/hsm-backup/v1\n"):
            raise Damaged(f"{copy} was not written by `portcullis hsm backup`: it is not taken")
    copy_private(copy, into / TOKENS)


def without(settings: Settings, file: Path) -> tuple[str, ...]:
    """What has to be put in place by hand after a restore, in words."""
    hsm = settings.hsm
    pins = (hsm.sign_pin_file, hsm.enrol_pin_file, hsm.sign_so_pin_file, hsm.enrol_so_pin_file)
    left = [f"PIN {path}" for path in pins if is_file(path)]
    left += [f"TLS key {path}" for path in sorted({tls.key for tls in settings.own_tls.values()})]
    left.append(f"API keys in {settings.instance.var / 'secrets' / 'keys'}")
    if settings.backup is None or settings.backup.tokens is None:
        left.append("the HSM's tokens: `portcullis hsm backup`, or the vendor's way")
    return tuple(left)


def copy_private(source: Path, target: Path) -> None:
    """A copy that is ours alone, and durable."""
    make_directories(target.parent)
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with source.open("rb") as read, os.fdopen(handle, "wb") as out:
        shutil.copyfileobj(read, out)
        out.flush()
        os.fsync(out.fileno())
