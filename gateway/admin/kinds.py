"""Every kind of object that people set up, by its name in proposals, revisions and audit records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.admin.accounts import ACCOUNT
from gateway.admin.changes import ObjectKind
from gateway.admin.channels import CHANNEL
from gateway.admin.groups import GROUP
from gateway.admin.hooks import HOOK
from gateway.admin.service_keys import SERVICE_KEY
from gateway.admin.strategies import STRATEGY
from gateway.admin.subscriptions import SUBSCRIPTION

KINDS: Mapping[str, ObjectKind[Any]] = {
    kind.name: kind for kind in (STRATEGY, GROUP, ACCOUNT, SUBSCRIPTION, HOOK, SERVICE_KEY, CHANNEL)
}
"""In the order in which they can be made: what refers comes after what it refers to."""
