"""Every operation, called as everybody; what is wrong with the answers, in sentences.

`complaints(stage, operations)` compares what happens with matrix.toml, which is written by hand and
knows nothing of the code's own tables. For each operation:

1. It has a row, and what anybody may call is in the row's own list.
2. Everybody in its row gets a yes (2xx), whoever is not gets 403, and nobody gets 401.
3. Ids of another tenant in its address and in its body are answered 404 or 422, and in its query
   with nothing; the other tenant's rows are what they were.
4. No answer holds an id of the other tenant's.
"""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from msgspec.inspect import StructType, multi_type_info

from gateway.admin.operation import Operation
from gateway.admin.reading import path_types
from tests.fixtures.api import Api, Client
from tests.integration.gateway.examples import EXAMPLES, SPENT, Example
from tests.integration.gateway.furniture import Furniture, furnish
from tests.integration.gateway.ingress import Reply

TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_name("matrix.toml").read_text())
ROWS: dict[str, tuple[str, ...]] = {
    name: tuple(roles.split()) for name, roles in TABLE["rows"].items()
}
ANYBODY = frozenset(TABLE["anybody"])
SELF = frozenset(TABLE["self"])
CUSTOMERS = ("admin", "trader", "approver", "compliance", "viewer", "examiner")
ROWS |= dict.fromkeys(SELF, (*CUSTOMERS, "operator"))


class Caller(msgspec.Struct):
    """Somebody with a role, at home in `tenant`, looking at `furniture`."""

    role: str
    client: Client
    furniture: Furniture
    headers: dict[str, str] = {}


AsRole = Callable[[str], Awaitable[tuple[Client, str]]]


class Stage(msgspec.Struct):
    """Two customers and the platform, furnished, and everybody who may come."""

    api: Api
    as_role: AsRole
    callers: list[Caller]
    own: Furniture
    other: Furniture


async def set_up(api: Api, as_role: AsRole) -> Stage:
    """`as_role(role)`: a client that may do exactly what that role may, and its actor's id."""
    own, other = await furnish(api, "admin"), await furnish(api, "other")
    platform = await furnish(api, "platform")
    callers = [Caller(role, (await as_role(role))[0], own) for role in CUSTOMERS]
    operator, operator_id = await as_role("operator")
    _let_in(api, operator_id)
    callers += [
        Caller("operator", operator, platform),
        Caller("let_in", operator, own, {"portcullis-tenant": str(api.tenant("admin"))}),
        Caller("stranger", operator, other, {"portcullis-tenant": str(api.tenant("other"))}),
        Caller("nobody", Client(api.app, ""), own),
    ]
    return Stage(api, as_role, callers, own, other)


def _let_in(api: Api, operator_id: str) -> None:
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute(
            "INSERT INTO access_grants (grant_id, tenant_id, operator_id, reason, minutes, state,"
            " expires_at) VALUES (gen_random_uuid(), %s, %s, 'to look', 60, 'granted', now() + '1 hour')",
            (api.tenant("admin"), operator_id),
        )


async def complaints(stage: Stage, operations: Sequence[Operation]) -> list[str]:
    """Everything that is wrong; nothing: the wall holds."""
    app = stage.api.with_operations(operations)
    found: list[str] = []
    for operation in operations:
        missing = list(_missing(operation))
        found += missing
        if not missing:
            found += await _by_role(stage, app, operation)
            found += await _across(stage, app, operation)
    return found


def stale_rows(operations: Sequence[Operation]) -> list[str]:
    """Rows and examples of operations that are no more."""
    names = {operation.name for operation in operations}
    return sorted((set(ROWS) | ANYBODY | set(EXAMPLES)) - names)


