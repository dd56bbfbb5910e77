"""The checks of the field table find the faults that other servers are known to have, and only those.

A check that no server ever fails proves nothing. microsocks and Dante fail these rows (``spec/field-cases.md`` §1), so
each kind of check is seen to fail here, and seen to pass where the other server is right.
"""

import re
from collections.abc import Iterator

import pytest

from tests.support.fieldtable import ROWS, Proxy, Row
from tests.support.foreign import DANTED, MICROSOCKS, danted, microsocks

#: microsocks takes one recv() for one message, loses the half-close, answers 0.0.0.0:0, and believes in NUL
MICROSOCKS_FAILS = re.compile(r"byte by byte|early data|'s FIN|FIN came|NUL|bound address")
#: Dante closes on what it does not know, stops a name at NUL, takes one byte more of USERID, and serves BIND and UDP
DANTED_FAILS = re.compile(r"SOCKS5: command|SOCKS5: address type|NUL|256 bytes|BIND gets reply 91")
DANTED_LACKS = re.compile(r"SOCKS4A: (?!a refused)")


def is_wrong(proxy: Proxy, row: Row) -> bool:
    """Whether the check finds a fault: a false statement, or a connection that breaks or hangs."""
    try:
        row.check(proxy)
    except (AssertionError, OSError):
        return True
    return False


@pytest.fixture(scope="module")
def microsocks_proxy() -> Iterator[Proxy]:
    with microsocks() as port:
        yield Proxy(port, patience=0.3)


@pytest.fixture(scope="module")
def danted_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with danted(tmp_path_factory.mktemp("danted")) as port:
        yield Proxy(port, patience=2)


@pytest.mark.skipif(MICROSOCKS is None, reason="needs the Debian package microsocks")
@pytest.mark.parametrize("row", [pytest.param(row, id=row.sentence) for row in ROWS if "SOCKS5" in row.sentence])
def test_microsocks_fails_what_it_is_known_to_fail(microsocks_proxy: Proxy, row: Row) -> None:
    assert is_wrong(microsocks_proxy, row) == bool(MICROSOCKS_FAILS.search(row.sentence))


@pytest.mark.skipif(DANTED is None, reason="needs the Debian package dante-server")
@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.sentence) for row in ROWS if not row.sentence.startswith("HTTP")]
)
def test_dante_fails_what_it_is_known_to_fail(danted_proxy: Proxy, row: Row) -> None:
    known = DANTED_FAILS.search(row.sentence) or DANTED_LACKS.match(row.sentence)
    assert is_wrong(danted_proxy, row) == bool(known)
