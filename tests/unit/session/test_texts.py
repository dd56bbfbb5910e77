"""Addresses as text: right whether they are remembered or not, and never too many."""

import pytest

from gateway.address import Address
from gateway.session.texts import REMEMBERED, Texts


@pytest.mark.parametrize("address", [Address(4, 0x7F000001), Address(6, 1), Address(6, 0x7F000001)])
def test_a_text_is_the_same_the_first_and_the_second_time(address: Address) -> None:
    texts = Texts()
    assert [texts[address], texts[address]] == [str(address), str(address)]


def test_the_same_number_of_the_other_version_is_another_address() -> None:
    texts = Texts()
    assert texts[Address(4, 1)] == "0.0.0.1"
    assert texts[Address(6, 1)] == "::1"


def test_there_are_never_more_than_the_bound_and_every_one_is_right() -> None:
    texts = Texts()
    for number in range(2 * REMEMBERED + 1):
        assert texts[Address(4, number)] == str(Address(4, number))
        assert 0 < len(texts) <= REMEMBERED
    assert len(texts) == 1
