"""The list of what is in an appliance: from a small tree made here, by the words of SPDX 2.3."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from image import sbom
from image.run import NAME, BuildError

STATUS = f"""\
Package: libstdc++6
Status: install ok installed
Maintainer: Debian GCC Maintainers <gcc@lists.example>
Architecture: amd64
Version: 1:12.2.0-14+deb12u1
Description: a library
 of several lines

Package: gone
Status: deinstall ok config-files
Maintainer: Somebody <some@body.example>
Architecture: all
Version: 1

Package: {NAME}
Status: install ok installed
Maintainer: The gateway's people
Architecture: amd64
Version: 0.1.0
"""
COPYRIGHT = """\
Format: https://www.example/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 1999 Somebody
License: GPL-2+ or Artistic
 The text of it
 .
 More of it.

Files: debian/*
Copyright: 2000 Somebody
License: Expat
"""
METADATA = """\
Metadata-Version: 2.1
Name: Python_Thing.x
Version: 3.1
Author: A
  Person
License: Some words that nobody knows
Classifier: License :: OSI Approved :: MIT License
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    texts = {
        "var/lib/dpkg/status": STATUS,
        "usr/share/doc/gcc/copyright": COPYRIGHT,
        "usr/lib/multihomed-gateway/lib/python3.11/site-packages/Python_Thing.x-3.1.dist-info/METADATA": METADATA,
        "usr/lib/gateway-loader/packages": "shim-signed\t1.5~1+15\tamd64\tThe EFI team <efi@lists.example>\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "usr/share/doc/libstdc++6").symlink_to("gcc")
    return tmp_path


def written(tree: Path) -> dict[str, Any]:
    target = tree / "list.json"
    sbom.write(tree, target)
    read: dict[str, Any] = json.loads(target.read_text())
    return read


def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in document["packages"]}


def test_installed_packages_python_packages_and_the_loader_are_listed_and_nothing_else(tree: Path) -> None:
    assert set(by_name(written(tree))) == {f"{NAME}-appliance", "libstdc++6", NAME, "Python_Thing.x", "shim-signed"}


def test_a_debian_package_has_version_supplier_licence_and_url(tree: Path) -> None:
    entry = by_name(written(tree))["libstdc++6"]
    assert entry["versionInfo"] == "1:12.2.0-14+deb12u1"
    assert entry["supplier"] == "Organization: Debian GCC Maintainers (gcc@lists.example)"
    assert entry["licenseDeclared"] == "(GPL-2.0-or-later OR Artistic-1.0-Perl) AND MIT"
    assert entry["externalRefs"][0]["referenceLocator"] == (
        "pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0-14%2Bdeb12u1?arch=amd64"
    )


def test_our_own_package_is_not_in_the_name_of_debian(tree: Path) -> None:
    entry = by_name(written(tree))[NAME]
    assert entry["externalRefs"][0]["referenceLocator"] == f"pkg:deb/{NAME}@0.1.0?arch=amd64"
    assert entry["licenseDeclared"] == "NOASSERTION"


def test_a_python_package_goes_by_its_index_name_and_its_classifier(tree: Path) -> None:
    entry = by_name(written(tree))["Python_Thing.x"]
    assert entry["externalRefs"][0]["referenceLocator"] == "pkg:pypi/python-thing-x@3.1"
    assert (entry["licenseDeclared"], entry["supplier"]) == ("MIT", "Person: A Person")


def test_the_document_has_what_spdx_asks_for(tree: Path) -> None:
    document = written(tree)
    assert (document["spdxVersion"], document["dataLicense"]) == ("SPDX-2.3", "CC0-1.0")
    identifiers = [entry["SPDXID"] for entry in document["packages"]]
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", word) for word in identifiers)
    assert len(set(identifiers)) == len(identifiers)
    related = {relation["relatedSpdxElement"] for relation in document["relationships"]}
    assert related == set(identifiers)
    needed = {"downloadLocation", "licenseConcluded", "licenseDeclared", "copyrightText", "filesAnalyzed"}
    assert all(needed <= entry.keys() for entry in document["packages"])


def test_the_same_tree_gives_the_same_document_and_another_one_another_namespace(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    first = written(tree)
    assert first["creationInfo"]["created"] == "1970-01-02T00:00:00Z"
    assert first == written(tree)
    (tree / "var/lib/dpkg/status").write_text(STATUS.replace("0.1.0", "0.1.1"))
    assert written(tree)["documentNamespace"] != first["documentNamespace"]


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        pytest.param(COPYRIGHT.replace("GPL-2+ or Artistic", "Expat"), "MIT", id="the same twice is one"),
        pytest.param(
            COPYRIGHT.replace("Artistic", "permissive-ish"), "NOASSERTION", id="an unknown name tells nothing"
        ),
        pytest.param(COPYRIGHT.replace("or Artistic", "with an exception"), "NOASSERTION", id="nor does an exception"),
        pytest.param("This package is free software.\n", "NOASSERTION", id="nor does prose"),
        pytest.param("", "NOASSERTION", id="nor does no file"),
    ],
)
def test_a_licence_is_told_only_where_all_of_it_is_known(text: str, licence: str) -> None:
    assert sbom.debian_licence(text) == licence


def test_a_link_to_an_absolute_name_is_one_of_the_tree(tree: Path) -> None:
    link = tree / "usr/share/doc/libstdc++6"
    link.unlink()
    link.symlink_to("/usr/share/doc/gcc")
    assert by_name(written(tree))["libstdc++6"]["licenseDeclared"] != "NOASSERTION"


def test_a_folder_that_is_no_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no Debian tree"):
        sbom.write(tmp_path, tmp_path / "list.json")
