"""An operation of the admin API, as a value: what it is called, who may do it, what goes in and out.

The list of all of them (gateway/admin/operations.py) is the API. From it come the routes, the
check of who may, the OpenAPI document, the problem codes that each may answer, and the matrix test
that calls every one as every role. Nothing but health and metrics is reachable without being in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar
from uuid import UUID

import msgspec
from redis.asyncio import Redis

from fanout.calendars import Calendars
from fanout.pictures import Pictures
from fanout.wake import Wake
from gateway.admin.archive import Archive
from gateway.admin.event_stream import Hub
from gateway.admin.hook_wire import PostToHook
from gateway.admin.platform_state import AskState
from gateway.admin.sign_in import SignIn
from gateway.notify.sender import Sender
from hsm.client import EnrollerClient, SignerClient
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.errors import ConfigurationError, NotFound
from tenancy.scope import TenantScope
from tenancy.tenant import TenantKind

Method = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]
T = TypeVar("T")


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls, proven: made by gateway/admin/auth.py alone.

    `credential` is what a rate and an idempotency key are counted for (a key's id, a session's id);
    `second_factor`: a person showed one in this session; `must_enrol`: their roles need one and there
    is none yet. `home`: the tenant that the caller belongs to where that is another than the one it
    looks at (an operator who was let in); `until`: when that ends, and a stream with it.
    """

    scope: TenantScope
    kind: TenantKind
    actions: frozenset[str]
    credential: str
    person_id: UUID | None = None
    session_id: str | None = None
    second_factor: bool = False
    must_enrol: bool = False
    home: UUID | None = None
    until: datetime | None = None


class Allowed(Protocol):
    """What a rate says of one request."""

    @property
    def allowed(self) -> bool: ...

    @property
    def retry_after_s(self) -> int: ...

    def headers(self) -> tuple[tuple[str, str], ...]:
        """RateLimit headers of the answer."""
        ...

    def refusal(self) -> str:
        """Which quotas are used up."""
        ...


class Rates(Protocol):
    """Counts requests per credential and per tenant; never raises for what Redis does."""

    async def take(self, credential: str, tenant: UUID, cost: Literal["read", "write"]) -> Allowed:
        """Decide and count."""
        ...

    async def take_unsigned(self, client: str) -> Allowed:
        """Decide and count one request of an address that showed no good credential."""
        ...


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """What handlers may reach beside their transaction."""

    database: Database
    redis: Redis
    enroller: EnrollerClient
    signer: SignerClient
    clock: Clock
    brokers: tuple[str, ...]
    hooks_base_url: str
    rates: Rates | None = None
    sign_in: SignIn | None = None
    notifier: Sender | None = None
    archive: Archive | None = None
    pictures: Pictures = msgspec.field(default_factory=Pictures)
    calendars: Calendars = msgspec.field(default_factory=Calendars)
    events: Hub = msgspec.field(default_factory=Hub)
    audit_store: Path | None = None
    """The logs' published files, where this process may read them: for proofs."""
    state: AskState | None = None
    """Looks at the host and its processes."""
    post_to_hook: PostToHook | None = None
    """Sends to a hook of this installation, over the wire, as any sender does."""


class Call(msgspec.Struct, kw_only=True):
    """One request, authenticated, permitted and decoded, inside its transaction.

    `conn` is open in the caller's tenant; it is committed after the handler returned and before the
    answer is sent. An operation that anybody may call has neither a principal nor a transaction.
    """

    operation: Operation
    services: Services
    path: Mapping[str, str]
    query: Any = None
    body: Any = None
    patch: Mapping[str, Any] | None = None
    if_match: int | str | None = None
    why: str = ""
    client: str = ""
    headers: Mapping[str, str] = {}
    cookies: Mapping[str, str] = {}
    trace_id: str = ""
    _principal: Principal | None = None
    _conn: Connection | None = None

    @property
    def principal(self) -> Principal:
        assert self._principal is not None, "an operation for anybody has no principal"
        return self._principal

    @property
    def scope(self) -> TenantScope:
        return self.principal.scope

    @property
    def conn(self) -> Connection:
        assert self._conn is not None, "an operation for anybody opens its own transaction"
        return self._conn

    @property
    def sign_in(self) -> SignIn:
        """What people come in with. Raises ConfigurationError where the process was started without it."""
        if self.services.sign_in is None:
            raise ConfigurationError("this process was started without what people sign in with")
        return self.services.sign_in

    def uuid(self, name: str) -> UUID:
        """The id in the path. Raises NotFound for what is no UUID: there is no such object."""
        try:
            return UUID(self.path[name])
        except ValueError:
            raise NotFound(f"{name} is a UUID; there is no such object") from None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler answers with.

    `once`: members that are added to this answer and to no repeat of it (secrets shown once).
    `revision` becomes the ETag. `status` replaces the operation's own (202 for a proposal).
    `file`: sent as it lies there, in place of any content.
    """

    content: Any = None
    status: int | None = None
    revision: int | None = None
    location: str | None = None
    once: Mapping[str, Any] = {}
    headers: tuple[tuple[str, str], ...] = ()
    stream: AsyncIterable[bytes] | None = None
    file: Path | None = None
    wakes: tuple[Wake, ...] = ()
    """Told to the workers after the commit; a hint, whose loss costs a moment."""

    def __repr__(self) -> str:
        """Without what it says: `once` is secrets, and so may a part of `content` be."""
        return f"<Result {self.status or ''} of {type(self.content).__name__}>"


Handle = Callable[[Call], Awaitable[Result]]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method at one address.

    `action`: what the caller must be allowed to do; "self" is everybody who signed in, None is
    anybody. `conditional`: If-Match is needed (`digest`: with a digest, not a revision).
    `merge_patch`: the document that a JSON Merge Patch (RFC 7396) applies to, in place of a body.
    `also`: further 2xx answers and their types. `platform`: only within the platform's own tenant.
    `foreign_query`: somebody else writes the query (an identity provider): what we do not know in it
    is passed by. `places`: the types of what the address names, where they are no UUIDs. `media`: the
    media types of an answer that is no JSON. `shows_once`: the members that Result.once adds;
    not `always_shows`: some answers have no such members (an e-mail channel signs nothing).
    `question`: a POST that changes nothing, because what is asked does not fit into an address.
    """

    name: str
    method: Method
    path: str
    summary: str
    tag: str
    action: str | None
    handle: Handle
    answer: Any = None
    status: int = 200
    also: Mapping[int, Any] = {}
    body: Any = None
    merge_patch: Any = None
    query: Any = None
    foreign_query: bool = False
    body_max_bytes: int = 0
    conditional: bool = False
    digest: bool = False
    platform: bool = False
    stream: bool = False
    html: bool = False
    media: tuple[str, ...] = ()
    places: Mapping[str, Any] = {}
    shows_once: tuple[str, ...] = ()
    always_shows: bool = True
    question: bool = False
    problems: tuple[str, ...] = ()
    detail: str = ""

    @property
    def changes(self) -> bool:
        return self.method != "GET" and not self.question

    @property
    def once(self) -> bool:
        """Whether an Idempotency-Key means anything: the answer is kept for a repeat."""
        return self.method == "POST" and self.action is not None and self.changes
