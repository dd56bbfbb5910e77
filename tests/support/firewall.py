"""Templates of role hardening, rendered as Ansible renders them, and its firewall in a namespace.

Ansible itself is not run here: a template is Jinja with a few filters of Ansible, of which those that these templates
use are below. Knows nothing of hosts and networks.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.support.netns import Namespace

ROLE = Path(__file__).resolve().parents[2] / "ansible" / "roles" / "hardening"
TABLE = ("table", "inet", "gateway_filter")
NFT = shutil.which("nft") or shutil.which("nft", path="/usr/sbin:/sbin")

needs_nft = pytest.mark.skipif(
    os.geteuid() != 0 or None in (NFT, shutil.which("ip")),
    reason="needs root, iproute2 and nftables; `sudo make test` on a host with Debian's packages runs it",
)

_PLAY: Mapping[str, object] = MappingProxyType(
    {
        "hardening_inside_interface": "inside",
        "hardening_uplinks": ["outside"],
        "hardening_running": True,
        "hardening_port": 1080,
        "hardening_dns": True,
        "hardening_dns_port": 53,
        "hardening_ssh_user": "root",
        # of tasks/host.yml
        "hardening_container": False,
        "hardening_init": "systemd",
    }
)
"""What a play gives; in the defaults these are taken from other roles, or found out on the host."""


def yaml(path: str) -> Any:
    """A file of the role, read as YAML. Skips the test where PyYAML, which comes with Ansible, is missing."""
    return pytest.importorskip("yaml").safe_load((ROLE / path).read_text())


def rendered(template: str, **changed: object) -> str:
    """A template of the role with its defaults and what is changed. Skips the test where Jinja is missing.

    Raises jinja2.UndefinedError for a variable that nobody defines.
    """
    jinja = pytest.importorskip("jinja2")
    environment = jinja.Environment(
        loader=jinja.FileSystemLoader(ROLE / "templates"),
        undefined=jinja.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["bool"] = lambda value: str(value).lower() in ("1", "true", "yes", "on")
    environment.filters["hash"] = lambda text, kind: hashlib.new(kind, text.encode()).hexdigest()
    environment.tests["search"] = lambda text, pattern: re.search(pattern, text) is not None
    text: str = environment.get_template(template).render({**yaml("defaults/main.yml"), **_PLAY, **changed})
    return text


def nft(space: Namespace, *arguments: str, text: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run nft(8) in a namespace to its end; ``text`` is what ``-f -`` reads."""
    command = [*space.prefix, str(NFT), *arguments]
    return subprocess.run(command, input=text or "", capture_output=True, text=True, timeout=60, check=False)


def load(space: Namespace, ruleset: str) -> None:
    """Load a ruleset, in one step. Fails the test with what nft says of it."""
    done = nft(space, "-f", "-", text=ruleset)
    assert done.returncode == 0, done.stderr


def dropped(space: Namespace, counter: str) -> int:
    """How many packets a named counter of the firewall has counted."""
    done = nft(space, "list", "counter", "inet", TABLE[2], counter)
    assert done.returncode == 0, done.stderr
    found = re.search(r"packets (\d+)", done.stdout)
    assert found, done.stdout
    return int(found[1])