def _missing(operation: Operation) -> Any:
    name = operation.name
    if operation.action is None:
        if name not in ANYBODY:
            yield f"{name}: anybody may call it, and it is not in `anybody` of matrix.toml"
    elif name not in ROWS:
        yield f"{name}: matrix.toml has no row for it: write which roles may call it"
    elif (operation.action == "self") != (name in SELF):
        yield f"{name}: `self` of matrix.toml and the operation do not agree on whose it is"
    elif name in ANYBODY:
        yield f"{name}: `anybody` of matrix.toml names it, and it asks who calls"
    if name not in EXAMPLES and operation.body is not None and operation.body not in SPENT:
        yield f"{name}: examples.py has no body for it: write one that is answered with a yes"
    wanted = _id_members(operation.body) | _id_members(operation.merge_patch)
    given = EXAMPLES[name].ids if name in EXAMPLES else frozenset()
    if wanted - given:
        yield f"{name}: its example names no {', '.join(sorted(wanted - given))}, so nobody tries another tenant's"


FOREIGN = {"broker_order_id"}
"""Ids that a broker gives: they name nothing of any tenant's."""


def _id_members(kind: Any) -> frozenset[str]:
    if kind is None:
        return frozenset()
    found: set[str] = set()

    def look(info: Any) -> None:
        if isinstance(info, StructType):
            found.update(
                f.encode_name for f in info.fields if f.encode_name.endswith(("_id", "_ids"))
            )
        if isinstance(info, (list, tuple)):
            for part in info:
                look(part)
        elif isinstance(info, msgspec.Struct):
            for name in info.__struct_fields__:
                if name not in ("cls", "default", "default_factory"):
                    look(getattr(info, name))

    look(multi_type_info([kind]))
    return frozenset(found - FOREIGN)


async def _by_role(stage: Stage, app: Any, operation: Operation) -> list[str]:
    found: list[str] = []
    for caller in stage.callers:
        may = operation.action is None or caller.role in ROWS[operation.name]
        ids = dict(caller.furniture.ids)
        if may and operation.changes:
            ids |= await _fresh(operation, caller.furniture)
        if may and operation.action == "self":  # it may end the session, or change the password
            client, _ = await stage.as_role(caller.role)
            caller = Caller(caller.role, client, caller.furniture)
        reply = await _call(app, operation, caller, ids, _body(operation, ids))
        who = f"{operation.name} as {caller.role}"
        there = all(
            name in ids or name in _example(operation).places for name in path_types(operation)
        )
        yes = reply.status in _example(operation).statuses or 200 <= reply.status < 300
        if may and not yes and (there or reply.status != 404):
            found.append(f"{who}: may, and was answered {reply.status} {reply.body[:300]!r}")
        if not may and reply.status != (401 if caller.role == "nobody" else 403):
            found.append(f"{who}: may not, and was answered {reply.status} {reply.body[:200]!r}")
        found += _leaks(stage, caller, who, reply)
    return found


async def _fresh(operation: Operation, furniture: Furniture) -> dict[str, str]:
    """The address' last name stands for a new object, so that it can be spent; and what the body needs."""
    names = [name for name in path_types(operation) if name in furniture.makers][-1:]
    names += _example(operation).needs
    return {name: await furniture.fresh(name) for name in names}


def _example(operation: Operation) -> Example:
    return EXAMPLES.get(operation.name, Example())


def _body(operation: Operation, ids: Mapping[str, str]) -> Any:
    example = _example(operation)
    if example.body is not None:
        return example.body(ids)
    if operation.merge_patch is not None:
        return {}
    return SPENT.get(operation.body)


def _leaks(stage: Stage, caller: Caller, who: str, reply: Reply) -> list[str]:
    if caller.furniture is stage.other:
        return []
    return [
        f"{who}: the answer holds {name} of another tenant"
        for name, value in stage.other.ids.items()
        if name not in ("tenant_id",) and value.encode() in reply.body and reply.status < 400
    ]


