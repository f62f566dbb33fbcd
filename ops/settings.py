"""One TOML file says how this host runs; here it becomes frozen structs, or a sentence about what is wrong.

Unknown keys are refused with their path. What limits or protects has no default: somebody wrote
it down. Secrets are names of secrets: files that only their process may read. A broker's table
stays a plain dict here; the broker's own settings struct reads it when the process is wired.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from fanout.breaker import BreakerSettings
from gateway.admin.limits_on_use import ApiRateSettings
from gateway.notify.settings import PushSettings, SmtpSettings
from hsm import pins
from hsm.settings import TokenPair
from ops.backup.settings import BackupSettings
from ops.clock.settings import ClockSettings
from ops.listener_settings import ListenerSettings, Server, Tls, check_socket_path
from tenancy.errors import UNREADABLE, ConfigurationError

Count = Annotated[int, Meta(ge=1, le=256)]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]
Hours = Annotated[float, Meta(gt=0, le=720)]
Days = Annotated[float, Meta(ge=1, le=3650)]


class Instance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where this installation keeps what it writes."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    var: Path  # data, logs, keys
    runtime: Path  # sockets and state.json; short, see ops/paths.py


class Stack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Present where the supervisor also runs PostgreSQL and Redis of its own (a developer's machine)."""

    postgres: bool
    redis: bool


class DatabaseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """libpq connection strings, one per role. A password belongs in `passfile`, never here."""

    owner: str
    admin: str
    ingress: str
    worker: str
    recorder: str
    pool_size: Count

    def __post_init__(self) -> None:
        for role in ("owner", "admin", "ingress", "worker", "recorder"):
            if "password=" in getattr(self, role).replace(" ", "").lower():
                raise ValueError(f"{role}: holds a password; name a `passfile=` instead")


class RedisSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`url`: unix:///path or rediss://host:port/0."""

    url: str


class DaemonAt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One more daemon of this host: its own settings file, and the socket that stands in it."""

    config: Path
    socket: Path

    def __post_init__(self) -> None:
        check_socket_path(self.socket, "socket")


INGRESS_OPENS, ADMIN_OPENS = ("hook",), ("audit", "channel", "probe", "totp")
AUDIT_OPENS = ("audit",)
"""Purposes of the secrets that each has opened, at a door of its own (hsm/openers.py)."""


class HsmSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The tokens. The daemons' own files say the rest (hsm/settings.py); PINs are named by their
    sources (hsm/pins.py): files, systemd credentials, prompts.

    `more_signers`: signers at further HSMs that hold the same keys (`mirrors`), in the order in which
    they are asked where the first is away.
    """

    module: Path
    softhsm_conf: Path | None = None
    profile: str = "softhsm"
    """What is particular to the token: one of hsm/profiles/, or a file (docs/hsm/profiles.md)."""
    enrol_label: str
    sign_label: str
    enrol_pin_file: Path
    enrol_so_pin_file: Path
    sign_pin_file: Path
    sign_so_pin_file: Path
    mirrors: list[TokenPair] = []
    """Further HSMs with the same tenants' keys: their tokens, through the same library."""
    signer_config: Path
    enroller_config: Path
    signer_socket: Path
    enroller_socket: Path
    hook_socket: Path | None = None
    """Where ingress has hooks' secrets opened (hsm/openers.py); `signer_socket`, if not said."""
    admin_socket: Path | None = None
    """Where the management listener has people's and channels' secrets opened; likewise."""
    audit_socket: Path | None = None
    """Where every process that writes audit records has their tenants' audit keys opened; likewise."""
    more_signers: tuple[DaemonAt, ...] = ()

    @property
    def signer_sockets(self) -> dict[str, Path]:
        """Every signer of this host by its name, the preferred one first."""
        more = {f"signer{index}": one.socket for index, one in enumerate(self.more_signers, 2)}
        return {"signer": self.signer_socket, **more}

    def door(self, purpose: str) -> Path:
        """Where the preferred signer opens secrets of that purpose."""
        own = {
            **dict.fromkeys(INGRESS_OPENS, self.hook_socket),
            **dict.fromkeys(ADMIN_OPENS, self.admin_socket),
            **dict.fromkeys(AUDIT_OPENS, self.audit_socket),
        }
        return own.get(purpose) or self.signer_socket

    def __post_init__(self) -> None:
        for name in ("signer_socket", "enroller_socket", "hook_socket", "admin_socket",
                     "audit_socket"):  # fmt: skip
            if (path := getattr(self, name)) is not None:
                check_socket_path(path, name)


