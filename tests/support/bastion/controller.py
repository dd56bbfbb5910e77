"""Ansible on a host of the inside: it comes to the gateway by ssh, as an administrator's own machine would.

Whatever it writes on this host stays in one folder.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.bastion.host import ADMIN, Bastion
from tests.support.bastion.playing import Played, read
from tests.support.lab.topology import INSIDE, PROXY

PROGRAM = Path(sys.executable).with_name("ansible-playbook")
NAME = "gateway"
"""The host's name in the inventory; it is of the group ``gateways``."""

LACKING = "" if PROGRAM.exists() else f"needs {PROGRAM.name} beside {sys.executable}: pip install ansible-core"


class Controller:
    """Plays playbooks for one bastion; ``folder`` is made, and for the controller's own files."""

    def __init__(self, bastion: Bastion, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._bastion = bastion
        self._folder = folder

    def play(self, playbook: Path, variables: Mapping[str, object], *options: str, within: float = 600.0) -> Played:
        """Run a playbook to its end with these variables in the inventory.

        Raises subprocess.TimeoutExpired when it takes longer than ``within`` seconds.
        """
        inventory = self._folder / "inventory.json"
        inventory.write_text(json.dumps({"gateways": {"hosts": {NAME: {**self._connection(), **variables}}}}))
        done = subprocess.run(
            [*self._bastion.lab.spaces[INSIDE].prefix, str(PROGRAM), "-i", str(inventory), *options, str(playbook)],
            cwd=self._folder,
            env={**os.environ, **self._environment(playbook)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=within,
        )
        return read(done.returncode, done.stdout)

    def _connection(self) -> dict[str, object]:
        known = self._folder / "known_hosts"
        known.write_text(f"{PROXY} {self._bastion.host_key()}")
        return {
            "ansible_host": PROXY,
            "ansible_user": ADMIN,
            "ansible_become": True,
            "ansible_ssh_private_key_file": str(self._bastion.key),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -o IdentitiesOnly=yes -F none",
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def _environment(self, playbook: Path) -> dict[str, str]:
        own = {"ANSIBLE_CONFIG": str(playbook.with_name("ansible.cfg"))} if playbook.exists() else {}
        return {
            **own,
            "HOME": str(self._folder),
            "ANSIBLE_HOME": str(self._folder / "home"),
            "ANSIBLE_LOCAL_TEMP": str(self._folder / "local"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._folder / "ssh"),
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_FORCE_COLOR": "false",
            "ANSIBLE_STDOUT_CALLBACK": "default",
            "ANSIBLE_DISPLAY_OK_HOSTS": "true",
            "ANSIBLE_RETRY_FILES_ENABLED": "false",
            "COLUMNS": "200",
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
        }
