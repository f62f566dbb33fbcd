"""The API's description: valid, complete, the same every time, and true of what is decoded."""

from __future__ import annotations

import hashlib
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner
from msgspec import Meta
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.admin import docs_page
from gateway.admin.openapi import document, text_of
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.operations import OPERATIONS
from gateway.admin.schemas import Schemas
from gateway.problems import PROBLEMS
from ops.cli.openapi import openapi

DOCS = Path(docs_page.__file__).parent / "docs"


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return json.loads(text_of(OPERATIONS))


def test_the_document_is_valid_openapi(whole):
    assert list(OpenAPIV31SpecValidator(whole).iter_errors()) == []
    assert whole["openapi"] == "3.1.0"


def test_it_is_the_same_every_time_and_is_what_the_command_prints():
    assert text_of(OPERATIONS) == text_of(list(OPERATIONS))
    assert CliRunner().invoke(openapi, []).stdout_bytes == text_of(OPERATIONS)


def test_every_operation_is_in_it_with_every_problem_that_it_names(whole):
    for operation in OPERATIONS:
        made = whole["paths"][operation.path][operation.method.lower()]
        assert made["operationId"] == operation.name
        said = [
            code
            for answer in made["responses"].values()
            for code in answer.get("$ref", "").rpartition("/")[2].split(".")
        ]
        assert set(operation.problems) <= set(said), operation.name
        assert all(code in PROBLEMS for code in said if code)


def test_every_operation_says_what_it_answers():
    silent = [
        operation.name
        for operation in OPERATIONS
        if operation.answer is None and operation.status == 200
        and not (operation.stream or operation.html or operation.media)
    ]  # fmt: skip
    assert silent == []


class Inner(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    size: Decimal | None = None
    """How much."""


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A thing."""

    name: Annotated[str, Meta(min_length=1)]
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()


async def _nothing(call: Call) -> Result:
    return Result()


def described() -> dict[str, Any]:
    operations = [
        Operation(
            name="make", method="POST", path="/v1/things", summary="Make.", tag="T", action="self",
            handle=_nothing, body=Outer, answer=Outer, status=201, shows_once=("secret",),
        ),
        Operation(
            name="change", method="PATCH", path="/v1/things/{thing_id}", summary="Change.", tag="T",
            action="self", handle=_nothing, merge_patch=Outer, answer=Outer, conditional=True,
        ),
    ]  # fmt: skip
    return document(operations)


def fits(value: Any, schema: dict[str, Any], whole: dict[str, Any]) -> bool:
    rooted = {"components": whole["components"], **schema}
    return jsonschema.Draft202012Validator(rooted).is_valid(value)


def test_a_decimal_goes_in_as_text_or_number_and_comes_out_as_text():
    made = described()
    operation = made["paths"]["/v1/things"]["post"]
    into = operation["requestBody"]["content"]["application/json"]["schema"]
    out = operation["responses"]["201"]["content"]["application/json"]["schema"]
    for size in ("2.5", 2.5, 3, "1E+3", "+0.5"):
        assert fits({"name": "a", "inner": {"size": size}}, into, made), size
        msgspec.convert({"name": "a", "inner": {"size": size}}, Outer)
    for size in ("much", ".5", "5.", "1_000", " 5"):
        assert not fits({"name": "a", "inner": {"size": size}}, into, made), size
    answer = {"name": "a", "inner": {"size": "2.5"}, "many": [], "secret": "s"}
    assert fits(answer, out, made)
    assert not fits({**answer, "inner": {"size": 2.5}}, out, made)
    assert fits({**answer, "secret": None}, out, made)
    assert not fits({"name": "a", "inner": {}, "many": []}, out, made), "the secret is missing"
    assert not fits({"name": "a", "secret": "s"}, out, made), "what is always written is required"


def test_a_merge_patch_needs_nothing_and_takes_away_what_may_be_absent():
    made = described()
    operation = made["paths"]["/v1/things/{thing_id}"]["patch"]
    content = operation["requestBody"]["content"]
    assert set(content) == {"application/merge-patch+json", "application/json"}
    patch = content["application/merge-patch+json"]["schema"]
    for good in (
        {},
        {"inner": None},
        {"inner": {"size": None}},
        {"many": [{"size": 1}]},
        {"name": "b"},
    ):
        assert fits(good, patch, made), good
    for bad in ({"name": None}, {"nmae": "b"}, {"many": [{"size": "x"}]}, {"name": ""}):
        assert not fits(bad, patch, made), bad
    needed = {p["$ref"].rpartition("/")[2] for p in operation["parameters"] if "$ref" in p}
    assert {"IfMatch", "Reason", "Tenant"} == needed


def test_a_members_docstring_is_its_description():
    schemas = described()["components"]["schemas"]
    assert schemas["Inner"]["properties"]["size"]["description"] == "How much."
    assert schemas["Outer"]["description"] == "A thing."


def test_a_type_without_a_schema_is_refused_when_the_document_is_made():
    with pytest.raises(TypeError, match="no JSON Schema is known"):
        Schemas([complex])


def test_the_pages_files_are_what_third_party_says_they_are():
    rows = re.findall(r"\| `(\S+)` \|.*`([0-9a-f]{64})` \|", (DOCS / "THIRD-PARTY.md").read_text())
    assert {name for name, _ in rows} == {"swagger-ui-bundle.js", "swagger-ui.css"}
    for name, digest in rows:
        assert hashlib.sha256((DOCS / name).read_bytes()).hexdigest() == digest, name


def test_the_page_asks_nobody_else_and_runs_nothing_inline():
    page = docs_page._PAGE.decode()
    assert not re.search(r"https?:|//[a-z]|<script>|\son\w+=|style=", page)
    assert "unsafe" not in docs_page.CSP
    assert "default-src 'none'" in docs_page.CSP
