"""A small bundle with everything that one has, signed by a real key; and what one is made of: Debian packages."""

from __future__ import annotations

import json
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

from ops.bundle import archive, contents, names
from ops.bundle.signature import NAMESPACE, sign

WHEEL = "portcullis-9.9.9-py3-none-any.whl"
FILES = {
    WHEEL: "the product",
    "wheels/alpha-1.0-py3-none-any.whl": "alpha",
    "wheels/beta-2.0-py3-none-any.whl": "beta",
    "collections/ansible-3.0-py3-none-any.whl": "ansible",
    "debian/gamma_1.0_amd64.deb": "gamma",
    names.SOURCE: "the checkout",
    names.VULNERABILITIES: "{}",
    names.RELEASE: "Origin: Portcullis\n",
}
MANIFEST = {
    "version": "9.9.9", "wheel": WHEEL, "commit": "c0ffee", "python": "3.11.2", "suite": "bookworm",
    "architecture": "amd64", "made_at": "2026-11-22T00:00:00+00:00",
}  # fmt: skip


def key(directory: Path, name: str = "release") -> Path:
    """A private key; its public one beside it."""
    path = directory / name
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
    subprocess.run(words, check=True)
    return path


def signers(key: Path, options: str = f'namespaces="{NAMESPACE}"') -> Path:
    """The allowed_signers file of that one key."""
    path = key.with_suffix(".signers")
    path.write_text(f"{key.name}@example.org {options} {key.with_suffix('.pub').read_text()}")
    return path


def bundle(root: Path, key: Path) -> Path:
    """Its directory, whole."""
    for name, text in FILES.items():
        write(root, name, text)
    describe(root)
    seal(root, key)
    return root


def describe(root: Path) -> None:
    """The documents that name the other files, as these are now."""
    sums = {name: digest(root, name) for name in FILES}
    for lock, place in ((names.LOCK, names.WHEELS), (names.COLLECTIONS_LOCK, names.COLLECTIONS)):
        lines = [f"x==1 --hash=sha256:{sums[one]}" for one in sums if one.startswith(f"{place}/")]
        write(root, lock, "\n".join(lines))
    debs = [name for name in sums if name.endswith(".deb")]
    entries = (
        f"Package: gamma\nFilename: ./{Path(one).name}\nSHA256: {sums[one]}\n" for one in debs
    )
    write(root, names.INDEX, "\n".join(entries))
    wheels = [name for name in sums if name.endswith(".whl") and name != WHEEL]
    listed = [component(name, sums[name]) for name in (*wheels, *debs)]
    own = {"component": component(WHEEL, sums[WHEEL])}
    write(root, names.SBOM, json.dumps({"metadata": own, "components": listed}))
    write(root, names.MANIFEST, json.dumps(MANIFEST))


def component(name: str, sha: str) -> dict[str, object]:
    """As the SBOM has one."""
    prop = {"name": names.FILE_PROPERTY, "value": name}
    return {"hashes": [{"alg": "SHA-256", "content": sha}], "properties": [prop]}


def seal(root: Path, key: Path) -> None:
    """Sums of what is there now, signed."""
    for name in names.UNSUMMED:
        (root / name).unlink(missing_ok=True)
    there = contents.read(root).sums
    write(root, names.SUMS, "".join(f"{one}  {name}\n" for name, one in sorted(there.items())))
    sign(key, root / names.SUMS)


def packed(root: Path) -> Path:
    """Its archive, beside it."""
    path = root.with_suffix(".tar")
    archive.write(root, names.stem("9.9.9"), path, 1_000_000_000)
    return path


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def digest(root: Path, name: str) -> str:
    return sha256((root / name).read_bytes()).hexdigest()


def package(place: Path, name: str, more: str = "") -> None:
    """A Debian package with nothing but its copyright file."""
    tree = place / name
    (tree / "DEBIAN").mkdir(parents=True)
    doc = tree / "usr/share/doc" / name
    doc.mkdir(parents=True)
    (doc / "copyright").write_text("Format: 1.0\n\nFiles: *\nLicense: MIT\n")
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: 1:1.0\nArchitecture: all\nMaintainer: Ada <ada@example.org>\n"
        f"Description: {name}\n{more}"
    )
    command = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(place)]
    subprocess.run(command, check=True, capture_output=True)
    shutil.rmtree(tree)


def apt_settings(mirror: Path, method: str) -> str:
    """An apt.conf by which apt knows the packages of that directory and no others. `method`: apt's own, `file`
    or, as over a network, `copy`."""
    index = subprocess.run(
        ["dpkg-scanpackages", "."], cwd=mirror, capture_output=True, text=True, check=True
    )
    (mirror / "Packages").write_text(index.stdout)
    sources = mirror / "sources"
    sources.write_text(f"deb [trusted=yes] {method}:{mirror} ./\n")
    return f'Dir::Etc::SourceList "{sources}";\nDir::Etc::SourceParts "-";\n'
