"""The classic grammar of ``sockd.route``."""

import pytest

from gateway.address import Address
from gateway.config.route import RouteFile, parse_route
from gateway.config.rules import Dialect
from gateway.errors import ConfigError
from gateway.place import Severity
from tests.support.rules import address

PATH = "/etc/sockd.route"
EXAMPLE = """\
# interface     destination
129.10.1.2    10.0.0.0    255.0.0.0
129.10.7.10\t137.12.0.0  255.255.0.0   # the other site

129.10.254.1  0.0.0.0     0.0.0.0
"""


def read(text: str, dialect: Dialect = Dialect.CLASSIC) -> RouteFile:
    return parse_route(text, PATH, dialect)


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("target", "interface", "line"),
    [
        pytest.param("10.255.255.255", "129.10.1.2", 2, id="the last address of the first line"),
        pytest.param("11.0.0.0", "129.10.254.1", 5, id="the address after it"),
        pytest.param("137.12.4.15", "129.10.7.10", 3, id="the second line"),
        pytest.param("126.87.13.2", "129.10.254.1", 5, id="everything else"),
    ],
)
def test_the_first_line_that_covers_a_destination_counts(target: str, interface: str, line: int) -> None:
    found = read(EXAMPLE).find(address(target))
    assert found is not None
    assert (str(found.interface), found.place.line) == (interface, line)


def test_a_destination_that_no_line_covers_has_no_interface() -> None:
    file = read("192.0.2.1 10.0.0.0 255.0.0.0")
    assert file.find(address("11.0.0.1")) is None
    assert file.find(Address(6, 1)) is None


def test_an_empty_file_is_a_file() -> None:
    assert read("# nothing\n\n") == RouteFile(PATH, ())


def test_a_line_may_be_joined() -> None:
    (rule,) = read("192.0.2.1 \\\n 10.0.0.0 255.0.0.0").rules
    assert str(rule.interface) == "192.0.2.1"


def test_the_masks_of_1992_are_inverted() -> None:
    file = read("192.0.2.1 10.0.0.0 0.255.255.255", Dialect.Y1992)
    assert file.find(address("10.9.9.9")) is not None
    assert file.find(address("11.0.0.1")) is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("192.0.2.1", "1:1: a line has 3 fields, not 1", id="one field"),
        pytest.param("192.0.2.1 10.0.0.0", "1:11: a line has 3 fields, not 2", id="two fields"),
        pytest.param("192.0.2.1 10.0.0.0 255.0.0.0 eth0", "1:30: a line has 3 fields, not 4", id="four fields"),
        pytest.param("1 2 3 4 5 6", "1:7: a line has 3 fields, not 6", id="six fields"),
        pytest.param("eth0 10.0.0.0 255.0.0.0", "1:1: 'eth0' is no address of an interface", id="a name"),
        pytest.param("192.0.2.256 10.0.0.0 255.0.0.0", "1:1: '192.0.2.256' is no address", id="a wrong interface"),
        pytest.param("192.0.2.1 10.0.0 255.0.0.0", "1:11: '10.0.0' is no IPv4 address", id="a wrong destination"),
        pytest.param("192.0.2.1 10.0.0.0 /8", "1:20: '/8' is no mask", id="a wrong mask"),
        pytest.param("\t192.0.2.1", "1:2: a line has 3 fields", id="columns count from 1, a tab is one"),
        pytest.param("1.1.1.1 1.1.1.1 1.1.1.1" + " " * 1001, "1:1024: the line has more than 1023", id="a long line"),
    ],
)
def test_a_mistake_names_its_place(line: str, message: str) -> None:
    (fault,) = faults(line)
    assert fault.startswith(f"{PATH}:{message}")


def test_every_mistake_is_reported_in_one_run() -> None:
    assert [fault.split(":")[1:3] for fault in faults("x 10.0.0 255.0.0.0\n192.0.2.1\n192.0.2.1 10.0.0.0 8")] == [
        ["1", "1"],
        ["1", "3"],
        ["2", "1"],
        ["3", "20"],
    ]


def test_a_mask_that_looks_inverted_is_a_warning() -> None:
    (warning,) = read("192.0.2.1 10.0.0.0 0.255.255.255").warnings
    assert warning.severity is Severity.WARNING
    assert str(warning).startswith(f"{PATH}:1:11: warning: the mask 0.255.255.255 looks inverted")
