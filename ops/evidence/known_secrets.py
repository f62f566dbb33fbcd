"""The secrets that this host's files hold, read so that each can be looked for in what leaves the house.

Clients' API secrets are not among them: those are in the HSM, and nobody here can read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from psycopg.conninfo import conninfo_to_dict

from hsm import pins
from hsm.settings import TokenPair
from ops.settings import DirectoryStore, HsmSettings, Settings

LARGEST_BYTES = 64 << 10
PEM = b"-----"


class Known(NamedTuple):
    """`unread`: files that could not be read, and why: what stands in them cannot be looked for."""

    values: tuple[bytes, ...]
    unread: tuple[tuple[Path, str], ...]


def known_secrets(settings: Settings, more: Iterable[Path] = ()) -> Known:
    """Those of the files that the settings name, and of `more`."""
    values: list[bytes] = []
    unread: list[tuple[Path, str]] = []
    for path in dict.fromkeys([*secret_files(settings), *more]):
        try:
            values += lines_of(path.read_bytes()[:LARGEST_BYTES])
        except FileNotFoundError:
            continue
        except OSError as error:
            unread.append((path, str(error.strerror)))
    return Known(tuple(values), tuple(unread))


def secret_files(settings: Settings) -> Iterator[Path]:
    """Every file that the settings name as a secret, and those that `init` and the product make."""
    hsm = settings.hsm
    pairs: list[HsmSettings | TokenPair] = [hsm, *hsm.mirrors]
    for pair in pairs:
        named = (
            pair.enrol_pin_file,
            pair.enrol_so_pin_file,
            pair.sign_pin_file,
            pair.sign_so_pin_file,
        )
        yield from (path for path in named if pins.is_file(path))
    yield from (tls.key for tls in settings.own_tls.values())
    yield from (one.client_secret_file for one in settings.admin.oidc.values())
    if settings.admin.smtp is not None and settings.admin.smtp.password_file is not None:
        yield settings.admin.smtp.password_file
    for one in settings.recorder.stores:
        if not isinstance(one, DirectoryStore):
            yield one.credentials_file
    for role in ("owner", "admin", "ingress", "worker", "recorder"):
        passfile = conninfo_to_dict(getattr(settings.database, role)).get("passfile")
        if passfile:
            yield Path(str(passfile))
    var = settings.instance.var
    yield from sorted(one for one in (var / "secrets").rglob("*") if one.is_file())
    yield from sorted((settings.worker.spill or var / "spill").glob("*.key"))


def lines_of(content: bytes) -> Iterator[bytes]:
    """A secret for each line, of a PEM file each line of its body; what is no text is one secret.

    A pgpass line's secret is its last field.
    """
    try:
        content.decode()
    except UnicodeDecodeError:
        yield content
        return
    for line in content.splitlines():
        if line.strip() and not line.startswith((PEM, b"#")):
            yield line.strip()
            if line.count(b":") >= 4:
                yield line.rsplit(b":", 1)[1].strip()
