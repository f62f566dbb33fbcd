"""What the daemons and the ceremony are told, as TOML files in frozen structs.

A PIN is never in them: they name its source (hsm/pins.py).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from hsm.openers import Door, check_purposes
from hsm.profile import read_profile
from tenancy.errors import UNREADABLE, ConfigurationError


class DaemonSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One daemon, signer or enroller: `python -m hsm.signer --config FILE`."""

    module: Path
    token_label: str
    pin_file: Path
    socket: Path
    softhsm_conf: Path | None = None
    profile: str = "softhsm"
    """What is particular to the token: one of hsm/profiles/, or a file."""
    worker_threads: int = 1
    """One for a token in this machine; 8 to 32 for one behind a network, which has as many at work. In
    a file that does not say it: the profile's."""
    cpus: list[int] = []
    """Processors that the daemon keeps to; all, if not said. With one worker thread it is quicker on one of
    its own: loop and thread take turns anyway, and need not be woken across."""
    keys_max: int = 16_000
    """Session keys held at once over all threads; about 9 kB each in SoftHSM."""
    queue_max: int = 4096
    """Requests that wait for the token, of one tenant half as many; beyond: `signer_busy`."""
    tenant_rate_per_s: float = 5_000.0
    """Requests that one tenant may have signed or opened; beyond: `signing_rate`."""
    tenant_burst: int = 20_000
    """So many at once: an order, and what follows it, in each of some thousands of accounts."""
    state_dir: Path | None = None
    """The daemon's own directory: its epoch, its journal of refusals. On a disk that outlives a
    restart of the host. If absent: beside the settings file, called as it, `.state` behind."""
    canary_every_s: float = 5.0
    """A token that nobody uses is looked at as often."""
    peer_uids: list[int] = []
    """Who may connect besides the daemon's own user."""
    socket_mode: int = 0o600
    openers: dict[int, list[str]] = {}
    """Which users have secrets of which purposes opened at `socket`; nobody, if not named."""
    doors: dict[str, Door] = {}
    """More sockets, each with purposes of its own: hsm/openers.py."""
    hang_s: float = 10.0
    """A call into the token that takes longer ends the process: its supervisor starts another."""

    def __post_init__(self) -> None:
        check_purposes(self.openers, self.doors)

    def sockets(self) -> list[Path]:
        """Every socket of the daemon, the main one first."""
        return [self.socket, *(door.socket for door in self.doors.values())]


class TokenPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An HSM's two tokens. PINs by their sources (hsm/pins.py); files are made if absent."""

    enrol_pin_file: Path
    enrol_so_pin_file: Path
    sign_pin_file: Path
    sign_so_pin_file: Path
    enrol_label: str = "portcullis-enrol"
    sign_label: str = "portcullis-sign"


class TokenSettings(TokenPair, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All tokens, as the ceremony needs them.

    `mirrors`: further HSMs, through the same library (a vendor's client shows the tokens of all of its
    HSMs). Their tokens get the same tenants' keys, and an enrolment pair of their own.
    """

    module: Path
    softhsm_conf: Path | None = None
    profile: str = "softhsm"
    mirrors: list[TokenPair] = []

    @property
    def pairs(self) -> list[TokenPair]:
        """The first HSM's tokens, then the others'."""
        return [self, *self.mirrors]


def _decode(kind: type, value: Any) -> Any:
    """msgspec knows no paths; they are strings in TOML."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(kind)


def read_daemon_settings(path: Path) -> DaemonSettings:
    """Raises ConfigurationError: says which key, and what would be right."""
    try:
        text = path.read_bytes()
        settings = msgspec.toml.decode(text, type=DaemonSettings, dec_hook=_decode)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    except UNREADABLE as error:
        raise ConfigurationError(f"{path}: {error}") from None
    profile = read_profile(settings.profile)
    if "worker_threads" not in msgspec.toml.decode(text):
        settings = msgspec.structs.replace(settings, worker_threads=profile.worker_threads)
    if profile.sessions_max and settings.worker_threads + 1 > profile.sessions_max:
        raise ConfigurationError(
            f"{path}: {profile.name} has {profile.sessions_max} sessions, one is the anchor's"
        )
    if settings.state_dir is None:
        settings = msgspec.structs.replace(
            settings, state_dir=path.absolute().with_suffix(".state")
        )
    if settings.tenant_rate_per_s <= 0 or settings.tenant_burst < 1 or settings.queue_max < 2:
        raise ConfigurationError(
            f"{path}: tenant_rate_per_s is above 0, tenant_burst 1 or more, queue_max 2 or more"
        )
    if not set(settings.cpus) <= (usable := os.sched_getaffinity(0)):
        raise ConfigurationError(f"{path}: cpus: this process may use {sorted(usable)}")
    if not 1 <= settings.worker_threads <= 64 or settings.keys_max < settings.worker_threads:
        raise ConfigurationError(f"{path}: worker_threads is 1 to 64, keys_max at least that")
    sockets = settings.sockets()
    if any(len(os.fsencode(one)) > 107 for one in sockets):
        raise ConfigurationError(f"{path}: a Unix socket's path has at most 107 bytes")
    if len(set(sockets)) < len(sockets):
        raise ConfigurationError(f"{path}: each door has a socket of its own")
    return settings


def purposes_at(settings: DaemonSettings, socket: Path) -> frozenset[str]:
    """What somebody, whoever it is, has opened at that socket."""
    if socket == settings.socket:
        return frozenset(one for purposes in settings.openers.values() for one in purposes)
    return frozenset(
        one for door in settings.doors.values() if door.socket == socket for one in door.purposes
    )
