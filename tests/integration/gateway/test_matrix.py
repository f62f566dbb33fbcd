"""Everybody calls every route; the expectation stands in matrix.toml, which knows nothing of the code's tables."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest

from gateway.admin.operation import Call, Operation, Result
from gateway.admin.operations import OPERATIONS
from tests.fixtures.api import Api, Client
from tests.integration.gateway import matrix
from tests.integration.gateway.matrix import Stage, complaints, set_up, stale_rows

pytestmark = pytest.mark.stack


@pytest.fixture
async def stage(api: Api) -> Stage:
    async def as_role(role: str) -> tuple[Client, str]:
        client, person, _ = await api.person("platform" if role == "operator" else "admin", role)
        return client, person

    return await set_up(api, as_role)


def op(name: str) -> Operation:
    return next(operation for operation in OPERATIONS if operation.name == name)


@pytest.mark.slow
async def test_each_role_may_do_what_the_table_says_and_nothing_reaches_another_tenant(stage):
    found = await complaints(stage, OPERATIONS)
    assert not found, "\n" + "\n".join(found)


def test_the_table_and_the_examples_name_no_operation_that_is_gone():
    assert stale_rows(OPERATIONS) == []


def test_names_and_addresses_are_used_once():
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)
    assert len({(operation.method, operation.path) for operation in OPERATIONS}) == len(OPERATIONS)


async def _everything(call: Call) -> Result:
    """A handler that forgot whose request it is."""
    async with call.services.database.connection() as conn:
        await conn.execute("SELECT 1")
    return Result(content={"items": []})


def unprotected(**changed: Any) -> Operation:
    operation = Operation(
        name="leak", method="GET", path="/v1/leak", summary="Leaks.", tag="Leaks", action=None,
        handle=_everything, answer=dict,
    )  # fmt: skip
    return msgspec.structs.replace(operation, **changed)


async def test_an_unprotected_route_makes_the_matrix_fail(stage):
    """Nobody wrote that anybody may call it."""
    (line,) = await complaints(stage, [unprotected()])
    assert line == "leak: anybody may call it, and it is not in `anybody` of matrix.toml"


async def test_a_route_whose_protection_is_taken_away_makes_the_matrix_fail(stage):
    lines = await complaints(stage, [msgspec.structs.replace(op("list_strategies"), action=None)])
    assert lines == [
        "list_strategies: anybody may call it, and it is not in `anybody` of matrix.toml"
    ]


async def test_a_new_route_without_a_row_makes_the_matrix_fail(stage):
    (line,) = await complaints(stage, [unprotected(action="strategies:read")])
    assert line == "leak: matrix.toml has no row for it: write which roles may call it"


async def test_a_route_with_a_weaker_action_makes_the_matrix_fail(stage):
    """As if somebody had written :read where a change needs :write."""
    weak = msgspec.structs.replace(op("archive_strategy"), action="strategies:read")
    lines = await complaints(stage, [weak])
    roles = {line.split(" as ")[1].split(":")[0] for line in lines if "may not" in line}
    assert roles == {"approver", "compliance", "examiner", "viewer"}, lines


async def test_a_route_that_is_open_to_whoever_signed_in_makes_the_matrix_fail(stage):
    (line,) = await complaints(
        stage, [msgspec.structs.replace(op("create_strategy"), action="self")]
    )
    assert line == (
        "create_strategy: `self` of matrix.toml and the operation do not agree on whose it is"
    )


async def test_a_handler_that_reads_without_its_tenants_scope_makes_the_matrix_fail(
    stage, monkeypatch
):
    """It takes a way around the wall: the mightiest role of the database stands for a missing policy."""

    async def peek(call: Call) -> Result:
        conninfo = stage.api.database.superuser
        async with await psycopg.AsyncConnection.connect(conninfo) as conn:
            row = await (
                await conn.execute(
                    "SELECT name FROM strategies WHERE strategy_id = %s",
                    (UUID(call.path["strategy_id"]),),
                )
            ).fetchone()
        return Result(content={"name": row[0] if row else None})

    lines = await complaints(stage, [msgspec.structs.replace(op("get_strategy"), handle=peek)])
    assert "get_strategy: strategy_id of another tenant in the address: 200" in lines


async def test_a_list_that_shows_another_tenants_objects_makes_the_matrix_fail(stage):
    async def everything(call: Call) -> Result:
        conninfo = stage.api.database.superuser
        async with await psycopg.AsyncConnection.connect(conninfo) as conn:
            rows = await (await conn.execute("SELECT strategy_id FROM strategies")).fetchall()
        return Result(content={"items": [row[0] for row in rows]})

    lines = await complaints(
        stage, [msgspec.structs.replace(op("list_strategies"), handle=everything)]
    )
    assert "list_strategies as viewer: the answer holds strategy_id of another tenant" in lines


async def test_a_handler_that_changes_another_tenants_row_makes_the_matrix_fail(stage):
    async def meddle(call: Call) -> Result:
        conninfo = stage.api.database.superuser
        async with await psycopg.AsyncConnection.connect(conninfo) as conn:
            await conn.execute("UPDATE strategies SET name = name || '.'")
        return await op("get_strategy").handle(call)

    lines = await complaints(stage, [msgspec.structs.replace(op("get_strategy"), handle=meddle)])
    assert lines == ["get_strategy: it changed another tenant's rows"]


async def test_a_body_without_an_example_is_asked_for(stage, monkeypatch):
    monkeypatch.delitem(matrix.EXAMPLES, "create_strategy")
    (line,) = await complaints(stage, [op("create_strategy")])
    assert line == (
        "create_strategy: examples.py has no body for it: write one that is answered with a yes"
    )
