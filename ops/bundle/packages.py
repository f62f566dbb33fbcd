"""Which Debian packages the roles install: read from their own tasks, so that the list stands nowhere twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jinja2 import StrictUndefined, TemplateError
from jinja2.nativetypes import NativeEnvironment

from ops.bundle.failed import BundleFailed

MODULE = "ansible.builtin.apt"
INNER = ("block", "rescue", "always")
NESTED_MAX = 5
"""How deep a variable may be made of variables."""

_TEMPLATES = NativeEnvironment(undefined=StrictUndefined, autoescape=False)


class Wanted(NamedTuple):
    """What is installed together. `recommends`: with what Debian recommends beside it, as the task has it."""

    by: str
    packages: tuple[str, ...]
    recommends: bool


def wanted(ansible: Path) -> list[Wanted]:
    """Of every role in ansible/roles, whichever hosts it is for. Raises BundleFailed: a task cannot be read."""
    common = _read(ansible / "inventories" / "common.yml") or {}
    found = []
    for role in sorted((ansible / "roles").iterdir()):
        variables = {**common}
        for part in ("defaults", "vars"):
            variables |= _read(role / part / "main.yml") or {}
        for file in sorted((role / "tasks").glob("*.yml")):
            for task in _tasks(_read(file) or []):
                where = f"{role.name}/tasks/{file.name}: {task.get('name', MODULE)}"
                found += _of_task(task, variables, where)
    return found


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.exists() else None


def _tasks(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        if MODULE in task:
            yield task
        for part in INNER:
            yield from _tasks(task.get(part, []))


def _of_task(task: dict[str, Any], variables: Mapping[str, Any], where: str) -> list[Wanted]:
    asked = task[MODULE]
    if asked.get("state") == "absent" or "name" not in asked:
        return []
    named = _value(asked["name"], variables, where)
    packages = [named] if isinstance(named, str) else named
    if not isinstance(packages, list) or not all(isinstance(one, str) and one for one in packages):
        raise BundleFailed(f"{where}: `name` is {named!r}, should be one package or a list of them")
    return [Wanted(where, tuple(packages), bool(asked.get("install_recommends", True)))]


def _value(value: Any, variables: Mapping[str, Any], where: str, depth: int = 0) -> Any:
    """With its variables put in, and theirs."""
    if isinstance(value, list):
        return [_value(one, variables, where, depth) for one in value]
    if not (isinstance(value, str) and "{{" in value):
        return value
    if depth == NESTED_MAX:
        raise BundleFailed(f"{where}: {value!r} is made of variables of variables")
    try:
        said = _TEMPLATES.from_string(value).render(variables)
    except (TemplateError, TypeError) as error:
        raise BundleFailed(
            f"{where}: which packages that are cannot be said without a host: {error}; "
            "name them by the role's own defaults, and let `when` decide"
        ) from None
    return _value(said, variables, where, depth + 1)
