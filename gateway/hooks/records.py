"""What the public listener tells the audit log, and the port through which it does.

A note goes into the log's inbox in the transaction of the change that it describes: neither
exists without the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import msgspec

from tenancy.database import Connection
from tenancy.scope import Actor
from tenancy.values import TenantID

NoteKind = Literal["signal.accepted", "signal.refused"]


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. `at_ns`: Unix nanoseconds; `payload` holds no secret and no float."""

    tenant_id: TenantID
    kind: NoteKind
    at_ns: int
    actor: Actor
    trace_id: str
    payload: dict[str, Any]


Record = Callable[[Connection, Sequence[Note]], Awaitable[None]]
"""Put the notes into the inbox inside the caller's transaction. Raises: the caller rolls back."""