class IngressSettings(ListenerSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The public listener. `base_url` is what senders' addresses begin with.

    `server`: what speaks HTTP. "uvicorn" is for a `socket` alone: the proxy ends what arrives slowly.
    `wait_…` is about senders that wait for the outcome (`Prefer: wait=N`): how long at most (0: never),
    and how many in each process.
    """

    processes: Count
    server: Server = "hypercorn"
    body_limit_bytes: Annotated[int, Meta(ge=1024, le=16 * 1024 * 1024)]
    time_window_s: Annotated[int, Meta(ge=10, le=3600)]
    rate_per_minute: Positive
    rate_per_hour: Positive
    wait_max_s: Annotated[int, Meta(ge=0, le=30)] = 30
    wait_senders_max: Positive = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.server == "uvicorn" and self.socket is None:
            raise ValueError(
                "server: uvicorn is for a listener behind a proxy: set socket in place of host, port and tls"
            )


class OidcSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[admin.oidc.<name>]`: an identity provider for the people of one tenant.

    `domains`: whose verified e-mail addresses it may speak for. `second_factor`: "provider" takes its
    word where it says `mfa`, "own" asks for one of ours.
    """

    issuer: str
    client_id: str
    client_secret_file: Path
    tenant: str
    domains: Annotated[tuple[str, ...], Meta(min_length=1)]
    second_factor: Literal["provider", "own"]


class AdminSettings(ListenerSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The management listener. `base_url` is what links in answers begin with, and where browsers are.

    `client_ca`: PEM of the authority whose client certificates service keys may be bound to; behind a
    `socket` the proxy has it.
    `notify_…` is about notification channels (gateway/notify/settings.py): addresses beside public
    ones that webhooks may go to, authorities beside the system's, when a channel is called failing,
    how old a record may be that is still sent. `push`: Web Push to people's devices; without it there
    is none. `rates`: limits on use of this listener.
    `exports`: where packages of audit records lie for a week; else `exports` beside the recorder's store.
    """

    client_ca: Path | None = None
    oidc: dict[Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,31}$")], OidcSettings] = (
        msgspec.field(default_factory=dict)
    )
    notify_allow_networks: tuple[str, ...] = ()
    notify_ca_file: Path | None = None
    notify_failing_after_hours: Hours = 24.0
    notify_backlog_days: Days = 30.0
    smtp: SmtpSettings | None = None
    push: PushSettings | None = None
    rates: ApiRateSettings = ApiRateSettings()
    exports: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.socket is not None and self.client_ca is not None:
            raise ValueError("client_ca: behind a socket the proxy looks at client certificates")
        for text in self.notify_allow_networks:
            try:
                ipaddress.ip_network(text)
            except ValueError as error:
                raise ValueError(f"notify_allow_networks: {error}") from None


class WorkerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seconds as in fanout.worker.WorkerSettings, whose other figures are no operator's business.

    `lease_ttl_s` outlives the longest broker request. `open_window_s`: no attempt to open a
    position begins later after its plan. `signal_age_max_s`: an older signal is refused. `stops_s`:
    between two looks at the prices that held orders wait for. `reconcile_s`: between two comparisons of an
    account's book with its broker's. `durable_within_ms`: an order that opens is
    not sent when its audit record took longer to be durable. `spill`: the directory, on a local disk, of
    what must not wait for PostgreSQL (cancels and reductions); `<var>/spill` where none is named.
    `stuck_s`: an order that closes a position and cannot be sent is shown among what is in doubt after
    so long. `doubt_old_s`: what is in doubt for longer is told to people, once. `breaker`: after how many
    failures in a row what opens waits for a broker, or for one account's (fanout/breaker.py).
    """

    processes: Count
    lease_ttl_s: Seconds
    sweep_s: Seconds
    open_window_s: Seconds
    signal_age_max_s: Seconds
    stops_s: Seconds = 0.5
    reconcile_s: Seconds = 60.0
    durable_within_ms: Annotated[int, Meta(ge=100, le=60_000)] = 4_000
    spill: Path | None = None
    stuck_s: Seconds = 5.0
    doubt_old_s: Seconds = 60.0
    breaker: BreakerSettings = BreakerSettings()


StoreName = Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,31}$")]


class DirectoryStore(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind",
    tag="directory",
):  # fmt: skip
    """One more set of the audit log's files, in a directory: best on another machine's disk.

    `every_s`: between two looks at what is new.
    """

    name: StoreName
    path: Path
    every_s: Seconds = 1.0


class S3StoreSettings(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="kind",
    tag="s3",
):
    """One more set, in a bucket with Object Lock. `credentials_file`: the access key's id and secret,
    one per line. `edge_days`: the lock of what is replaced soon (the checkpoint, partial tiles)."""

    name: StoreName
    endpoint: str
    region: str
    bucket: Annotated[str, Meta(min_length=3, max_length=63)]
    prefix: Annotated[str, Meta(pattern="^([A-Za-z0-9_-]+/)*$")] = ""
    credentials_file: Path
    ca_file: Path | None = None
    every_s: Seconds = 60.0
    edge_days: Days = 7.0


class RecorderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`store`: the write-once directory of tiles and checkpoints, whose state is the published one.

    `stores`: further sets of the same files (audit/keeping.py). `retain_days`: for how long files are
    kept at least; a tenant's retention classes may ask for more, nothing asks for less. `sealer`: the
    socket of the process that makes directories' files immutable (audit/worm/sealer.py); without it
    they are `worm: advisory`.
    `check_records_per_s`: how fast the continuous check reads at most. It shares the recorder's
    processor; a log is read through once in (records / this) seconds.
    `anchor_every_s`: between two anchors of all logs. `witness_policy`: a C2SP tlog-policy file, whose
    witnesses with an address are asked to cosign each anchor, `witness_timeout_s` for all of them together.
    """

    store: Path
    stores: tuple[DirectoryStore | S3StoreSettings, ...] = ()
    retain_days: Annotated[int, Meta(ge=1, le=36_525)] = 2_192  # six years: SEC 17a-4, FINRA 4511
    sealer: Path | None = None
    check_records_per_s: Count = 5000
    anchor_every_s: Annotated[float, Meta(ge=1, le=86400)] = 60.0
    witness_policy: Path | None = None
    witness_timeout_s: Annotated[float, Meta(gt=0, le=60)] = 5.0

    def __post_init__(self) -> None:
        names = ["first", *(one.name for one in self.stores)]
        if len(set(names)) != len(names):
            raise ValueError("stores: each needs a name of its own, and none is called `first`")
        if self.store in [one.path for one in self.stores if isinstance(one, DirectoryStore)]:
            raise ValueError("stores: a further set is not where the first one is")
        if self.sealer is not None:
            check_socket_path(self.sealer, "sealer")


class AuditSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`append_wait_ms`: how long an audit record may take to be written. Beyond, what it describes is
    refused as `audit_unavailable`: no order is sent."""

    append_wait_ms: Annotated[int, Meta(ge=50, le=60_000)] = 2_000


class TelemetrySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Spans go to `otlp_endpoint` (http(s)://…/v1/traces) where there is one, else nowhere; of the
    traces, `sample_ratio` are recorded (docs/operating/logs-and-traces.md)."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otlp_endpoint: str | None = None
    sample_ratio: Annotated[float, Meta(ge=0, le=1)] = 1.0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    instance: Instance
    database: DatabaseSettings
    redis: RedisSettings
    hsm: HsmSettings
    ingress: IngressSettings
    admin: AdminSettings
    worker: WorkerSettings
    recorder: RecorderSettings
    audit: AuditSettings = AuditSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    clock: ClockSettings | None = None
    """Absent: no agent runs, and every record says that the clock is unknown."""
    backup: BackupSettings | None = None
    """Absent: nothing is archived, and what this host's disk loses is lost."""
    stack: Stack | None = None
    brokers: dict[str, dict[str, Any]]

    @property
    def listeners(self) -> dict[str, ListenerSettings]:
        """Both, by the name of their process."""
        return {"ingress": self.ingress, "admin": self.admin}

    @property
    def own_tls(self) -> dict[str, Tls]:
        """Certificate and key of each listener that ends TLS itself."""
        return {name: at.tls for name, at in self.listeners.items() if at.tls is not None}


def decode_settings(text: bytes, name: str = "settings") -> Settings:
    """Raises ConfigurationError: names the key, what was found and what would be right."""
    try:
        return msgspec.toml.decode(text, type=Settings, dec_hook=_path)
    except UNREADABLE as error:
        raise ConfigurationError(f"{name}: {error}") from None


def read_settings(path: Path) -> Settings:
    """Read and check `path`. Raises ConfigurationError, also where others may write the file."""
    try:
        mode = path.stat().st_mode
        text = path.read_bytes()
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} does not exist. `portcullis init` writes one; "
            "or say where yours is with --settings or PORTCULLIS_SETTINGS"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    if mode & 0o022:
        raise ConfigurationError(f"{path} may be written by others: chmod 0600 it")
    return decode_settings(text, str(path))


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        path = Path(value)
        if pins.is_file(path) and not path.is_absolute():
            raise ValueError(f"an absolute path is needed, got {value!r}")
        return path
    raise NotImplementedError(kind)