async def _across(stage: Stage, app: Any, operation: Operation) -> list[str]:
    """What somebody of one tenant who may do it reaches of another's."""
    may = [
        c for c in stage.callers if c.role in CUSTOMERS and c.role in ROWS.get(operation.name, ())
    ]
    if operation.action is None or not may:
        return []
    before = rows_of(stage.api, "other")
    found = [line async for line in _reaches(stage, app, operation, may[0])]
    if rows_of(stage.api, "other") != before:
        found.append(f"{operation.name}: it changed another tenant's rows")
    return found


async def _reaches(
    stage: Stage, app: Any, operation: Operation, caller: Caller
) -> AsyncIterator[str]:
    own, other, name = stage.own.ids, stage.other.ids, operation.name
    for place in path_types(operation):
        if place in other:
            there = own | {place: other[place]}
            reply = await _call(app, operation, caller, there, _body(operation, own))
            if reply.status not in (404, 422):
                yield f"{name}: {place} of another tenant in the address: {reply.status}"
    for member in sorted(_example(operation).ids):
        build = _example(operation).foreign or _example(operation).body
        body = _with_other(build(own) if build else None, member, own, other)
        if body is None:
            yield f"{name}: the example's {member} is none of the furniture's"
            continue
        reply = await _call(app, operation, caller, own, body)
        if reply.status not in (404, 422):
            yield f"{name}: {member} of another tenant in the body: {reply.status}"
    for member in getattr(operation.query, "__struct_encode_fields__", ()):
        if member in other and not operation.stream:
            reply = await _call(app, operation, caller, own, None, f"{member}={other[member]}")
            empty = reply.status == 200 and reply.json().get("items", ["?"]) == []
            if not empty and reply.status not in (404, 422):
                yield f"{name}: {member} of another tenant in the query: {reply}"


def _with_other(
    body: Any, name: str, own: Mapping[str, str], other: Mapping[str, str]
) -> Any | None:
    """The body with the other tenant's id in the place of our own; None where there is none."""
    swap = {value: other[key] for key, value in own.items() if key in other}
    changed = False

    def put(value: Any) -> Any:
        nonlocal changed
        if isinstance(value, list) and value and value[0] in swap:
            changed = True
            return [swap.get(one, one) for one in value]
        if isinstance(value, str) and value in swap:
            changed = True
            return swap[value]
        return value

    def walk(part: Any) -> Any:
        if isinstance(part, dict):
            return {k: put(v) if k == name else walk(v) for k, v in part.items()}
        return [walk(one) for one in part] if isinstance(part, list) else part

    result = walk(body)
    return result if changed else None


_NOBODY = "00000000-0000-7000-8000-000000000000"


async def _call(
    app: Any,
    operation: Operation,
    caller: Caller,
    ids: Mapping[str, str],
    body: Any,
    query: str = "",
) -> Reply:
    address = operation.path
    for name in path_types(operation):
        stands = _example(operation).places.get(name, ids.get(name, _NOBODY))
        address = address.replace(f"{{{name}}}", stands)
    needed = _example(operation).query.format(**{"strategy_id": _NOBODY} | dict(ids))
    if needed.partition("=")[0] == query.partition("=")[0]:
        needed = ""
    queries = "&".join(part for part in (needed, query) if part)
    headers = dict(caller.headers)
    if operation.conditional:
        headers["if-match"] = "*"
    client = Client(app, caller.client.key)
    return await client(
        operation.method, f"{address}?{queries}", body, headers, leaves=operation.stream
    )


def rows_of(api: Api, tenant: str) -> dict[str, list[str]]:
    """Everything that the database holds of a tenant."""
    with psycopg.connect(api.database.superuser) as conn:
        tables = conn.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
            " AND NOT c.relispartition AND a.attname = 'tenant_id' ORDER BY 1"
        ).fetchall()
        return {
            name: [
                row[0]
                for row in conn.execute(
                    f"SELECT t::text FROM {name} t WHERE tenant_id = %s ORDER BY 1",
                    (api.tenant(tenant),),
                )
            ]
            for (name,) in tables
        }
