"""The bundle's bill of materials: CycloneDX 1.6, every Python distribution and every Debian package, by file."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ops.bundle.distribution import Distribution
from ops.bundle.failed import BundleFailed
from ops.bundle.names import COLLECTIONS, FILE_PROPERTY
from ops.bundle.repository import Package

_LICENCES = LicenseFactory()


def sbom(
    own: Distribution, others: Iterable[Distribution], packages: Iterable[Package], suite: str,
    made_at: datetime, serial: UUID,
) -> str:  # fmt: skip
    """The document. Raises BundleFailed where it is not as the schema wants it."""
    product = _distribution(own)
    product.type = ComponentType.APPLICATION
    bom = Bom(
        serial_number=serial,
        metadata=BomMetaData(component=product, timestamp=made_at),
        components=[*map(_distribution, others), *(_package(one, suite) for one in packages)],
    )
    _draw(bom, product, [own, *others])
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise BundleFailed(f"the SBOM is not as CycloneDX 1.6 wants it: {wrong}")
    return text + "\n"


def _draw(bom: Bom, product: Component, distributions: Iterable[Distribution]) -> None:
    """Who of the distributions needs whom, as each says of itself, without its extras."""
    there = {
        canonicalize_name(one.name): one
        for one in bom.components
        if one.purl and one.purl.type == "pypi"
    }
    for one in distributions:
        wanted = [Requirement(line) for line in one.requires if "extra" not in line]
        needed = [there[name] for need in wanted if (name := canonicalize_name(need.name)) in there]
        named = canonicalize_name(one.name)
        bom.register_dependency(there.get(named, product), needed)


def _distribution(one: Distribution) -> Component:
    """What only the controller runs, no host does: CycloneDX calls that excluded."""
    excluded = one.file.startswith(f"{COLLECTIONS}/")
    return Component(
        name=one.name, version=one.version, bom_ref=one.file,
        purl=PackageURL("pypi", None, one.name, one.version),
        scope=ComponentScope.EXCLUDED if excluded else ComponentScope.REQUIRED,
        hashes=_hashes(one.sha256), properties=_properties(one.file),
        licenses=[_LICENCES.make_from_string(one.licence)] if one.licence else [],
    )  # fmt: skip


def _package(one: Package, suite: str) -> Component:
    qualifiers = {"arch": one.architecture, "distro": suite}
    licences: list[License] = [_LICENCES.make_with_name(name) for name in one.licences]
    return Component(
        name=one.name, version=one.version, bom_ref=one.file,
        purl=PackageURL("deb", "debian", one.name, one.version, qualifiers),
        hashes=_hashes(one.sha256), properties=_properties(one.file), licenses=licences,
    )  # fmt: skip


def _hashes(sha256: str) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=sha256)]


def _properties(file: str) -> list[Property]:
    return [Property(name=FILE_PROPERTY, value=file)]
