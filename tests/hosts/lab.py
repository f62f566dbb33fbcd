"""The whole lab for one run: image, bundle, wire, hosts, controller; taken down again whatever happens."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml

from ops.processes import ROOT
from tests.hosts.bundle import bundle
from tests.hosts.container import Container
from tests.hosts.host import Host
from tests.hosts.image import image
from tests.hosts.machine import Machine
from tests.hosts.network import Network, network, within
from tests.hosts.play import ANSIBLE, Controller

CACHE = ANSIBLE.parent / "var" / "lab"
"""Image and bundle are kept between runs: removing the directory makes the next run build them again."""


class Lab(NamedTuple):
    wire: Network
    hosts: list[Host]
    controller: Controller

    image: Path
    public_key: str

    def host(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def replace(self, host: Host) -> None:
        """It burned down, and the provider hands over another, bare one in its place."""
        host.remove()
        host.make(self.image, self.public_key)
        host.boot()
        self.controller.know(self.hosts)
        self.controller.close()  # what was open leads to the old one


@contextmanager
def _time_server(wire: Network) -> Iterator[None]:
    words = [sys.executable, "-m", "tests.hosts.time_server"]
    with subprocess.Popen(within(wire.client, *words), cwd=ROOT) as process:
        try:
            yield
        finally:
            process.kill()


def names_in(inventory: str) -> list[str]:
    """The hosts of one of our inventories, in its order."""
    tree = yaml.safe_load((ANSIBLE / "inventories" / inventory / "hosts.yml").read_text())
    return list(tree["all"]["hosts"])


@contextmanager
def lab(inventory: str, *, machines: bool = False) -> Iterator[Lab]:
    """The hosts of that inventory, booted and reachable from the controller: containers, or virtual machines."""
    base, product = image(CACHE, kernel=machines), bundle(CACHE)
    kind = Machine if machines else Container
    names = names_in(inventory)
    with ExitStack() as undo:
        # A short path: ssh's control sockets lie under it, and a socket's path has 107 bytes.
        # Its name is a part of the machines' names, which a host's name bounds: no underscore (mkdtemp has some).
        run = secrets.token_hex(4)
        directory = Path("/var/tmp", f"lab-{run}")
        directory.mkdir(mode=0o700)
        undo.callback(shutil.rmtree, directory)
        wire = undo.enter_context(network(run, len(names)))
        undo.enter_context(_time_server(wire))
        controller = Controller(directory, wire, kind.patience)
        undo.callback(controller.close)
        public_key = controller.make_key()
        hosts: list[Host] = [
            kind(name, number, wire, directory / name) for number, name in enumerate(names, start=1)
        ]
        for host in hosts:
            undo.callback(host.remove)
            host.make(base, public_key)
            host.boot()
        controller.write_inventory(inventory, hosts, product)
        yield Lab(wire, hosts, controller, base, public_key)
