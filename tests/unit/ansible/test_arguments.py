"""Each role says which variables it takes, and takes no other."""

from __future__ import annotations

import re

import pytest

from tests.unit.ansible.tree import (
    ANSIBLE,
    INVENTORIES,
    ROLES,
    all_options,
    defaults,
    groups,
    installation_variables,
    options,
    own_variables,
    variables_used,
    words,
)

each_role = pytest.mark.parametrize("role", ROLES)


def made_by_tasks(role: str) -> set[str]:
    """Names that a task of the role itself gives: registered, set as a fact, a task's or a loop's own variable."""
    text = "\n".join(
        path.read_text() for path in sorted((ANSIBLE / "roles" / role / "tasks").glob("*.yml"))
    )
    return set(re.findall(rf"(?m)^\s+(?:register: |loop_var: )?({role}_\w+)(?::|$)", text))


@each_role
def test_every_default_is_described_and_every_description_of_one_is_true(role):
    described = {name: spec for name, spec in options(role).items() if "default" in spec}
    assert set(defaults(role)) <= set(options(role))
    assert {
        name: spec["default"] for name, spec in described.items() if name in defaults(role)
    } == {name: value for name, value in defaults(role).items() if name in described}


@each_role
def test_what_has_no_default_is_required_or_has_one_in_its_description(role):
    for name, spec in options(role).items():
        assert name in defaults(role) or spec.get("required") or "default" in spec, name


@each_role
def test_every_default_bears_its_roles_name(role):
    assert [name for name in defaults(role) if not name.startswith(f"{role}_")] == []


@each_role
def test_every_variable_that_a_role_uses_is_described(role):
    """Ours only: `portcullis_…` of the installation and `ROLE_…` of the role itself."""
    installation = set(installation_variables(INVENTORIES[0])) | groups(INVENTORIES[0])
    known = all_options(role) | set(own_variables(role)) | made_by_tasks(role) | installation
    assert variables_used(role) - known == set()


@each_role
def test_every_variable_that_is_described_is_used(role):
    used = words(role, rf"\b(?:{role}|portcullis)_\w+")
    assert set(options(role)) - used == set()


@pytest.mark.parametrize("inventory", INVENTORIES)
@each_role
def test_every_inventory_gives_what_a_role_requires(role, inventory):
    """A secret is in a vault, and in no inventory of ours."""
    required = {
        name
        for name, spec in options(role).items()
        if spec.get("required") and not spec.get("no_log")
    }
    assert required - set(installation_variables(inventory)) == set()


@each_role
def test_no_role_goes_on_after_a_failure(role):
    """What may fail says so in its own words (failed_when), and is looked at."""
    assert words(role, r"\bignore_errors\b|\bignore_unreachable\b") == set()
