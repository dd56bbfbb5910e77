"""`[control]`, `[metrics]` and the titles of `[sockd]`: both sides of every edge, and each mistake with its key."""

from typing import Any

import pytest

from gateway.config.printer import print_settings
from gateway.config.settings import ControlSettings, MetricsSettings, Settings, parse_settings
from gateway.errors import ConfigError
from tests.support.rules import address

PATH = "/etc/sockd/gateway.toml"


def parsed(text: str) -> Settings:
    return parse_settings(text, PATH)


def fault(text: str) -> str:
    """The one mistake."""
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    (problem,) = caught.value.problems
    return str(problem)


def test_without_a_word_there_is_a_control_socket_for_root_alone_and_no_metrics() -> None:
    found = parsed("")
    assert found.control == ControlSettings("/run/sockd/control.sock", "")
    assert found.metrics == MetricsSettings((), 9464)
    assert found.sockd.titles is True


@pytest.mark.parametrize(
    ("text", "socket", "group"),
    [
        ("socket = '/run/other.sock'", "/run/other.sock", ""),
        ("socket = 'control.sock'", "/etc/sockd/control.sock", ""),
        ("socket = ''", "", ""),
        ("group = 'adm'", "/run/sockd/control.sock", "adm"),
        ("group = ''", "/run/sockd/control.sock", ""),
    ],
)
def test_the_control_socket(text: str, socket: str, group: str) -> None:
    assert parsed(f"[control]\n{text}\n").control == ControlSettings(socket, group)


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("[]", ()),
        ("['127.0.0.1']", ("127.0.0.1",)),
        ("['127.0.0.1', '::1']", ("127.0.0.1", "::1")),
    ],
)
def test_where_metrics_are_served(text: str, addresses: tuple[str, ...]) -> None:
    assert parsed(f"[metrics]\naddresses = {text}\n").metrics.addresses == tuple(map(address, addresses))


@pytest.mark.parametrize("port", [0, 1, 9464, 65535])
def test_ports_that_are(port: int) -> None:
    assert parsed(f"[metrics]\nport = {port}\n").metrics.port == port


@pytest.mark.parametrize("value", ["65536", "-1", "'9464'", "9464.0", "true"])
def test_ports_that_are_none(value: str) -> None:
    found = fault(f"[metrics]\nport = {value}\n")
    assert found.startswith(f"{PATH}:2")
    assert "metrics.port: expected a port" in found


@pytest.mark.parametrize("value", ["true", "false"])
def test_titles_are_on_or_off(value: str) -> None:
    assert parsed(f"[sockd]\ntitles = {value}\n").sockd.titles is (value == "true")


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ("sockd", "titles = 'yes'"),
        ("sockd", "titles = 1"),
        ("control", "socket = 5"),
        ("control", "group = ['adm']"),
        ("control", "sockte = 'x'"),
        ("metrics", "addresses = '127.0.0.1'"),
        ("metrics", "addresses = ['localhost']"),
        ("metrics", "addresses = ['127.0.0.1:9464']"),
        ("metrics", "addresses = [127]"),
        ("metrics", "address = ['127.0.0.1']"),
    ],
)
def test_a_mistake_is_said_with_its_line_and_key(section: str, text: str) -> None:
    found = fault(f"[{section}]\n{text}\n")
    assert found.startswith(f"{PATH}:2")
    assert text.partition(" ")[0] in found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[control]\nsocket = ''\n",
        "[control]\nsocket = '/x y'\ngroup = 'adm'\n",
        "[metrics]\naddresses = ['127.0.0.1', '::1']\nport = 1\n",
        "[sockd]\ntitles = false\n",
    ],
)
def test_what_is_printed_is_read_as_the_same(text: str) -> None:
    found: Any = parsed(text)
    assert parsed(print_settings(found)) == found
