"""What the document says of input and what the structs take are the same, where both say it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from msgspec.inspect import StrType, multi_type_info

from gateway.admin.factors import Confirmation
from gateway.admin.openapi import document
from gateway.admin.operation import Operation
from gateway.admin.operations import OPERATIONS
from gateway.admin.reading import path_types
from gateway.admin.schemas import REF
from gateway.admin.sessions import SecondFactor
from tenancy.channel import Channel
from tenancy.decimals import refuse_loose_decimals
from tenancy.limits import Limits
from tenancy.protection import StopLoss, TakeProfit
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings
from tenancy.values import END

SETTERS = {
    TakeProfit: ("limit_price", "percent", "amount"),
    StopLoss: (
        "percent", "amount", "stop_price", "limit_price", "trail_amount", "trail_percent", "type",
    ),
    StrategySettings: ("default_quantity", "default_quantity_type"),
    SubscriptionSettings: ("override_quantity", "override_quantity_type"),
    SecondFactor: ("code", "credential", "half_session"),
    Confirmation: ("code", "credential"),
    Channel: ("kind", "url", "recipients"),
    Limits: ("max_order_quantity",),
}  # fmt: skip
VALUES: dict[str, list[Any]] = {
    "type": ["stop", "stop_limit", "trailing_stop"],
    "default_quantity_type": [None, "risk_percent"],
    "override_quantity_type": [None, "multiplier"],
    "code": [None, "123456"],
    "credential": [None, {}],
    "kind": ["webhook", "email", "slack"],
    "url": [
        None,
        "https://a.example/b?c=d",
        "http://a.example:8080",
        "https://u@a.example",
        "ftp://a.example",
        "https://a b",
    ],
    "recipients": [
        [],
        ["a@example.com"],
        ["a..b@example.com"],
        ["a@example.com"] * 2,
        ["a@b\n"],
        ["a"],
    ],
}
# Decimal() also takes spaces around, `_` between and digits of other scripts: more than the document says.
NUMBERS: list[Any] = [
    None,
    "1",
    0.5,
    "0",
    0,
    -1,
    "-1",
    "+.5",
    "+0.5",
    "5.",
    "1_000",
    "0.0",
    "00.10",
    "1e2",
    "x",
    "",
]
ALWAYS: dict[Any, Any] = {Channel: {"name": "n"}}
ABSENT = object()


@pytest.fixture(scope="module")
def components() -> Any:
    return document(OPERATIONS)["components"]["schemas"]


@pytest.mark.parametrize("struct", SETTERS, ids=lambda struct: struct.__name__)
def test_the_schema_refuses_what_the_struct_refuses_and_nothing_else(struct, components):
    name = struct.__name__
    schema = {
        "$ref": REF + (f"{name}Input" if f"{name}Input" in components else name),
        "components": {"schemas": components},
    }
    validator = jsonschema_rs.Draft202012Validator(schema)
    differing = [
        candidate
        for candidate in _candidates(struct)
        if validator.is_valid(candidate) != _is_taken(struct, candidate)
    ]
    assert differing == []


def _candidates(struct: Any) -> Iterator[Any]:
    """All combinations of the members that depend on each other; each number by itself in many spellings."""
    names = SETTERS[struct]
    choices = [[ABSENT, *VALUES.get(name, [None, "1"])] for name in names]
    for values in itertools.product(*choices):
        given = {
            name: value for name, value in zip(names, values, strict=True) if value is not ABSENT
        }
        yield ALWAYS.get(struct, {}) | given
    for name in names:
        for number in NUMBERS if name not in VALUES else ():
            yield ALWAYS.get(struct, {}) | {name: number}


def _is_taken(struct: Any, candidate: Any) -> bool:
    try:
        msgspec.json.decode(msgspec.json.encode(candidate), type=struct)
        refuse_loose_decimals(candidate, struct)
    except (msgspec.ValidationError, ValueError):
        return False
    return True


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_no_pattern_of_what_goes_in_lets_a_last_line_break_through(operation):
    for pattern in _patterns(operation):
        assert (pattern[0], pattern[-len(END) :]) == ("^", END), (
            f"{pattern!r}: write it with whole()"
        )


def _patterns(operation: Operation) -> Iterator[str]:
    kinds = [
        operation.body,
        operation.merge_patch,
        operation.query,
        *path_types(operation).values(),
    ]
    seen: list[Any] = []

    def walk(info: Any) -> Iterator[str]:
        if isinstance(info, StrType) and info.pattern is not None:
            yield info.pattern
        if isinstance(info, (list, tuple)):
            for part in info:
                yield from walk(part)
        elif isinstance(info, msgspec.Struct) and not any(info is one for one in seen):
            seen.append(info)
            for name in info.__struct_fields__:
                if name not in ("cls", "default", "default_factory", "extra_json_schema"):
                    yield from walk(getattr(info, name))

    yield from walk(multi_type_info([kind for kind in kinds if kind is not None]))


def test_the_document_shows_patterns_as_json_schema_has_them():
    assert "(?!" not in str(document(OPERATIONS))
