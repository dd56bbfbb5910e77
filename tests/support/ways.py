"""Words for ways out, made by hypothesis."""

from hypothesis import strategies as st

from gateway.address import Address, plain
from gateway.config.fields import ACTIONS, ALL_WORD, looks_numeric


def _is_name(word: str) -> bool:
    return not looks_numeric(word) and word not in ACTIONS and word != ALL_WORD


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,10}", fullmatch=True).filter(_is_name)
_ipv4 = st.builds(Address, st.just(4), st.integers(1, 2**32 - 1))
_ipv6 = st.builds(Address, st.just(6), st.integers(1, 2**128 - 1)).filter(lambda address: plain(address).version == 6)
words = st.one_of(names, _ipv4, _ipv6)
without_colons = st.one_of(names, _ipv4)
"""Those that an option of ``sockd.conf`` can hold, where a colon begins the command."""
