"""A new customer of the deployed hosts, made by an operator on the first of them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.hosts.lab import Lab
from tests.hosts.main_job import Asked
from tests.hosts.play import ADMIN_URL, HOOKS_URL


def new_fund(lab: Lab, directory: Path, name: str) -> Asked:
    """As docs/operating/hsm-backup.md says, SoftHSM on several hosts."""
    first, controller = lab.hosts[0], lab.controller
    here = "--url https://127.0.0.1:8443 --as operator"
    made = controller.said(first, f'sudo portcullis tenant create "{name}" {here} --json')
    tenant = json.loads(made)
    copied = controller.play("site_app", "--tags", "hsm_client,portcullis_installation")
    assert copied.worked, copied.end
    key = controller.said(first, f"sudo cat {tenant['key_file']}")
    return Asked(
        hooks=HOOKS_URL, admin=ADMIN_URL, authority=str(controller.authority),
        tenant_id=tenant["tenant_id"], service_key=key.strip(), log=str(directory / "exchange.log"),
    )  # fmt: skip
