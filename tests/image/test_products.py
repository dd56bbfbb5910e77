"""What is handed out with the appliance's disk: its checksums, who signed them, and the list of what is in it."""

import json
import subprocess
from pathlib import Path

import pytest

from image.run import NAME, VERSION
from tests.support.vm.machine import missing

LACKING = missing()
pytestmark = pytest.mark.skipif(bool(LACKING), reason=LACKING)


def verify(folder: Path, sums: bytes) -> "subprocess.CompletedProcess[bytes]":
    """As the README tells users to."""
    names = ("-f", "allowed_signers", "-I", NAME, "-n", NAME, "-s", "SHA256SUMS.sig")
    command = ["ssh-keygen", "-Y", "verify", *names]
    return subprocess.run(command, cwd=folder, input=sums, capture_output=True, check=False)


def test_the_checksums_are_right_and_signed(disk: Path) -> None:
    folder = disk.parent
    sums = (folder / "SHA256SUMS").read_bytes()
    assert f"  {disk.name}\n" in sums.decode()
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    done = verify(folder, sums)
    assert done.returncode == 0, done.stderr


def test_other_checksums_than_those_that_were_signed_are_noticed(disk: Path) -> None:
    sums = (disk.parent / "SHA256SUMS").read_bytes()
    assert verify(disk.parent, sums.replace(b"0", b"1")).returncode != 0


def test_the_list_of_what_is_in_it_has_debian_s_packages_python_s_and_ours(disk: Path) -> None:
    (listed,) = disk.parent.glob("*.spdx.json")
    document = json.loads(listed.read_text())
    assert document["spdxVersion"] == "SPDX-2.3"
    versions = {package["name"]: package["versionInfo"] for package in document["packages"]}
    assert versions[NAME] == VERSION
    assert {"openssh-server", "nftables", "dnspython", "pyroute2"} <= versions.keys()
