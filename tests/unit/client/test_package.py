"""The library as programs get it: without the packages that only the daemon needs."""

import os
import subprocess
import sys

import msgspec

_PROGRAM = """\
import sys
import gateway.client, gateway.client.aio
print(*{name.partition(".")[0] for name in sys.modules}.difference(sys.stdlib_module_names))
"""


def test_a_program_that_imports_it_gets_nobody_elses_packages_but_the_one_that_values_are_made_of() -> None:
    command = [sys.executable, "-S", "-c", _PROGRAM]
    folders = f".{os.pathsep}{os.path.dirname(os.path.dirname(msgspec.__file__))}"
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": folders})
    # msgspec takes the last one along where it is there.
    assert set(done.stdout.split()) - {"__main__", "typing_extensions"} == {"gateway", "msgspec"}
