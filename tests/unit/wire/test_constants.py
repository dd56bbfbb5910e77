"""The tables between the protocols' codes: whole, and true to what success means."""

import errno
from http import HTTPStatus

import pytest

from gateway.wire.constants import (
    ERRNO_TO_REPLY,
    HTTP_LETTERS,
    REPLY4_TO_REPLY5,
    REPLY5_TO_REPLY4,
    REPLY5_TO_STATUS,
    REPLY5_TO_TEXT,
    SOCKS4A_MARKS,
    STATUS_TO_REPLY5,
    Reply4,
    Reply5,
)


@pytest.mark.parametrize("code", Reply5)
def test_every_socks5_code_has_its_counterparts(code: Reply5) -> None:
    granted = code is Reply5.SUCCEEDED
    assert (REPLY5_TO_REPLY4[code] is Reply4.GRANTED) is granted
    assert (REPLY5_TO_STATUS[code] is HTTPStatus.OK) is granted
    assert "\n" not in REPLY5_TO_TEXT[code]


@pytest.mark.parametrize("code", Reply4)
def test_every_socks4_code_has_its_counterpart(code: Reply4) -> None:
    assert (REPLY4_TO_REPLY5[code] is Reply5.SUCCEEDED) is (code is Reply4.GRANTED)


def test_no_http_failure_and_no_errno_reads_as_success() -> None:
    assert Reply5.SUCCEEDED not in STATUS_TO_REPLY5.values()
    assert Reply5.SUCCEEDED not in ERRNO_TO_REPLY.values()


def test_a_failure_keeps_its_meaning_through_another_proxy() -> None:
    assert STATUS_TO_REPLY5[REPLY5_TO_STATUS[Reply5.NOT_ALLOWED]] is Reply5.NOT_ALLOWED
    assert STATUS_TO_REPLY5[REPLY5_TO_STATUS[Reply5.COMMAND_NOT_SUPPORTED]] is Reply5.COMMAND_NOT_SUPPORTED


def test_a_refused_connection_is_told_as_one() -> None:
    assert ERRNO_TO_REPLY[errno.ECONNREFUSED] is Reply5.CONNECTION_REFUSED


def test_the_letters_are_a_to_z() -> None:
    assert bytes(HTTP_LETTERS) == b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def test_the_marks_of_socks4a_leave_out_both_neighbours() -> None:
    assert (0 in SOCKS4A_MARKS, 1 in SOCKS4A_MARKS, 255 in SOCKS4A_MARKS, 256 in SOCKS4A_MARKS) == (
        False,
        True,
        True,
        False,
    )
