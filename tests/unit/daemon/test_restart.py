"""What can not be changed while the daemon runs is said, key by key, and nothing else is."""

import pytest

from gateway.daemon.restart import FIXED, waiting_for_a_restart
from tests.unit.daemon.hosts import settings

CHANGES = {
    "[sockd] workers": "[sockd]\nworkers = 3\n",
    "[sockd] user": "[sockd]\nuser = 'daemon'\n",
    "[sockd] pidfile": "[sockd]\npidfile = '/run/other.pid'\n",
    "[sockd] titles": "[sockd]\ntitles = false\n",
    "[resolver] whether it has zones": "[[resolver.zone]]\nname = '.'\nservers = ['192.0.2.53']\n",
    "[log] classic": "[log]\nclassic = 'stderr'\n",
    "[log] json": "[log]\njson = 'stdout'\n",
    "[log] facility": "[log]\nfacility = 'local0'\n",
    "[control] socket": "[control]\nsocket = '/run/other.sock'\n",
    "[control] group": "[control]\ngroup = 'staff'\n",
    "[metrics] addresses": "[metrics]\naddresses = ['127.0.0.1']\n",
    "[metrics] port": "[metrics]\nport = 9999\n",
}


def test_the_list_and_this_test_know_the_same_keys() -> None:
    assert {*CHANGES, "[resolver] workers"} == {fixed.key for fixed in FIXED}


@pytest.mark.parametrize("key", CHANGES)
def test_a_key_that_counts_later_is_named_in_both_directions(key: str) -> None:
    now, new = settings(), settings(CHANGES[key])
    words = [f"{key} counts from the next start of sockd on"]
    assert list(waiting_for_a_restart(now, new)) == words
    assert list(waiting_for_a_restart(new, now)) == words


ZONE = "[[resolver.zone]]\nname = '.'\nservers = ['192.0.2.53']\n"


@pytest.mark.parametrize(
    ("new", "keys"),
    [
        pytest.param(f"[resolver]\nworkers = 2\n{ZONE}", ["workers"], id="other processes"),
        pytest.param(f"[resolver]\nworkers = 1\n{ZONE}", [], id="as many, written out"),
        pytest.param(f"{ZONE}[[resolver.zone]]\nname = 'example'\n", [], id="another zone"),
        pytest.param(ZONE.replace("'.'", "'example'"), [], id="other zones"),
        pytest.param(f"[resolver]\nport = 5353\n{ZONE}", [], id="another port"),
        pytest.param("", ["whether it has zones"], id="no zone any more"),
    ],
)
def test_of_the_resolver_only_its_processes_wait(new: str, keys: list[str]) -> None:
    words = [f"[resolver] {key} counts from the next start of sockd on" for key in keys]
    assert list(waiting_for_a_restart(settings(ZONE), settings(new))) == words


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("[timeouts]\nidle = 60\n", id="time limits"),
        pytest.param("[log]\nclasses = ['denied']\n", id="classes of lines"),
        pytest.param("[internal]\nport = 1081\n", id="the port"),
        pytest.param("[sockd]\nsessions = 10\n", id="sessions"),
    ],
)
def test_what_counts_at_once_is_not_mentioned(text: str) -> None:
    assert list(waiting_for_a_restart(settings(), settings(text))) == []


def test_several_changes_are_a_line_each() -> None:
    new = settings("[sockd]\nworkers = 3\ntitles = false\n[metrics]\nport = 9999\n")
    assert len(list(waiting_for_a_restart(settings(), new))) == 3
