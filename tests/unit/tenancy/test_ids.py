"""Names that people type."""

from __future__ import annotations

import secrets

import pytest

from tenancy.ids import new_hook_id


def test_a_hooks_name_is_never_taken_for_an_option(monkeypatch: pytest.MonkeyPatch):
    """`portcullis hook send -mtO…` failed once in sixty-four."""
    made = iter(["-first", "-second", "third"])
    monkeypatch.setattr(secrets, "token_urlsafe", lambda size: next(made))
    assert new_hook_id() == "third"
