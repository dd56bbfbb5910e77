"""Numbers and their names: dnspython has the same ones."""

import dns.edns
import dns.rcode
import dns.rdatatype
import pytest

from gateway.dns import constants
from gateway.dns.constants import Ede, parse_type, rcode_text, type_text


@pytest.mark.parametrize("number", [1, 6, 28, 41, 64, 65, 251, 252, 255, 257])
def test_a_type_has_one_name_both_ways(number: int) -> None:
    assert parse_type(type_text(number)) == number
    assert type_text(number) == dns.rdatatype.to_text(dns.rdatatype.RdataType.make(number))


@pytest.mark.parametrize("number", range(1, 300))
def test_the_name_of_a_type_is_the_one_that_others_use(number: int) -> None:
    text = type_text(number)
    if not text.startswith("TYPE") and text not in ("MD", "MF", "MAILB", "MAILA", "NXNAME"):
        assert dns.rdatatype.from_text(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [("aaaa", 28), ("Https", 65), ("TYPE1", 1), ("type65280", 65280), ("TYPE65535", 65535), ("TYPE0", 0)],
)
def test_a_type_is_read_in_any_letter_case_and_by_number(text: str, number: int) -> None:
    assert parse_type(text) == number


@pytest.mark.parametrize("text", ["", "TYPE", "TYPE65536", "TYPE000001", "TYPE-1", "TYPE1x", "TYPE١", "28", "AAAAA"])
def test_what_is_no_type_is_none(text: str) -> None:
    assert parse_type(text) is None


def test_a_type_without_a_name_is_written_by_its_number() -> None:
    assert type_text(65280) == "TYPE65280"


def test_response_codes_have_the_names_that_others_use() -> None:
    assert [rcode_text(number) for number in range(6)] == [dns.rcode.Rcode(number).name for number in range(6)]
    assert (rcode_text(constants.BADVERS), rcode_text(11), rcode_text(4095)) == ("BADVERS", "RCODE11", "RCODE4095")


def test_extended_errors_have_the_numbers_that_others_use() -> None:
    theirs = {error.value: error.name for error in dns.edns.EDECode}
    assert [error.value for error in Ede] == list(range(25))
    assert [error for error in Ede if not theirs[error.value].startswith(error.name)] == []
