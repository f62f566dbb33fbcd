"""Sockets stay short wherever the clone lies, and are in nobody else's directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops.paths import LONGEST_NAME, make_private, places
from tenancy.errors import ConfigurationError


def test_a_short_var_keeps_its_sockets_to_itself() -> None:
    assert places(Path("/srv/p/var")).runtime == Path("/srv/p/var/run")


@pytest.mark.parametrize("length", [60, 90, 200])
def test_the_longest_socket_fits_the_kernel(length: int) -> None:
    where = places(Path("/" + "x" * length))
    assert len(os.fsencode(where.runtime)) + len(LONGEST_NAME) <= 107


def test_two_long_clones_do_not_share_a_directory() -> None:
    assert places(Path("/" + "x" * 100)).runtime != places(Path("/" + "y" * 100)).runtime


def test_a_link_put_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="somebody else"):
        make_private(tmp_path / "run")
