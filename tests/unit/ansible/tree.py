"""What ansible/ holds, as its tests read it: roles, their files, and the inventories."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ANSIBLE = Path(__file__).parents[3] / "ansible"
ROLES = sorted(path.name for path in (ANSIBLE / "roles").iterdir())
INVENTORIES = sorted(path.name for path in (ANSIBLE / "inventories").iterdir() if path.is_dir())


def read(path: Path) -> Any:
    """A YAML file, or nothing where there is none."""
    return yaml.safe_load(path.read_text()) if path.exists() else None


def options(role: str) -> dict[str, dict[str, Any]]:
    specs = read(ANSIBLE / "roles" / role / "meta" / "argument_specs.yml")
    return specs["argument_specs"]["main"]["options"]


def all_options(role: str) -> set[str]:
    """Of every way into the role: other roles import single task files of it."""
    specs = read(ANSIBLE / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    return {name for way in specs.values() for name in way.get("options", {})}


def defaults(role: str) -> dict[str, Any]:
    return read(ANSIBLE / "roles" / role / "defaults" / "main.yml") or {}


def own_variables(role: str) -> dict[str, Any]:
    """What follows from its settings, and the controls that playbooks/evidence.yml proves."""
    place = ANSIBLE / "roles" / role / "vars"
    return {**(read(place / "main.yml") or {}), **(read(place / "controls.yml") or {})}


def words(role: str, pattern: str) -> set[str]:
    """Every match in the role's tasks, handlers and templates; comments say things and use none."""
    found: set[str] = set()
    for part in ("tasks", "handlers", "templates", "vars", "defaults"):
        for path in sorted((ANSIBLE / "roles" / role / part).glob("*")):
            text = re.sub(r"(?m)^\s*#.*$", "", path.read_text())
            found |= set(re.findall(pattern, text))
    return found


UIDS = {
    user["name"]: 900 + index
    for index, user in enumerate(own_variables("portcullis")["portcullis_users"])
}
"""Numbers such as a host might give the product's users; which, its role asks."""
EXPRESSION = (
    r"(?s:\{\{.*?\}\})|(?s:\{%.*?%\})|(?m:^\s*(?:- )?(?:when|that|loop|until|failed_when): .*$)"
)


def variables_used(role: str) -> set[str]:
    """Names of the installation's and the role's own variables within expressions: a tag or a role of PostgreSQL
    may be called alike."""
    found: set[str] = set()
    for expression in words(role, EXPRESSION):
        said = re.sub(r"'[^']*'", "", expression)
        found |= set(re.findall(rf"(?<![.\w])(?:{role}|portcullis)_\w+", said))
    return found


def groups(inventory: str) -> set[str]:
    return set(read(ANSIBLE / "inventories" / inventory / "hosts.yml")) - {"all"}


def installation_variables(inventory: str) -> dict[str, Any]:
    """What holds for every host of an inventory."""
    place = ANSIBLE / "inventories" / inventory / "group_vars" / "all"
    found: dict[str, Any] = {}
    for path in sorted(place.glob("*.yml")):
        found |= read(path)
    return found
