"""Files and lines that are no UTF-8 are refused in words, as every other flaw of theirs."""

from __future__ import annotations

import pytest

from hsm.errors import MalformedRequest
from hsm.holders import unseal
from hsm.refusals import read_line
from hsm.settings import read_daemon_settings
from ops.settings import read_settings
from tenancy.errors import ConfigurationError, Invalid

LATIN_1 = "é".encode("latin-1")


@pytest.mark.parametrize("read", [read_daemon_settings, read_settings])
def test_settings_are_refused_with_their_path(tmp_path, read):
    path = tmp_path / "some.toml"
    path.write_bytes(b'module = "/usr/lib/' + LATIN_1 + b'"\n')
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=r"some\.toml"):
        read(path)


def test_a_line_of_the_journal_is_refused():
    with pytest.raises(MalformedRequest, match="not a line of the journal"):
        read_line(b'{"code": "' + LATIN_1 + b'"}')


def test_a_file_of_held_pins_is_not_taken_for_one_with_another_secret():
    with pytest.raises(Invalid, match="cannot be read"):
        unseal(b'{"salt": "' + LATIN_1 + b'"}', bytes(32))
