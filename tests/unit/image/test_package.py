"""The pure parts of the Debian package's making: its texts, what it is made of, and which Python may build it."""

import zipfile
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from image import package
from image.run import ROOT, BuildError

OURS = "MIT License\n\nCopyright somebody\n"
PACKAGES = "/usr/lib/x/site-packages"


def wheel(folder: Path, name: str, metadata: str, *texts: str) -> Path:
    made = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Name: {name}\nVersion: 1.0\n{metadata}\n")
        for text in texts:
            archive.writestr(f"{name}-1.0.dist-info/{text}", "words")
    return made


def terms(made: Path) -> str:
    return package.copyright_text(OURS, [made], PACKAGES).rstrip().rpartition("\n\n")[2]


def test_the_changelog_has_the_form_of_debian_and_the_moment_of_the_source() -> None:
    lines = package.changelog("1.2.3", "Somebody <some@body.example>", 1_000_000_000).splitlines()
    assert lines[0] == "multihomed-gateway (1.2.3) stable; urgency=medium"
    assert lines[2].startswith("  * ")
    assert lines[4].startswith(" -- Somebody <some@body.example>  Sun, 09 Sep 2001 01:46:40 ")
    assert parsedate_to_datetime(lines[4].rpartition(">  ")[2]).timestamp() == 1_000_000_000


def test_our_own_licence_comes_first_and_the_others_by_name(tmp_path: Path) -> None:
    wheels = [wheel(tmp_path, name, "License-Expression: ISC") for name in ("zebra", "ant")]
    text = package.copyright_text(OURS, wheels, PACKAGES)
    assert text.startswith("multihomed-gateway:\n\n  MIT License\n\n  Copyright somebody\n\n")
    assert text.index("ant 1.0: ISC") < text.index("zebra 1.0: ISC")


@pytest.mark.parametrize(
    ("metadata", "wanted"),
    [
        ("License-Expression: BSD-3-Clause\nLicense: other", "BSD-3-Clause"),
        ("License: Apache-2.0", "Apache-2.0"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
        (
            "License: All\n of it\nClassifier: License :: OSI Approved :: ISC License (ISCL)",
            "ISC License (ISCL)",
        ),
        ("Classifier: License :: A :: One\nClassifier: License :: A :: Two\nClassifier: Typing :: Typed", "One or Two"),
        ("Summary: it says nothing", "as its texts say"),
    ],
)
def test_a_licence_is_found_wherever_its_authors_declare_it(tmp_path: Path, metadata: str, wanted: str) -> None:
    assert terms(wheel(tmp_path, "some", metadata)) == f"some 1.0: {wanted}"


def test_the_texts_of_a_licence_are_named_by_the_places_where_they_will_be(tmp_path: Path) -> None:
    made = wheel(tmp_path, "some", "License: ISC", "licenses/LICENSE", "licenses/NOTICE", "COPYING.LESSER", "RECORD")
    named = terms(made).splitlines()[1:]
    assert named == [f"  {PACKAGES}/some-1.0.dist-info/{text}" for text in made_of(named)]
    assert made_of(named) == ["COPYING.LESSER", "licenses/LICENSE", "licenses/NOTICE"]


def made_of(lines: list[str]) -> list[str]:
    return [line.partition(".dist-info/")[2] for line in lines]


def test_it_is_made_of_the_source_and_the_packaging_without_what_running_leaves_behind() -> None:
    names = {str(path.relative_to(ROOT)) for path in package.inputs()}
    assert {"gateway/__init__.py", "gateway/man/sockd.8", "image/debian/rules", "image/package.py"} <= names
    assert [name for name in names if "__pycache__" in name or "/." in name or name.startswith("tests/")] == []


def test_each_file_of_the_boot_folder_that_debhelper_installs_is_there() -> None:
    assert {(ROOT / "gateway" / "boot" / name).is_file() for name in package.BOOT} == {True}


def python(folder: Path, answer: str) -> Path:
    made = folder / "python3"
    made.write_text(f"#!/bin/sh\n{answer}\n")
    made.chmod(0o755)
    return made


def test_the_distributions_python_is_taken_with_its_version(tmp_path: Path) -> None:
    assert package.see_python(python(tmp_path, "echo 3.11 /usr True")) == "3.11"


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("echo 3.11 /opt/python True", "is of /opt/python, not the distribution's"),
        ("echo 3.9 /usr True", "is 3.9, and the gateway needs 3.11"),
        ("echo 3.11 /usr False", "apt-get install python3-venv"),
        ("echo broken >&2; exit 3", "status 3: broken"),
    ],
)
def test_another_python_is_refused_in_one_line_that_says_why(tmp_path: Path, answer: str, wanted: str) -> None:
    with pytest.raises(BuildError, match=wanted) as raised:
        package.see_python(python(tmp_path, answer))
    assert "\n" not in str(raised.value)


def test_a_python_that_is_missing_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="apt-get install python3 "):
        package.see_python(tmp_path / "python3")
