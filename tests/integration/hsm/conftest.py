"""A private SoftHSM for every test here, and one with daemons per module."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hsm.module import Module
from hsm.pins import read_pin
from hsm.token import Anchor
from tests.fixtures.softhsm import SoftHSM, softhsm, vault

__all__ = ["signing_token", "softhsm", "vault", "vault_without_daemons"]


@contextmanager
def signing_token(softhsm: SoftHSM) -> Iterator[Anchor]:
    """The sign token in this very process, as an attacker with the signer's PIN has it."""
    settings = softhsm.settings
    module = Module.load(settings.module, settings.softhsm_conf)
    try:
        yield Anchor(module, settings.sign_label, read_pin(settings.sign_pin_file))
    finally:
        module.finalize()


@contextmanager
def enrol_token(softhsm: SoftHSM) -> Iterator[Anchor]:
    """The enrol token in this very process."""
    settings = softhsm.settings
    module = Module.load(settings.module, settings.softhsm_conf)
    try:
        yield Anchor(module, settings.enrol_label, read_pin(settings.enrol_pin_file))
    finally:
        module.finalize()


@pytest.fixture(scope="module")
def vault_without_daemons() -> Iterator[SoftHSM]:
    """A token directory once for a test module, and nobody else at it."""
    directory = Path(tempfile.mkdtemp(prefix="pc-hsm-", dir="/tmp"))
    try:
        yield SoftHSM(directory)
    finally:
        shutil.rmtree(directory)
