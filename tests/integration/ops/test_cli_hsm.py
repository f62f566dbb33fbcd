"""`portcullis hsm` as officers use it: tokens under a quorum, records, checks; on a private SoftHSM."""

from __future__ import annotations

import getpass
import json
import re
import stat
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from ops.cli.main import cli
from ops.initialise import Choices, document
from ops.paths import places
from ops.settings import decode_settings
from ops.stack import softhsm as store
from ops.toml import dumps

pytestmark = pytest.mark.stack


class Officers:
    """A settings file with held PINs, and people who type what they once read."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.where = places(directory / "var")
        (self.where.var / "hsm").mkdir(parents=True)
        store.create_store(self.where.var / "hsm")
        content = document(self.where, Choices())
        for name in ("enrol", "enrol_so", "sign", "sign_so"):
            content["hsm"][f"{name}_pin_file"] = f"held:{name}"
        self.file = self.where.settings
        self.file.touch(mode=0o600)
        self.file.write_text(dumps(content))
        assert decode_settings(self.file.read_bytes()).hsm.sign_label
        self.typed: list[str] = []
        self.shown: list[str] = []
        monkeypatch.setattr(getpass, "getpass", self._type)
        monkeypatch.setattr("click.echo", self._echo)
        monkeypatch.setattr("ops.cli.hsm_people._at_a_terminal", lambda: True)
        self._words: dict[int, str] = {}

    def _echo(self, message: object = "", **_: object) -> None:
        text = str(message)
        self.shown.append(text)
        print(text)

    def _type(self, question: str) -> str:
        if question == "Now type it from the paper: ":
            return self._from_paper()
        return self.typed.pop(0)

    def _from_paper(self) -> str:
        """The last twenty numbered words on the screen."""
        rows = [text for text in self.shown if re.match(r"\s+\d+ [a-z]+ ", text)][-4:]
        found = re.findall(r"(?:^|\s)(\d+) ([a-z]+)", "\n".join(rows))
        phrase = " ".join(word for _, word in sorted(found, key=lambda pair: int(pair[0])))
        self.phrases.append(phrase)
        return phrase

    phrases: list[str]

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(cli, ["--settings", str(self.file), "hsm", *words])


@pytest.fixture
def officers(tmp_path, monkeypatch) -> Officers:
    it = Officers(tmp_path, monkeypatch)
    it.phrases = []
    return it


def made(officers: Officers) -> None:
    result = officers.run("init", "--holders", "3", "--quorum", "2")
    assert result.exit_code == 0, result.output
    assert len(set(officers.phrases)) == 3


def test_tokens_under_a_quorum_are_made_checked_and_recorded_by_any_two_of_three(officers):
    made(officers)
    key = next(line for line in officers.shown if line.startswith("Keep this")).rsplit(" ", 1)[1]
    officers.typed = [officers.phrases[2], officers.phrases[0]]
    assert (checked := officers.run("check")).exit_code == 0, checked.output
    assert officers.typed == []
    assert officers.run("record", "verify", "--key", key).exit_code == 0
    wrong = officers.run("record", "verify", "--key", "00" * 32)
    assert (wrong.exit_code, "another key" in wrong.output) == (1, True)
    shown = officers.run("record", "show", "1")
    assert json.loads(shown.output)["what"] == "init"


def test_one_holder_alone_gets_nowhere(officers):
    made(officers)
    officers.typed = [officers.phrases[0], officers.phrases[0], ""]
    alone = officers.run("check")
    assert (alone.exit_code, "typed nothing" in alone.output) == (1, True)


def test_a_daemons_pin_is_written_for_it_by_the_holders_and_shown_to_nobody(officers, tmp_path):
    made(officers)
    out = tmp_path / "sign.pin"
    officers.typed = officers.phrases[:2]
    assert officers.run("pin", "portcullis-sign", str(out)).exit_code == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    pin = out.read_text().strip()
    assert len(pin) == 32
    assert not any(pin in text for text in officers.shown)
    kept = (officers.where.var / "hsm" / "held-pins.json").read_bytes()
    assert pin.encode() not in kept
    officers.typed = officers.phrases[:2]
    again = officers.run("pin", "portcullis-sign", str(out))
    assert (again.exit_code, "exists" in again.output) == (2, True)


def test_what_does_not_fit_is_said_before_anything_is_made(officers):
    silent = officers.run("init")
    assert (silent.exit_code, "--holders N and --quorum M" in silent.output) == (1, True)
    one = officers.run("init", "--holders", "3", "--quorum", "1")
    assert (one.exit_code, "at least 2" in one.output) == (1, True)
    assert not any((officers.where.var / "hsm" / "tokens").iterdir())
    made(officers)
    again = officers.run("init", "--holders", "3", "--quorum", "2")
    assert (again.exit_code, "held-pins.json exists" in again.output) == (1, True)


def test_phrases_are_shown_at_a_terminal_alone(officers, monkeypatch):
    monkeypatch.undo()
    refused = officers.run("init", "--holders", "3", "--quorum", "2")
    assert (refused.exit_code, "at a terminal" in refused.output) == (1, True)
    assert not any((officers.where.var / "hsm" / "tokens").iterdir())


def test_status_needs_no_pin_and_says_why_a_daemon_is_silent(officers):
    made(officers)
    result = officers.run("status", "--json")
    assert result.exit_code == 0, result.output
    told = msgspec.json.decode(result.output)
    assert {token["label"] for token in told["tokens"]} == {"portcullis-enrol", "portcullis-sign"}
    assert all("SHA512_HMAC" in token["mechanisms"] for token in told["tokens"])
    assert told["signer"]["state"] == "signer_unavailable"
    officers.typed = officers.phrases[:2]
    with_keys = msgspec.json.decode(officers.run("status", "--keys", "--json").output)
    assert with_keys["tokens"][1]["keys"] == ["record v1"]
