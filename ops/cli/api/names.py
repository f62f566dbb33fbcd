"""From what people call an object to its id: by name, by id, a subscription as STRATEGY/ACCOUNT.

Which list holds the objects of an id (`strategy_id` → /v1/strategies) is read from the operations.
A name is looked for with the list's own filter where it has one, else page by page.
"""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from gateway.admin.operation import Operation
from gateway.admin.operations import OPERATIONS
from ops.api_client import Api
from tenancy.errors import Invalid, NotFound

_LAST = re.compile(r"\{(\w+)\}$")
CALLED_BY = ("name", "email")


def lists(operations: tuple[Operation, ...] = OPERATIONS) -> dict[str, Operation]:
    """Name of an id → the operation that lists such objects."""
    by_path = {op.path: op for op in operations if op.method == "GET"}
    found: dict[str, Operation] = {}
    for path, _ in by_path.items():
        last = _LAST.search(path)
        above = by_path.get(path[: last.start() - 1]) if last else None
        if last is not None and above is not None and "{" not in above.path:
            found.setdefault(last[1], above)
    return found


LISTS = lists()


async def identify(api: Api, id_name: str, said: str) -> str:
    """The id of the object that somebody means. Raises NotFound, Invalid where two have the name."""
    listed = LISTS.get(id_name)
    if listed is None or _is_id(id_name, said):
        return said
    noun = id_name.removesuffix("_id")
    if id_name == "subscription_id" and "/" in said:
        found = await _subscriptions(api, said)
    else:
        found = [item[id_name] async for item in _called(api, listed, said) if id_name in item]
    if len(found) == 1:
        return str(found[0])
    if not found:
        raise NotFound(
            f"there is no {noun} called {said!r}; `portcullis {_group(noun)} list` shows them all"
        )
    raise Invalid(f"{len(found)} objects are called {said!r}: say which by its id")


async def names(api: Api, id_name: str, begun: str, most: int = 50) -> list[str]:
    """What the objects are called whose name begins so."""
    listed = LISTS.get(id_name)
    if listed is None:
        return []
    found: list[str] = []
    async for item in api.items(listed.path):
        called = next((item[by] for by in CALLED_BY if item.get(by)), None)
        if called is not None and called.startswith(begun):
            found.append(called)
            if len(found) == most:
                break
    return found


def _is_id(id_name: str, said: str) -> bool:
    try:
        UUID(said)
    except ValueError:
        # Hooks' and keys' ids are random text, long and without blanks; names that look so are rare.
        return id_name in ("hook_id", "key_id") and re.fullmatch(r"[\w-]{16,}", said) is not None
    return True


async def _called(api: Api, listed: Operation, said: str) -> Any:
    filters = getattr(listed.query, "__struct_fields__", ())
    query = {"name": said} if "name" in filters else {}
    async for item in api.items(listed.path, **query):
        if said in (item.get(by) for by in CALLED_BY):
            yield item


async def _subscriptions(api: Api, said: str) -> list[str]:
    strategy, account = said.split("/", 1)
    ids = {
        "strategy_id": await identify(api, "strategy_id", strategy),
        "account_id": await identify(api, "account_id", account),
    }
    return [
        item["subscription_id"]
        async for item in api.items("/v1/subscriptions", account_id=ids["account_id"])
        if item["strategy_id"] == ids["strategy_id"]
    ]


def _group(noun: str) -> str:
    return {"person": "user", "grant": "access"}.get(noun, noun)
