"""The templates of the role portcullis as Ansible would render them, without Ansible: with its own variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import yaml

ROLE = Path(__file__).parents[3] / "ansible" / "roles" / "portcullis"
UIDS = {
    name: 900 + index
    for index, name in enumerate(
        f"portcullis-{one}" for one in ("admin", "ingress", "worker", "recorder", "signer")
    )
}
INSTALLATION = {
    "ansible_managed": "written by a test",
    "portcullis_etc": "/etc/portcullis",
    "portcullis_hooks_url": "https://hooks.example",
    "portcullis_admin_url": "https://admin.example:8443",
    "portcullis_uids": UIDS,
}
ENVIRONMENT = jinja2.Environment(
    undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True, autoescape=False
)
DEPTH = 5
"""Of variables that name variables."""


def variables(**more: Any) -> dict[str, Any]:
    """Defaults, then variables, then `more`; each with what it names put in."""
    found: dict[str, Any] = dict(INSTALLATION)
    for name in ("defaults", "vars"):
        found |= yaml.safe_load((ROLE / name / "main.yml").read_text())
    found |= more
    return {name: _resolved(value, found) for name, value in found.items()}


def rendered(template: str, known: dict[str, Any], **more: Any) -> str:
    text = (ROLE / "templates" / template).read_text()
    return ENVIRONMENT.from_string(text).render(**known, **more)


def _resolved(value: Any, known: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_resolved(one, known) for one in value]
    if isinstance(value, dict):
        return {name: _resolved(one, known) for name, one in value.items()}
    for _ in range(DEPTH):
        if not isinstance(value, str) or "{{" not in value:
            return value
        inner = value.strip().removeprefix("{{").removesuffix("}}")
        if value.strip() == f"{{{{{inner}}}}}" and "{{" not in inner:
            value = ENVIRONMENT.compile_expression(inner.strip())(**known)
        else:
            value = ENVIRONMENT.from_string(value).render(**known)
    return value
