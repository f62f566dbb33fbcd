"""A request for each operation that is answered with a yes, for the matrix and whoever else needs one.

Operations whose body is in SPENT, and those without a body, need no example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.admin.objects import Rollback
from tests.integration.gateway.furniture import unique

Build = Callable[[Mapping[str, str]], Any]


class Example(msgspec.Struct, frozen=True):
    """`body` from the ids that stand in for each name. `ids`: members that name other objects.

    `needs`: of which a new one is made for each call. `foreign`: the body in which another tenant's
    ids are tried, where that is not `body`. `places`: what stands in the address for what is no
    object. `query`: what an operation cannot do without.
    """

    body: Build | None = None
    ids: frozenset[str] = frozenset()
    needs: tuple[str, ...] = ()
    foreign: Build | None = None
    places: Mapping[str, str] = {}
    query: str = ""


def _named(ids: Mapping[str, str]) -> Any:
    return {"name": unique()}


def _own(*names: str, **more: Any) -> Build:
    """These ids, and more."""
    return lambda ids: {name: ids.get(name) for name in names} | more


def _account(ids: Mapping[str, str]) -> Any:
    return _own("group_id", name=unique(), broker="paper", currency="USDT")(ids)


_PAIR = frozenset({"strategy_id", "account_id"})

SPENT: Mapping[Any, Any] = {Rollback: {"revision": 1}}
"""Bodies that say the same wherever they are."""

EXAMPLES: dict[str, Example] = {
    "get_docs_file": Example(places={"file": "start.js"}),
    "create_strategy": Example(_named),
    "create_group": Example(_named),
    "create_account": Example(_account, frozenset({"group_id"})),
    "change_account": Example(_own("group_id"), frozenset({"group_id"})),
    "create_hook": Example(_own("strategy_id", name="h"), frozenset({"strategy_id"})),
    "change_hook": Example(_own("strategy_id"), frozenset({"strategy_id"})),
    "create_service_key": Example(_named),
    "create_subscription": Example(_own(*_PAIR), _PAIR, needs=("account_id",)),
    "change_subscription": Example(_own(enabled=False), _PAIR, foreign=_own(*_PAIR)),
}
