"""Each trap of ``spec/field-cases.md`` §1 that concerns CONNECT, on a real socket, against the running daemon."""

import pytest

from tests.support.daemon import Sockd
from tests.support.fieldtable import ROWS, Proxy, Row


@pytest.mark.parametrize("row", [pytest.param(row, id=row.sentence) for row in ROWS])
def test_trap_of_the_field(gateway: Sockd, row: Row) -> None:
    row.check(Proxy(gateway.port))
