"""The library as programs get it: without the packages that only the daemon needs."""

import subprocess
import sys

_PROGRAM = """\
import sys
import gateway.client, gateway.client.aio
print(*(name for name in sys.modules if name.partition(".")[0] not in sys.stdlib_module_names | {"gateway"}))
"""


def test_a_program_that_imports_it_gets_nobody_elses_packages() -> None:
    command = [sys.executable, "-S", "-c", _PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": "."})
    assert done.stdout.split() == ["__main__"] or done.stdout.split() == []
