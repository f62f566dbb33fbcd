"""What the recorder needs from a store of write-once files, and what the store promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from tenancy.errors import PortcullisError

Worm = Literal["enforced", "advisory"]


class Conflict(PortcullisError):
    """A name that was written once already holds other bytes: the log must halt, not choose."""

    code = "audit_store_conflict"


class Store(Protocol):
    """One log's files. Names are relative, as tlog-tiles spells them.

    Trust: the store is trusted to keep what it acknowledged, never for what it holds; every
    reader checks hashes against a signed checkpoint.
    """

    @property
    def worm(self) -> Worm:
        """`enforced` only when the last sealed file was seen to be immutable."""
        ...

    def create(self, files: Sequence[tuple[str, bytes]], *, seal: bool) -> None:
        """Write each file once; on return files and names are durable.

        A name that exists with the same bytes is success (a crash came between); with other bytes
        it raises Conflict. `seal` asks for immutability. Raises OSError where the disk fails: then
        any part of the files may stand, each of them whole.
        """
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Set a mutable file (`checkpoint`; `vkey`, when a key joins), atomically and durably."""
        ...

    def read(self, name: str) -> bytes | None:
        """The bytes, or None where no such file is."""
        ...

    def prune(self, names: Sequence[str]) -> None:
        """Remove partial tiles whose full tile stands. A name that is gone is no error."""
        ...

    def names(self) -> Sequence[str]:
        """All tiles' names."""
        ...
