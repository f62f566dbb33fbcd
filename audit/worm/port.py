"""What the recorder and the keeping need from a store of write-once files, and what the store promises."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

from audit.manifest import File
from tenancy.errors import PortcullisError

Worm = Literal["enforced", "advisory"]


class Conflict(PortcullisError):
    """A name that was written once already holds other bytes: the log must halt, not choose."""

    code = "audit_store_conflict"


class NotKept(PortcullisError):
    """A store acknowledged a file, and what was read back is not what was asked for. Nothing that
    rests on the file may be said to be kept; the same may be tried again."""

    code = "audit_store_not_kept"


class Store(Protocol):
    """One log's files. Names are relative, as tlog-tiles spells them.

    Trust: the store is trusted to keep what it acknowledged and what it showed when it was read
    back, never for what it holds; every reader checks hashes against a signed checkpoint.
    """

    @property
    def worm(self) -> Worm:
        """`enforced` only where nothing that shall be permanent was seen to be removable."""
        ...

    def create(self, files: Sequence[tuple[str, bytes]], *, seal: bool) -> None:
        """Write each file once; on return files and names are durable.

        A name that exists with the same bytes is success (a crash came between); with other bytes
        it raises Conflict. `seal`: these are for keeps, keep() will be asked for them; the others are
        partial and may go. Raises OSError where the disk or the network fails, NotKept: then any
        part of the files may stand, each of them whole.
        """
        ...

    def keep(self, names: Sequence[str], until: datetime) -> list[File]:
        """Make existing files permanent until then, at least, and say what was read back of each.

        `until` never becomes earlier by this. Where permanence cannot be had the store is
        `advisory`, which is no error. Raises FileNotFoundError, OSError, NotKept.
        """
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Set a mutable file (`checkpoint`; `vkey`, when a key joins), atomically and durably."""
        ...

    def read(self, name: str) -> bytes | None:
        """The bytes, or None where no such file is. Of a write-once name: those written first."""
        ...

    def every(self, name: str) -> list[bytes]:
        """All versions of a mutable file that are still there, the newest first. For a restore."""
        ...

    def prune(self, names: Sequence[str]) -> None:
        """Remove partial tiles whose full tile stands. A name that is gone is no error."""
        ...

    def names(self) -> Sequence[str]:
        """All tiles' names."""
        ...
