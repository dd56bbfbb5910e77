"""Addresses as text, which every line and every connect(2) has: the same few come again and again.

A dictionary that fills itself costs half of what a cached function does, and a session asks it three times.
"""

from gateway.address import Address

REMEMBERED = 1024
"""When there are so many, all are forgotten: who comes next fills it anew."""


class Texts(dict[Address, str]):
    """The texts of addresses by these."""

    def __missing__(self, address: Address) -> str:
        if len(self) >= REMEMBERED:
            self.clear()
        text = self[address] = str(address)
        return text


TEXTS = Texts()
"""Those of this process."""
