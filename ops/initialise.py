"""Make everything a developer's machine needs, once: `portcullis init`. A start creates nothing.

1. Directories, dev certificates, SoftHSM's store, the daemons' files.
2. The PostgreSQL cluster, its roles and database.
3. Tokens, schema, the platform with its operators' first key (ops/installation.py).
4. The backup repository, where one is asked for.
5. `portcullis.toml`, last: where it exists, 1 to 4 are complete.

A crash before step 5 leaves pieces without a settings file; running it again keeps a finished
cluster and goes on. Where `portcullis.toml` exists, init refuses: it never overwrites keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from ops.backup.prepare import ALONE, prepare
from ops.installation import install
from ops.paths import Places, make_private
from ops.settings import (
    ADMIN_OPENS,
    AUDIT_OPENS,
    INGRESS_OPENS,
    HsmSettings,
    Settings,
    decode_settings,
)
from ops.stack import softhsm
from ops.stack.postgres import Postgres
from ops.stack.redis import RedisServer
from ops.tls import create_dev_certificates, write_private
from ops.toml import dumps
from tenancy.errors import ConfigurationError

PAPER_INSTRUMENTS = [
    {
        "symbol": symbol,
        "multiplier": multiplier,
        "lot_step": "1",
        "min_qty": "1",
        "max_qty": "1000000",
        "tick": tick,
        "currency": "USDT",
        "last_price": price,
        "spread_bps": "2",
    }
    for symbol, multiplier, tick, price in (
        ("BTC_USDT", "0.0001", "0.1", "60000"),
        ("ETH_USDT", "0.01", "0.01", "3000"),
    )
]


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between a developer's `up`, the demo and a test. Port 0 takes a free one."""

    ingress_port: int = 8443
    admin_port: int = 9443
    ingress_processes: int = 1
    worker_processes: int = 2
    otlp_endpoint: str | None = None
    rate_per_minute: int = 60
    rate_per_hour: int = 500
    open_window_s: float = 30.0
    signal_age_max_s: float = 60.0
    durable_within_ms: int = 4_000
    api_rates: Mapping[str, int] = {}
    backup: Path | None = None
    """Where the backup repository is to be made; None: nothing is archived."""
    brokers: Mapping[str, Mapping[str, Any]] = msgspec.field(
        default_factory=lambda: {"paper": {"instruments": PAPER_INSTRUMENTS}}
    )


def initialise(places: Places, choices: Choices, now: datetime) -> Settings:
    """Raises ConfigurationError where there is an installation, or a part is not installed."""
    if places.settings.exists():
        raise ConfigurationError(
            f"{places.settings} exists: this is initialised already. `portcullis up` starts it"
        )
    text = dumps(document(places, choices))
    settings = decode_settings(text.encode(), str(places.settings))
    make_private(places.var)
    make_private(places.runtime)
    places.log.mkdir(exist_ok=True, mode=0o700)
    (places.var / "secrets").mkdir(exist_ok=True, mode=0o700)
    create_dev_certificates(places.var / "tls", now)
    _create_hsm(places, settings)
    _create_database(places, settings)
    write_private(places.settings, text.encode())
    return settings


