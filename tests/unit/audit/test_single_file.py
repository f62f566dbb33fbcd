"""The verifier in one file: alone with `cryptography`, the same bytes each time, the same verdicts."""

from __future__ import annotations

import compileall
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from audit.single_file import single_file
from audit.verdict import INCOMPLETE, OK, TAMPERED
from tests.fakes.audit_log import KEY, leaves, write_log

NAME = "verify_portcullis_log.py"
ALONE = ("cryptography", "cffi", "_cffi_backend", "pycparser")


@pytest.fixture(scope="module")
def examiner(tmp_path_factory):
    """A directory with the one file in it, and a Python that finds `cryptography` and no other package."""
    home = tmp_path_factory.mktemp("examiner")
    (home / NAME).write_bytes(single_file("audit.verifier", NAME))
    packages = Path(sysconfig.get_path("platlib"))
    (home / "packages").mkdir()
    for found in packages.iterdir():
        if found.name.split(".")[0] in ALONE:
            (home / "packages" / found.name).symlink_to(found)
    return home


def run(examiner, *arguments):
    """-S: no site-packages; -s, cwd: nothing of ours."""
    start = (
        "import sys, runpy; sys.path[:0] = ['packages'];"
        f"sys.argv = [{NAME!r}, *sys.argv[1:]]; runpy.run_path({NAME!r}, run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-S", "-s", "-E", "-c", start, *map(str, arguments)],
        cwd=examiner, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_it_gives_the_verifiers_verdicts_with_nothing_of_ours_installed(examiner, tmp_path):
    write_log(tmp_path, leaves(600))
    right = run(examiner, tmp_path, "--vkey", KEY)
    assert (right.returncode, right.stderr) == (OK, "")
    assert right.stdout.startswith("verified: portcullis.test/1b2c\n  600 records")
    bundle = tmp_path / "tile/entries/001"
    bundle.write_bytes(bundle.read_bytes().replace(b"order.fill", b"order.FILL", 1))
    changed = run(examiner, tmp_path, "--vkey", KEY, "--json")
    assert (changed.returncode, json.loads(changed.stdout)["first_bad_index"]) == (TAMPERED, 256)
    bundle.unlink()
    assert run(examiner, tmp_path, "--vkey", KEY).returncode == INCOMPLETE


def test_a_module_of_ours_beside_it_is_not_what_runs(examiner, tmp_path):
    """Not even where the directory of the same name lies in the way."""
    write_log(tmp_path, leaves(3))
    (examiner / "packages" / "audit").mkdir(exist_ok=True)
    (examiner / "packages" / "audit" / "__init__.py").write_text("raise SystemExit(9)")
    assert run(examiner, tmp_path, "--vkey", KEY).returncode == OK


def test_a_long_log_is_read_by_several_processes_of_the_one_file(examiner, tmp_path):
    """Each of them finds the modules in the file again."""
    write_log(tmp_path, leaves(65_536))
    ran = subprocess.run(
        [sys.executable, examiner / NAME, tmp_path, "--vkey", str(KEY), "--jobs", "2"],
        cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (OK, "")


def test_the_same_sources_give_the_same_bytes_and_each_line_can_be_read(tmp_path):
    made = single_file("audit.verifier", NAME)
    assert made == single_file("audit.verifier", NAME)
    (tmp_path / NAME).write_bytes(made)
    assert compileall.compile_dir(tmp_path, quiet=2)
    text = made.decode()
    assert Path("audit/verifier_stretch.py").read_text() in text
    assert text.count("SOURCES[") == text.count("\n# audit") + 1


def test_a_verifier_that_needs_more_is_not_made(tmp_path):
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/__init__.py").write_text("")
    (tmp_path / "audit/verifier.py").write_text("import msgspec\n")
    with pytest.raises(ValueError, match="imports msgspec"):
        single_file("audit.verifier", NAME, tmp_path)
