"""A secret in plain text that shows itself nowhere by accident."""

from __future__ import annotations

from typing import SupportsIndex

from tenancy.errors import Invalid


class Plain(bytes):
    """The bytes of a secret: equal to themselves as all bytes are, and shown as their number alone.

    A task that ended with it, a log line, a debugger's list of locals say `<12 secret bytes>`. It is no
    fence against who wants the secret, and a part or a copy of it is ordinary bytes again.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} secret bytes>"

    __str__ = __repr__

    def __format__(self, _: str) -> str:
        return repr(self)

    def __reduce_ex__(self, _: SupportsIndex) -> str:
        raise TypeError("a secret is not pickled")

    def text(self) -> str:
        """As text. Raises Invalid, without the secret in it, where it is not ASCII.

        `decode()` raises an error that carries the bytes.
        """
        if not self.isascii():
            raise Invalid("the secret is not text")
        return self.decode("ascii")
