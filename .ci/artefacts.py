"""Writes what a release has beside the wheel: pinned versions with hashes, an SBOM and the licences.

It reads a report of pip, which names what the resolver has chosen, with hashes:

    pip install --dry-run --ignore-installed --report - '.[web]' | python .ci/artefacts.py dist
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The version of the CycloneDX schema that the SBOM follows.
SPEC_VERSION = "1.5"
_LICENSE_CLASSIFIER = "License :: "


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package that pip has chosen."""

    name: str
    version: str
    #: SHA-256 of the archive; "" for mailctl itself, which is built from its source.
    sha256: str
    licence: str

    @property
    def purl(self) -> str:
        """The package URL, by which databases of vulnerabilities find it."""
        return f"pkg:pypi/{self.name.lower()}@{self.version}"


def read_packages(report: dict[str, Any]) -> list[Package]:
    """Return the packages of a report of pip (`--report`), by name."""
    packages = [_package(each) for each in report["install"]]
    return sorted(packages, key=lambda package: package.name.lower())


def constraints(packages: list[Package]) -> str:
    """Return a file for `pip install --require-hashes -r`: each version with the hash of its archive."""
    lines = [
        f"{each.name}=={each.version} \\\n    --hash=sha256:{each.sha256}" for each in packages if each.sha256
    ]
    return "\n".join(lines) + "\n"


def sbom(packages: list[Package]) -> dict[str, Any]:
    """Return the software bill of materials (CycloneDX)."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "components": [_component(each) for each in packages],
    }


def licences(packages: list[Package]) -> str:
    """Return a table of the licences; one that a package does not state is said to be unknown."""
    rows = [f"| {each.name} | {each.version} | {each.licence or 'unknown'} |" for each in packages]
    return "\n".join(["| package | version | licence |", "|---|---|---|", *rows]) + "\n"


def _package(item: dict[str, Any]) -> Package:
    metadata = item["metadata"]
    hashes = item.get("download_info", {}).get("archive_info", {}).get("hashes", {})
    return Package(
        name=metadata["name"],
        version=metadata["version"],
        sha256=hashes.get("sha256", ""),
        licence=_licence(metadata),
    )


def _licence(metadata: dict[str, Any]) -> str:
    if expression := metadata.get("license_expression"):
        return str(expression)
    stated = [each for each in metadata.get("classifier", []) if each.startswith(_LICENSE_CLASSIFIER)]
    if stated:
        return ", ".join(each.rpartition(" :: ")[2] for each in stated)
    # Some packages have the whole text there.
    first, *_ = str(metadata.get("license") or "").strip().splitlines() or [""]
    return first[:80]


def _component(package: Package) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
    }
    if package.sha256:
        component["hashes"] = [{"alg": "SHA-256", "content": package.sha256}]
    if package.licence:
        component["licenses"] = [{"license": {"name": package.licence}}]
    return component


def main(folder: Path, report: dict[str, Any]) -> None:
    """Write the three files."""
    packages = read_packages(report)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "constraints.txt").write_text(constraints(packages))
    (folder / "sbom.cdx.json").write_text(json.dumps(sbom(packages), indent=2) + "\n")
    (folder / "licences.md").write_text(licences(packages))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.load(sys.stdin))
