"""Plays on this machine: hosts that are all this one, reached without ssh, with programs that the test wrote.

For what a playbook refuses, and in which words. Nothing of the machine is changed by it: paths are given.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.unit.ansible.tree import ANSIBLE

SETTINGS = {
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
    "redis_keeper_password": "not-a-secret",
    "pki_passphrase": "not-a-secret",
}
FOREIGN = re.compile(r"(?m)^ +(?:- )?((?:ansible\.posix|community\.\w+)\.\w+):")
"""Modules of collections, which the controller has and a developer's machine need not."""
AS_ROOT = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
"""Files are made root's; without root that is who maps himself to it."""


def inventory(directory: Path, name: str, **of_host: str) -> Path:
    """A copy of one of ours, every host this machine. `of_host`: variables, in which HOST is the host's name."""
    place = directory / "inventory"
    shutil.copytree(ANSIBLE / "inventories" / name, place)
    path = place / "hosts.yml"
    tree = yaml.safe_load(path.read_text())
    for host, variables in tree["all"]["hosts"].items():
        variables.update({key: value.replace("HOST", host) for key, value in of_host.items()})
    path.write_text(yaml.safe_dump(tree))
    (place / "group_vars/all/zz_here.yml").write_text(yaml.safe_dump(SETTINGS))
    return place


def program(path: Path, text: str) -> Path:
    """A shell script in the place of a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def collections(directory: Path) -> Path:
    """A module of each such name, so that a playbook can be read. None is there to be run."""
    root = directory / "collections"
    names = {
        name
        for task in ANSIBLE.glob("roles/*/tasks/*.yml")
        for name in FOREIGN.findall(task.read_text())
    }
    for name in names:
        space, collection, module = name.split(".")
        path = (
            root / "ansible_collections" / space / collection / "plugins/modules" / f"{module}.py"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'raise SystemExit("{name} is not run in a test")\n')
    return root


def played(
    directory: Path,
    book: Path,
    source: Path | str,
    *words: str,
    facts: bool = False,
    **variables: Any,
) -> subprocess.CompletedProcess[str]:
    """`ansible-playbook`; programs in `directory`/bin stand before the machine's. `facts`: hosts tell theirs."""
    more = directory / "variables.yml"
    more.write_text(yaml.safe_dump({name: _plain(value) for name, value in variables.items()}))
    command = [
        sys.executable,
        "-m",
        "ansible",
        "playbook",
        "-i",
        str(source),
        f"--extra-vars=@{more}",
    ]
    return subprocess.run(
        [*AS_ROOT, *command, str(book), *words],
        env={
            "PATH": f"{directory / 'bin'}:{os.environ['PATH']}", "LANG": "C.UTF-8", "HOME": str(directory),
            "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"), "ANSIBLE_BECOME": "false",
            "ANSIBLE_HOME": str(directory / "ansible"), "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_GATHERING": "implicit" if facts else "explicit",
            "ANSIBLE_COLLECTIONS_PATH": str(collections(directory)),
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