def document(places: Places, choices: Choices) -> dict[str, Any]:
    """The settings file's content."""
    postgres, redis = Postgres(places), RedisServer(places)
    tls = {"certificate": places.var / "tls/server.pem", "key": places.var / "tls/server.key"}
    hsm, secrets = places.var / "hsm", places.var / "secrets"
    roles = ("owner", "admin", "ingress", "worker", "recorder")
    return {
        "instance": {"name": "portcullis-dev", "var": places.var, "runtime": places.runtime},
        "stack": {"postgres": True, "redis": True},
        "database": {**{role: postgres.conninfo(role) for role in roles}, "pool_size": 8},
        "redis": {"url": redis.url},
        "hsm": {
            "module": softhsm.module(),
            "softhsm_conf": hsm / "softhsm2.conf",
            "enrol_label": "portcullis-enrol",
            "sign_label": "portcullis-sign",
            "enrol_pin_file": secrets / "enrol.pin",
            "enrol_so_pin_file": secrets / "enrol-so.pin",
            "sign_pin_file": secrets / "sign.pin",
            "sign_so_pin_file": secrets / "sign-so.pin",
            "signer_config": hsm / "signer.toml",
            "enroller_config": hsm / "enroller.toml",
            "signer_socket": places.runtime / "signer.sock",
            "enroller_socket": places.runtime / "enroller.sock",
            "hook_socket": places.runtime / "signer-hook.sock",
            "admin_socket": places.runtime / "signer-admin.sock",
            "audit_socket": places.runtime / "signer-audit.sock",
        },
        "ingress": {
            "host": "127.0.0.1",
            "port": choices.ingress_port,
            "processes": choices.ingress_processes,
            "body_limit_bytes": 65536,
            "time_window_s": 300,
            "rate_per_minute": choices.rate_per_minute,
            "rate_per_hour": choices.rate_per_hour,
            "base_url": f"https://localhost:{choices.ingress_port}",
            "tls": tls,
        },
        "admin": {
            "host": "127.0.0.1",
            "port": choices.admin_port,
            "base_url": f"https://localhost:{choices.admin_port}",
            "tls": tls,
            "rates": dict(choices.api_rates),
        },
        "worker": {
            "processes": choices.worker_processes,
            "lease_ttl_s": 5.0,
            "sweep_s": 0.5,
            "open_window_s": choices.open_window_s,
            "signal_age_max_s": choices.signal_age_max_s,
            "durable_within_ms": choices.durable_within_ms,
        },
        "recorder": {"store": places.var / "audit"},
        "clock": {"error_max_ms": 50.0},
        **_backup(postgres, choices.backup),
        "telemetry": {"log_level": "info", "otlp_endpoint": choices.otlp_endpoint},
        "brokers": choices.brokers,
    }


def _backup(postgres: Postgres, repository: Path | None) -> dict[str, Any]:
    """`[backup]`, where it was asked for."""
    if repository is None:
        return {}
    return {
        "backup": {
            "directory": repository.absolute(),
            "database": postgres.conninfo("backup"),
            "synchronous": True,
            "keep": 7,
        }
    }


def _create_hsm(places: Places, settings: Settings) -> None:
    """The store and the daemons' own files."""
    (places.var / "hsm").mkdir(exist_ok=True, mode=0o700)
    softhsm.create_store(places.var / "hsm")
    hsm = settings.hsm
    for label, pin_file, sock, config, more in (
        (
            hsm.sign_label, hsm.sign_pin_file, hsm.signer_socket, hsm.signer_config,
            {"doors": doors(hsm)},
        ),
        (hsm.enrol_label, hsm.enrol_pin_file, hsm.enroller_socket, hsm.enroller_config, {}),
    ):  # fmt: skip
        daemon = {
            "module": hsm.module,
            "softhsm_conf": hsm.softhsm_conf,
            "profile": hsm.profile,
            "token_label": label,
            "pin_file": pin_file,
            "socket": sock,
            **more,
        }
        write_private(Path(config), dumps(daemon).encode())


def doors(hsm: HsmSettings) -> dict[str, Any]:
    """The signer's further sockets on a host where every process runs as one user.

    The management listener signs one thing: the empty checkpoint of a log that it makes. It opens audit
    keys at its own door too, to seal them anew when a tenant's keys were rotated.
    """
    return {
        "ingress": {"socket": hsm.hook_socket, "purposes": [*INGRESS_OPENS]},
        "admin": {
            "socket": hsm.admin_socket,
            "purposes": [*ADMIN_OPENS],
            "signs": True,
        },
        "audit": {"socket": hsm.audit_socket, "purposes": [*AUDIT_OPENS]},
    }


def _create_database(places: Places, settings: Settings) -> None:
    # An init that was cut short may have said already that commits wait for an archive, which runs not yet.
    postgres = Postgres(places, ALONE)
    if not postgres.exists():
        postgres.create()
    postgres.start()
    try:
        postgres.create_database()
        install(settings, places.keys)
        if settings.backup is not None:
            prepare(settings)
    finally:
        postgres.stop()
