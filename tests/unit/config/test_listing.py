"""The lines of a file as tools show them."""

import pytest

from gateway.config.listing import Listing
from gateway.place import Place

LISTING = Listing.of("# one\n\tpermit ALL  # all\ndeny \\\n  ALL\nlast", "/etc/sockd.conf")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        pytest.param(1, "# one", id="a line"),
        pytest.param(2, "\tpermit ALL  # all", id="blanks and comments stay"),
        pytest.param(3, "deny   ALL", id="a joined line"),
        pytest.param(4, "deny   ALL", id="a place within a joined line"),
        pytest.param(5, "last", id="the last line"),
        pytest.param(0, "", id="the file as a whole"),
    ],
)
def test_a_place_finds_its_line(line: int, text: str) -> None:
    assert LISTING.at(Place("/etc/sockd.conf", line, 1)) == text


def test_an_empty_file_has_no_lines() -> None:
    assert Listing.of("", "a").at(Place("a", 1, 1)) == ""
