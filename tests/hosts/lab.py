"""The whole lab for one run: image, bundle, wire, hosts, controller; taken down again whatever happens."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.hosts.bundle import bundle
from tests.hosts.host import Host
from tests.hosts.image import image
from tests.hosts.network import Network, network
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


def names_in(inventory: str) -> list[str]:
    """The hosts of one of our inventories, in its order."""
    tree = yaml.safe_load((ANSIBLE / "inventories" / inventory / "hosts.yml").read_text())
    return list(tree["all"]["hosts"])


@contextmanager
def lab(inventory: str) -> Iterator[Lab]:
    """The hosts of that inventory, booted and reachable from the controller."""
    base, product = image(CACHE), bundle(CACHE)
    names = names_in(inventory)
    with ExitStack() as undo:
        # A short path: ssh's control sockets lie under it, and a socket's path has 107 bytes.
        directory = Path(tempfile.mkdtemp(prefix="lab-", dir="/var/tmp"))
        undo.callback(shutil.rmtree, directory)
        run = directory.name.removeprefix("lab-")
        wire = undo.enter_context(network(run, len(names)))
        controller = Controller(directory, wire)
        undo.callback(controller.close)
        public_key = controller.make_key()
        hosts = [
            Host(name, number, wire, directory / name) for number, name in enumerate(names, start=1)
        ]
        for host in hosts:
            undo.callback(host.remove)
            host.make(base, public_key)
            host.boot()
        controller.write_inventory(inventory, hosts, product)
        yield Lab(wire, hosts, controller, base, public_key)
