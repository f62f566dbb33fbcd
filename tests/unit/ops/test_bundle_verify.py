"""A bundle is what its signer made, or each fault is named: its file, and what would be right."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from ops.bundle import names
from ops.bundle.verify import verify
from ops.cli.main import cli
from tests.bundles import FILES, MANIFEST, bundle, describe, digest, key, packed, seal, signers

ROOT = Path(__file__).parents[3]
ALPHA, BETA = "wheels/alpha-1.0-py3-none-any.whl", "wheels/beta-2.0-py3-none-any.whl"
GAMMA = "debian/gamma_1.0_amd64.deb"


class Signed:
    """A whole bundle, its key, and who may sign."""

    def __init__(self, directory: Path) -> None:
        self.key = key(directory)
        self.signers = signers(self.key)
        self.root = bundle(directory / "bundle", self.key)

    def faults(self) -> list[str]:
        """Of the directory; the archive of the same has the same."""
        found = verify(self.root, self.signers).faults
        assert verify(packed(self.root), self.signers).faults == found
        return found

    def swap(self, one: str, other: str) -> None:
        first, second = (self.root / name for name in (one, other))
        was = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(was)


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return Signed(tmp_path)


def test_a_whole_bundle_is_whole_and_says_whose_it_is(signed: Signed) -> None:
    for form in (signed.root, packed(signed.root)):
        verdict = verify(form, signed.signers)
        assert verdict.faults == []
        assert verdict.signer == "release@example.org"
        assert verdict.manifest == MANIFEST
        assert verdict.sums == digest(signed.root, names.SUMS)


@pytest.mark.parametrize("name", [*FILES, names.MANIFEST, names.LOCK, names.INDEX, names.SBOM])
def test_a_forged_file_is_named_with_the_sum_that_it_should_have(signed: Signed, name: str) -> None:
    was = digest(signed.root, name)
    (signed.root / name).write_bytes(b"forged")
    is_now = digest(signed.root, name)
    assert signed.faults() == [f"{name}: its SHA-256 is {is_now}, should be {was}"]


def test_a_missing_file_is_named(signed: Signed) -> None:
    (signed.root / BETA).unlink()
    assert signed.faults() == [f"{BETA}: is missing, SHA256SUMS names it"]


def test_a_file_too_many_is_named(signed: Signed) -> None:
    (signed.root / "wheels/evil-1.0-py3-none-any.whl").write_text("evil")
    assert signed.faults() == [
        "wheels/evil-1.0-py3-none-any.whl: should not be there, SHA256SUMS does not name it"
    ]


def test_two_wheels_that_changed_places_are_both_named(signed: Signed) -> None:
    signed.swap(ALPHA, BETA)
    assert [fault.partition(":")[0] for fault in signed.faults()] == [ALPHA, BETA]


def test_a_link_is_no_file_of_a_bundle(signed: Signed) -> None:
    outside = signed.root.parent / "outside"
    outside.write_text("alpha")
    (signed.root / ALPHA).unlink()
    (signed.root / ALPHA).symlink_to(outside)
    for form in (signed.root, packed(signed.root)):
        faults = verify(form, signed.signers).faults
        assert [fault for fault in faults if fault.endswith("SHA256SUMS names it")] == [
            f"{ALPHA}: is missing, SHA256SUMS names it"
        ]
        assert len(faults) == 2


def test_sums_that_were_altered_are_not_what_was_signed(signed: Signed) -> None:
    """Nothing else is said then: sums that nobody signed prove nothing."""
    (signed.root / ALPHA).write_bytes(b"forged")
    sums = signed.root / names.SUMS
    was = digest(signed.root, BETA)
    sums.write_text(sums.read_text().replace(was, digest(signed.root, ALPHA)))
    (fault,) = signed.faults()
    assert fault.startswith("SHA256SUMS: the signature is not release@example.org's for this")


def test_another_signer_is_nobody(signed: Signed) -> None:
    stranger = key(signed.root.parent, "stranger")
    seal(signed.root, stranger)
    (fault,) = signed.faults()
    assert fault.startswith(f"SHA256SUMS: no key in {signed.signers} made the signature")


def test_a_signature_that_the_same_key_gave_for_something_else_is_none(signed: Signed) -> None:
    (signed.root / names.SIGNATURE).unlink()
    sums = signed.root / names.SUMS
    signers(signed.key, options="")  # any namespace: what has to refuse is us
    words = ["ssh-keygen", "-Y", "sign", "-q", "-f", str(signed.key), "-n", "file", str(sums)]
    subprocess.run(words, check=True)
    (fault,) = signed.faults()
    assert fault.startswith("SHA256SUMS: the signature is not release@example.org's for this")


def test_a_signer_whose_time_is_over_signs_no_more(signed: Signed) -> None:
    signers(signed.key, options='valid-before="20200101"')
    (fault,) = signed.faults()
    assert fault.startswith("SHA256SUMS: ")


@pytest.mark.parametrize("name", names.UNSUMMED)
def test_without_sums_or_signature_it_is_no_bundle(signed: Signed, name: str) -> None:
    (signed.root / name).unlink()
    assert signed.faults() == [
        f"SHA256SUMS: {name} is missing: this is no bundle, or not a whole one"
    ]


def rebuilt(change: Callable[[Path], object]) -> Callable[[Signed], list[str]]:
    """What is wrong where the signer signed it like that."""

    def faults(signed: Signed) -> list[str]:
        change(signed.root)
        seal(signed.root, signed.key)
        return signed.faults()

    return faults


def test_a_wheel_that_the_signer_swapped_fits_neither_lock_nor_sbom(signed: Signed) -> None:
    was = digest(signed.root, ALPHA)
    faults = rebuilt(lambda root: (root / ALPHA).write_bytes(b"another"))(signed)
    is_now = digest(signed.root, ALPHA)
    assert faults == [
        f"{ALPHA}: no line of requirements.lock has its SHA-256 {is_now}",
        f"requirements.lock: wants a wheel with SHA-256 {was}, and none in wheels/ has it",
        f"{ALPHA}: its SHA-256 is {is_now}, sbom.cdx.json says {was}",
    ]


def test_a_debian_package_that_the_signer_swapped_fits_neither_index_nor_sbom(
    signed: Signed,
) -> None:
    was = digest(signed.root, GAMMA)
    faults = rebuilt(lambda root: (root / GAMMA).write_bytes(b"another"))(signed)
    is_now = digest(signed.root, GAMMA)
    assert faults == [
        f"{GAMMA}: its SHA-256 is {is_now}, debian/Packages says {was}",
        f"{GAMMA}: its SHA-256 is {is_now}, sbom.cdx.json says {was}",
    ]


@pytest.mark.parametrize("name", [*FILES, names.MANIFEST, names.LOCK, names.SBOM])
def test_what_the_signer_left_out_is_missed(signed: Signed, name: str) -> None:
    if name != names.RELEASE:
        assert any(name in fault for fault in rebuilt(lambda root: (root / name).unlink())(signed))


def test_an_sbom_that_names_too_little_is_told(signed: Signed) -> None:
    def shorten(root: Path) -> None:
        said = json.loads((root / names.SBOM).read_text())
        said["components"] = said["components"][1:]
        (root / names.SBOM).write_text(json.dumps(said))

    assert rebuilt(shorten)(signed) == [f"{ALPHA}: sbom.cdx.json does not name it"]


def test_a_manifest_that_says_too_little_is_told(signed: Signed) -> None:
    def shorten(root: Path) -> None:
        said = {name: value for name, value in MANIFEST.items() if name != "suite"}
        (root / names.MANIFEST).write_text(json.dumps(said))

    assert rebuilt(shorten)(signed) == ["manifest.json: says no suite, should say it in words"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"metadata": 1}'])
def test_documents_that_cannot_be_read_are_faults_and_no_traceback(
    signed: Signed, text: str
) -> None:
    for name in (names.MANIFEST, names.SBOM):
        describe(signed.root)
        assert rebuilt(lambda root, name=name: (root / name).write_text(text))(signed)


def test_an_archive_that_would_write_elsewhere_is_refused(signed: Signed) -> None:
    path = packed(signed.root)
    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo(f"{names.stem('9.9.9')}/../../etc/evil")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    (fault,) = verify(path, signed.signers).faults
    assert "../../etc/evil" in fault


def test_a_file_that_an_archive_holds_twice_is_refused(signed: Signed) -> None:
    """Who unpacks it has the second; who reads may have compared the first."""
    path = packed(signed.root)
    with tarfile.open(path, "a") as tar:
        tar.add(signed.root / ALPHA, arcname=f"{names.stem('9.9.9')}/{ALPHA}")
    assert f"{ALPHA}: is there twice, should be once" in verify(path, signed.signers).faults


def test_half_an_archive_is_none(signed: Signed) -> None:
    path = packed(signed.root)
    path.write_bytes(path.read_bytes()[:5000])
    assert verify(path, signed.signers).faults != []


def test_an_archive_of_the_same_files_is_the_same_bit_for_bit(signed: Signed) -> None:
    first = packed(signed.root).read_bytes()
    for path in signed.root.rglob("*"):
        os.utime(path, (5, 5))
    assert packed(signed.root).read_bytes() == first


def test_it_is_verified_with_the_standard_library_alone(signed: Signed) -> None:
    """-S: no site-packages. A controller that has nothing installed yet asks like this."""
    words = [sys.executable, "-S", "-m", "ops.bundle.verify", str(signed.root)]
    words += ["--signers", str(signed.signers)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["manifest"] == MANIFEST
    (signed.root / ALPHA).write_bytes(b"forged")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{ALPHA}: its SHA-256 is")


def test_the_command_says_so_by_its_status(signed: Signed) -> None:
    words = ["bundle", "verify", str(packed(signed.root)), "--signers", str(signed.signers)]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0
    assert "whole: 9.9.9 of commit c0ffee, signed by release@example.org" in done.output
    (signed.root / ALPHA).unlink()
    packed(signed.root)
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1
    assert f"{ALPHA}: is missing" in done.output
