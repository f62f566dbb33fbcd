"""Every refusal is a problem document from one table, and the page about it is current."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gateway.answers import Answer
from gateway.problems import PROBLEMS, codes_page, problem, problem_of
from tenancy.errors import PortcullisError

PAGE = Path(__file__).parents[3] / "docs" / "codes.md"


def test_the_page_of_codes_is_current() -> None:
    """If not: python -m gateway.problems > docs/codes.md"""
    assert PAGE.read_text() == codes_page()


def test_every_code_makes_a_problem_document() -> None:
    for code, kind in PROBLEMS.items():
        answer = problem(code, "why", instance="/x")
        body = msgspec.json.decode(answer.body)
        assert answer.content_type == b"application/problem+json"
        assert body == {
            "type": f"urn:portcullis:problem:{code}",
            "title": kind.title,
            "status": kind.status,
            "detail": "why",
            "code": code,
            "instance": "/x",
        }
        assert ("www-authenticate" in names(answer)) == (kind.status == 401)


def test_a_503_of_ours_says_when_to_come_back() -> None:
    for code, kind in PROBLEMS.items():
        if kind.status == 503:
            error = type("E", (PortcullisError,), {"code": code})("why")
            assert "retry-after" in names(problem_of(error, instance="/x"))


def test_an_error_without_a_row_tells_nothing() -> None:
    error = type("E", (PortcullisError,), {"code": "unheard_of"})("PIN 1234 is wrong")
    answer = problem_of(error, instance="/x", trace_id="ab")
    assert answer.status == 500
    assert b"1234" not in answer.body
    assert b'"trace_id":"ab"' in answer.body


def names(answer: Answer) -> set[str]:
    return {name.decode() for name, _ in answer.headers}
