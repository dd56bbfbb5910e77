"""Places and problems, as an administrator reads them and an editor jumps to them."""

import pytest

from gateway.place import Place, Problem, Severity


@pytest.mark.parametrize(
    ("place", "text"),
    [
        pytest.param(Place("/etc/sockd.conf", 3, 14), "/etc/sockd.conf:3:14", id="line and column"),
        pytest.param(Place("/etc/sockd.conf", 3), "/etc/sockd.conf:3", id="a line as a whole"),
        pytest.param(Place("/etc/sockd.conf"), "/etc/sockd.conf", id="a file as a whole"),
        pytest.param(Place("/etc/sockd.conf", 0, 5), "/etc/sockd.conf", id="no column without a line"),
        pytest.param(Place("/etc/sockd.conf", 1, 1), "/etc/sockd.conf:1:1", id="lines and columns count from 1"),
    ],
)
def test_a_place_names_as_much_as_is_known(place: Place, text: str) -> None:
    assert str(place) == text


def test_an_error_is_a_place_and_a_message() -> None:
    assert str(Problem(Place("a", 1, 2), "unknown word")) == "a:1:2: unknown word"


def test_a_warning_says_that_it_is_one() -> None:
    assert str(Problem(Place("a", 1), "unknown word", Severity.WARNING)) == "a:1: warning: unknown word"


def test_places_sort_by_line_and_column() -> None:
    places = [Place("a", 10, 1), Place("a", 2, 9), Place("a", 2, 1), Place("a")]
    assert [str(place) for place in sorted(places)] == ["a", "a:2:1", "a:2:9", "a:10:1"]
