"""`gateway.config.reader`: the fields that sockd.conf and sockd.route share, in a grammar of nothing else."""

import pytest

from gateway.address import Name
from gateway.config.lexer import Line
from gateway.config.reader import LineReader, accepted, needs_mask
from gateway.config.rules import AddressPattern, Anyone, Dialect, HostPattern, NamePattern, UserItem, UserName
from gateway.errors import ConfigError
from gateway.place import Place, Problem, Severity

TEN = AddressPattern(4, 10 << 24, 0xFF000000)
Hosts = tuple[tuple[UserItem, ...], list[HostPattern | None]]


class HostReader(LineReader[Hosts]):
    """``[*=users] host...``; the word ``stop`` gives the line up."""

    def _rule(self) -> Hosts | None:
        users = self._users()
        found: list[HostPattern | None] = []
        while self._next():
            if self._next() == "stop":
                self._give_up(self._at, "stopped")
            found.append(self._host())
        return None if self._refused else (users, found)


def reader(text: str, dialect: Dialect = Dialect.CLASSIC) -> HostReader:
    return HostReader(Line(text, 7), text.split(), "file", dialect)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param("10.0.0.0 255.0.0.0", [TEN], id="a pair"),
        pytest.param("10.0.0.0/8 ::/0", [TEN, AddressPattern(6, 0, 0)], id="prefixes"),
        pytest.param("ALL 0.0.0.0 10.0.0.0 255.0.0.0", [Anyone(), TEN], id="a mask after ALL, then a pair"),
        pytest.param("ALL 10.0.0.0 255.0.0.0", [Anyone(), TEN], id="a pair after ALL without a mask"),
        pytest.param("a.example 255.255.255.255", [NamePattern(Name("a.example"), False)], id="a mask after a name"),
    ],
)
def test_hosts_take_the_masks_that_belong_to_them(text: str, hosts: list[HostPattern]) -> None:
    found = reader(text)
    assert found.read() == ((), hosts)
    assert found.problems == []


def test_users_are_read_where_they_stand_first() -> None:
    assert reader("*=fred ALL").read() == ((UserName("fred"),), [Anyone()])


def test_the_dialect_turns_masks() -> None:
    assert reader("10.0.0.0 0.255.255.255", Dialect.Y1992).read() == ((), [TEN])


def test_every_mistake_has_its_place_and_the_reading_goes_on() -> None:
    found = reader("  *=a, 10.0.0.256 255.0.0.0 10.0.0.0 any")
    assert found.read() is None
    assert [problem.place for problem in found.problems] == [Place("file", 7, column) for column in (3, 8, 29, 38)]
    assert found.problems[2].message == needs_mask("10.0.0.0")
    assert {problem.severity for problem in found.problems} == {Severity.ERROR}


def test_a_doubt_does_not_refuse_the_line() -> None:
    found = reader("*=etc/users 10.0.0.1 255.0.0.0 a.example 255.0.0.0")
    assert found.read() is not None
    assert [(problem.place.column, problem.severity) for problem in found.problems] == [
        (1, Severity.WARNING),
        (13, Severity.WARNING),
        (42, Severity.WARNING),
    ]


def test_what_is_given_up_is_not_read_any_further() -> None:
    found = reader("10.0.0.256 255.0.0.0 stop 10.0.0.257 255.0.0.0")
    assert found.read() is None
    assert [problem.place.column for problem in found.problems] == [1, 22]


def test_accepted_problems_are_warnings_in_the_order_of_the_file() -> None:
    late, early = (Problem(Place("f", line, 1), "doubt", Severity.WARNING) for line in (2, 1))
    assert accepted([late, early]) == (early, late)
    assert accepted([]) == ()


def test_one_error_refuses_all_and_tells_the_warnings_too() -> None:
    doubt, fault = Problem(Place("f", 2, 1), "doubt", Severity.WARNING), Problem(Place("f", 1, 9), "fault")
    with pytest.raises(ConfigError) as caught:
        accepted([doubt, fault])
    assert caught.value.problems == (fault, doubt)
