"""Why it would not start: every check that a start would trip over, done beforehand and all at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from hsm.profile import check_guards, read_profile
from hsm.settings import purposes_at, read_daemon_settings
from ops import migrate
from ops.backup.layout import Places as Repository
from ops.compose import check_worker
from ops.paths import Places
from ops.settings import (
    ADMIN_OPENS,
    AUDIT_OPENS,
    INGRESS_OPENS,
    DirectoryStore,
    HsmSettings,
    Settings,
)
from ops.stack import postgres, redis
from ops.state import read_state
from ops.stores import bucket_of
from tenancy.clock import SystemClock
from tenancy.errors import ConfigurationError, PortcullisError

FREE_BYTES_LEAST = 1 << 30


class Finding(NamedTuple):
    """One check. `problem` None: it is well."""

    name: str
    problem: str | None


def preflight(settings: Settings) -> list[Finding]:
    """All findings; never raises for what it finds."""
    return [
        *_files(settings),
        *_programs(settings),
        _disk(settings),
        *_stores(settings),
        *of_settings(settings),
        *_openers(settings),
        *_backup(settings),
        _schema(settings),
    ]


def of_settings(settings: Settings) -> list[Finding]:
    """What the file alone tells, on a host where nothing else is there yet."""
    return [Finding("brokers and leases", _problem(lambda: check_worker(settings)))]


def _files(settings: Settings) -> Iterator[Finding]:
    for tls in settings.own_tls.values():
        yield _readable("certificate", tls.certificate)
        yield _secret("TLS key", tls.key)
    hsm = settings.hsm
    yield _readable("PKCS#11 module", hsm.module)
    yield Finding("HSM profile", _problem(lambda: check_profile(hsm)))
    yield _secret("sign token's PIN", hsm.sign_pin_file)
    yield _secret("enrol token's PIN", hsm.enrol_pin_file)


def check_profile(hsm: HsmSettings) -> None:
    """Raise ConfigurationError where the profile guards no keys, or a daemon's file says another."""
    check_guards(read_profile(hsm.profile))
    for config in (hsm.signer_config, hsm.enroller_config):
        if os.access(config, os.R_OK) and read_daemon_settings(config).profile != hsm.profile:
            raise ConfigurationError(f"{config} says another profile than {hsm.profile!r}")


def _openers(settings: Settings) -> Iterator[Finding]:
    """Does the signer open for ingress and admin what they need? Its file may be another user's."""
    hsm = settings.hsm
    if not os.access(hsm.signer_config, os.R_OK):
        return
    try:
        signer = read_daemon_settings(hsm.signer_config)
    except PortcullisError as error:
        yield Finding("signer's settings", str(error))
        return
    for process, asked, needed in (
        ("ingress", hsm.hook_socket, set(INGRESS_OPENS)),
        ("admin", hsm.admin_socket, set(ADMIN_OPENS)),
        ("audit records", hsm.audit_socket, set(AUDIT_OPENS)),
    ):
        missing = sorted(needed - purposes_at(signer, asked or hsm.signer_socket))
        problem = (
            f"{hsm.signer_config} opens no secret for {', '.join(missing)} where it asks: add [openers]"
            " or [doors], see docs/hsm/memory.md"
        )
        yield Finding(f"secrets opened for {process}", problem if missing else None)


def _readable(name: str, path: Path) -> Finding:
    return Finding(f"{name} {path}", None if os.access(path, os.R_OK) else "cannot be read")


def _secret(name: str, path: Path) -> Finding:
    finding = _readable(name, path)
    if finding.problem is None and path.stat().st_mode & 0o077:
        return finding._replace(problem="others may read it: chmod 0600")
    return finding


def _programs(settings: Settings) -> Iterator[Finding]:
    if settings.stack is None:
        return
    for name, find in (("PostgreSQL", postgres.binaries), ("Redis", redis.binary)):
        yield Finding(f"{name} installed", _problem(find))
    places = Places(settings.instance.var, settings.instance.runtime)
    there = postgres.Postgres(places).exists()
    yield Finding("database cluster", None if there else "missing: `portcullis init` makes it")


def _stores(settings: Settings) -> Iterator[Finding]:
    """The audit log's further sets, as far as can be told without a network."""
    for one in settings.recorder.stores:
        if isinstance(one, DirectoryStore):
            there = one.path.is_dir() and os.access(one.path, os.W_OK)
            problem = None if there else f"{one.path} is not there, or cannot be written"
            yield Finding(f"audit store {one.name}", problem)
        else:
            make = partial(bucket_of, one, SystemClock())
            yield Finding(f"audit store {one.name}", _problem(make))
            yield _secret(f"audit store {one.name}'s key", one.credentials_file)


def _disk(settings: Settings) -> Finding:
    try:
        free = shutil.disk_usage(settings.instance.var).free
    except OSError as error:
        return Finding("disk space", f"{settings.instance.var}: {error.strerror}")
    enough = free >= FREE_BYTES_LEAST
    return Finding("disk space", None if enough else f"{free >> 20} MiB free, 1024 are needed")


def _schema(settings: Settings) -> Finding:
    """Would a process of this release start on it? Only a running database can say; a stack that is down
    has it checked when it starts."""
    running = read_state(settings.instance.runtime / "state.json") is not None
    if settings.stack is not None and settings.stack.postgres and not running:
        return Finding("schema (not checked: the private database is down)", None)
    return Finding("schema", _problem(lambda: migrate.require(settings.database.owner)))


def _backup(settings: Settings) -> Iterator[Finding]:
    """Without `[backup]` nothing is found; with it a start waits for what is missing here."""
    if (backup := settings.backup) is None:
        return
    places = Repository(backup.directory)
    yield Finding("backup repository", _problem(places.identity))
    if backup.tokens is not None:
        yield _readable("backup of the tokens", backup.tokens)


def _problem(find: Callable[[], object]) -> str | None:
    try:
        find()
    except PortcullisError as error:
        return str(error)
    return None
