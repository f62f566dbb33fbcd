"""A person at a terminal: invited, joins, signs in, enrols a second factor, agrees to a proposal, signs out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest
from click.testing import CliRunner, Result

from ops import control
from ops.cli.api import me as command
from ops.cli.main import cli
from ops.paths import Places
from ops.settings import read_settings

pytestmark = [pytest.mark.stack, pytest.mark.slow]

PASSWORD = "a long walk by the cold sea"
SECRET = re.compile(r"secret=([A-Z2-7]+)")


@pytest.fixture(scope="module")
def host(installation: Places) -> Iterator[Places]:
    control.up(installation.settings)
    yield installation
    control.down(read_settings(installation.settings))


class Terminal:
    """One person's machine: commands as they type them, their own home directory."""

    def __init__(self, host: Places, home: Path) -> None:
        self._settings = str(host.settings)
        self._home = home

    def __call__(self, *words: str, typed: str = "") -> Result:
        environment = {"HOME": str(self._home), "XDG_CONFIG_HOME": str(self._home / ".config")}
        return CliRunner().invoke(
            cli, ["--settings", self._settings, *words], input=typed, env=environment
        )

    def does(self, *words: str, typed: str = "") -> str:
        result = self(*words, typed=typed)
        assert result.exit_code == 0, result.output
        return result.output

    def said(self, *words: str) -> Any:
        return json.loads(self.does(*words, "--json"))


def invited(host: Terminal, name: str, roles: list[str]) -> str:
    """A person of the fund; the invitation's link."""
    words = ["user", "create", name, "--email", f"{name}@example.com", "--as", "the-fund"]
    made = host.said(*words, *(word for role in roles for word in ("--roles", role)))
    link: str = made["invitation_url"]
    return link


def test_a_person_joins_signs_in_and_agrees_and_a_key_cannot(host: Places, tmp_path: Path) -> None:
    operator = Terminal(host, tmp_path / "operator")
    operator.does("tenant", "create", "The Fund")
    ben = Terminal(host, tmp_path / "ben")
    ben.does(
        "me", "join", typed=f"{invited(operator, 'ben', ['approver'])}\n{PASSWORD}\n{PASSWORD}\n"
    )
    login = ["me", "login", "ben@example.com", "--tenant", "The Fund"]
    assert "signed in until" in ben.does(*login, typed=f"{PASSWORD}\n")
    session = tmp_path / "ben" / ".config" / "portcullis" / "session"
    assert session.stat().st_mode & 0o777 == 0o600

    waits = ben("strategy", "list", "--me")
    assert waits.exit_code == 1
    assert "second_factor_enrolment_required" in waits.output
    enrol(ben)
    assert ben.said("me", "show")["roles"] == ["approver"]

    operator.does("strategy", "create", "trend", "--max-order-quantity", "5", "--as", "the-fund")
    operator.does("tenant", "change", "--four-eyes", "limits", "--as", "the-fund")
    operator.does("strategy", "change", "trend", "--max-order-quantity", "50", "--as", "the-fund")
    proposal = ben.said("proposal", "list", "--me")[0]["proposal_id"]
    by_key = operator("proposal", "approve", proposal, "--as", "the-fund")
    assert by_key.exit_code == 1
    assert "forbidden" in by_key.output
    ben.does("proposal", "approve", proposal, "--me")
    limits = operator.said("strategy", "show", "trend", "--as", "the-fund")["limits"]
    assert limits == {"max_order_quantity": "50"}

    assert "signed out" in ben.does("me", "logout")
    assert not session.exists()
    assert "nobody is signed in" in ben("me", "show").output


def enrol(terminal: Terminal) -> None:
    """Reads the secret off the screen and types the app's code, as a person with a phone does."""
    answers: list[str] = []
    real = command.click.echo

    def echo(text: str = "", **options: Any) -> None:
        if found := SECRET.search(text):
            answers.append(pyotp.TOTP(found[1]).now())
        real(text, **options)

    def prompt(text: str, **options: Any) -> str:
        return answers.pop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command.click, "echo", echo)
        patch.setattr(command.click, "prompt", prompt)
        assert "Recovery codes" in terminal.does("me", "second-factor")


def test_who_lost_everything_is_let_in_again_from_the_host(host: Places, tmp_path: Path) -> None:
    shell, eve = Terminal(host, tmp_path / "operator"), Terminal(host, tmp_path / "eve")
    shell.does("tenant", "create", "Small Fund")
    words = ["user", "create", "eve", "--email", "eve@example.com", "--roles", "admin"]
    link = shell.said(*words, "--as", "small-fund")["invitation_url"]
    eve.does("me", "join", typed=f"{link}\n{PASSWORD}\n{PASSWORD}\n")
    login = ["me", "login", "eve@example.com", "--tenant", "Small Fund"]
    eve.does(*login, typed=f"{PASSWORD}\n")
    enrol(eve)

    recover = ["user", "recover", "eve@example.com", "--tenant"]
    refused = shell(*recover, "Small Fund", typed="n\n")
    assert refused.exit_code == 1
    assert eve.said("me", "show")["roles"] == ["admin"]
    made = shell.said(*recover, "Small Fund", "--yes")
    assert eve("me", "show").exit_code == 1
    assert eve(*login, typed=f"{PASSWORD}\n").exit_code == 1
    eve.does("me", "join", typed=f"{made['url']}\n{PASSWORD}!\n{PASSWORD}!\n")
    assert "signed in until" in eve.does(*login, typed=f"{PASSWORD}!\n")
    assert "second_factor_enrolment_required" in eve("strategy", "list", "--me").output

    nobody = shell("user", "recover", "nobody@example.com", "--tenant", "Small Fund", "--yes")
    assert (nobody.exit_code, "nobody here has this address" in nobody.output) == (1, True)
    nowhere = shell(*recover, "No Fund", "--yes")
    assert (nowhere.exit_code, "no tenant called 'No Fund'" in nowhere.output) == (1, True)


def test_a_wrong_password_and_a_wrong_link_are_told_in_a_sentence(
    host: Places, tmp_path: Path
) -> None:
    somebody = Terminal(host, tmp_path)
    wrong = somebody("me", "login", "no@example.com", "--tenant", "None", typed="nothing at all\n")
    assert wrong.exit_code == 1
    assert "login_failed" in wrong.output
    assert "nothing at all" not in wrong.output
    link = somebody("me", "join", typed=f"https://localhost/#nothing\n{PASSWORD}\n{PASSWORD}\n")
    assert link.exit_code == 1
    assert "holds no invitation" in link.output
