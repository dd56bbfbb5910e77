"""What ansible-playbook printed by its default callback, read: how it ended, what changed, and the diffs.

For one host: a task is named with its role, ``gateway : Enable it``, as it stands in the heading.
"""

import re
from dataclasses import dataclass, field

_HEADING = re.compile(r"^(?:TASK|RUNNING HANDLER|PLAY) \[(.*)\] \**$")
_CHANGED = re.compile(r"^changed: \[")
_FATAL = re.compile(r"^(?:fatal|failed): \[.*?(?: => |$)")
_RECAP = re.compile(r"^\S+ +: (ok=\d+ .*)$")
_HEADER = ("--- ", "+++ ")


@dataclass(frozen=True, slots=True)
class Played:
    """A run of a playbook that is over."""

    status: int
    output: str
    #: the words of the recap: ``ok``, ``changed``, ``failed``, ...
    counts: dict[str, int] = field(default_factory=dict)
    #: the tasks and handlers that changed something, or would have in check mode
    changed: tuple[str, ...] = ()
    #: the tasks that failed
    failed: tuple[str, ...] = ()
    #: the lines of all diffs that go and that come, each with its ``-`` or ``+``
    differences: tuple[str, ...] = ()

    @property
    def plain(self) -> str:
        """The output as people read it: what Ansible has escaped or wrapped is one line of words."""
        return re.sub(r"\s+", " ", self.output.replace("\\n", " ").replace('\\"', '"'))


def read(status: int, output: str) -> Played:
    """Read the output of a run that ended with this status."""
    heading = ""
    counts: dict[str, int] = {}
    changed: list[str] = []
    failed: list[str] = []
    differences: list[str] = []
    for line in output.splitlines():
        if found := _HEADING.match(line):
            heading = found[1]
        elif _CHANGED.match(line):
            changed.append(heading)
        elif _FATAL.match(line):
            failed.append(heading)
        elif found := _RECAP.match(line):
            counts = _counts(found[1])
        elif line.startswith(("-", "+")) and not line.startswith(_HEADER):
            differences.append(line)
    unique = tuple(dict.fromkeys(changed)), tuple(dict.fromkeys(failed))
    return Played(status, output, counts, *unique, tuple(differences))


def _counts(words: str) -> dict[str, int]:
    pairs = (word.partition("=") for word in words.split())
    return {name: int(value) for name, _, value in pairs}
