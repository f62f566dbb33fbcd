"""What a request says becomes typed values, however it was written."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.admin.errors import Malformed
from gateway.admin.groups import GroupDocument
from gateway.admin.reading import merged


def test_a_patch_nested_without_end_is_refused_and_breaks_nothing() -> None:
    patch: dict[str, Any] = {}
    for _ in range(50_000):
        patch = {"settings": patch}
    with pytest.raises(Malformed, match="deeper"):
        merged(GroupDocument(name="g"), patch)
