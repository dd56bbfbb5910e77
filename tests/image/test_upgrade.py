"""A new version of the package on an appliance, whose root is read-only."""

import base64
from pathlib import Path

import pytest

from image import package
from tests.image.test_first_boot import serves
from tests.support import products
from tests.support.lab.servers import needs_lab
from tests.support.vm.accelerator import Accelerator
from tests.support.vm.appliance import Appliance, Setup, appliance
from tests.support.vm.machine import missing
from tests.support.vm.settings import gateway_files

LACKING = missing() or products.missing()
pytestmark = [pytest.mark.full, needs_lab, pytest.mark.skipif(bool(LACKING), reason=LACKING)]
NEWER = "9.9.9"


def test_a_new_version_of_the_gateway_is_installed_and_stays(
    disk: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    deb = package.build(tmp_path / "newer", version=NEWER)
    with appliance(Setup(disk, files=gateway_files()), accelerator, tmp_path) as made:
        made.up()
        sent = made.shell.run(
            *("sh", "-c", f"base64 -d >/var/tmp/{deb.name}"), text=base64.encodebytes(deb.read_bytes()).decode()
        )
        assert sent.status == 0, sent.errors
        done = made.shell.run("apt-get", "install", "--yes", "--quiet", f"/var/tmp/{deb.name}")
        assert done.status == 0, f"{done.output}\n{done.errors}"
        serves(made)
        made.reboot()
        assert installed(made) == NEWER
        assert made.shell.run("touch", "/usr/something").status == 1, "the root is still writable"
        assert made.shell.sh("cat /etc/sockd.conf").output == gateway_files()["sockd.conf"]
        serves(made)


def installed(made: Appliance) -> str:
    """The version that dpkg knows of, once the daemon runs."""
    return made.shell.run("dpkg-query", "--show", "--showformat", "${Version}", "multihomed-gateway").output
