"""Identity as an input: UUIDv7 (RFC 9562), so that ids sort by the time they were made.

uuid-utils makes them (Rust, kept up to date); the standard library has uuid7 only from 3.14.
"""

from __future__ import annotations

import secrets
from uuid import UUID

from uuid_utils.compat import uuid7 as _uuid7


def new_id() -> UUID:
    """A fresh UUIDv7."""
    return _uuid7()


def new_hook_id() -> str:
    """A hook's public name: some 192 random bits, URL-safe. Unguessable, but not a secret.

    Never begins with a hyphen: typed after `hook send` that would be read as an option.
    """
    while (name := secrets.token_urlsafe(24)).startswith("-"):
        pass
    return name
