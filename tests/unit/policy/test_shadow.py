"""What a deny line leaves of later permit lines, against comparing every pair."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.rules import AddressPattern, HostPattern
from gateway.policy.pattern import is_everywhere, is_prefix, normal, within
from gateway.policy.shadow import find_shadows
from tests.support.rules import patterns


@given(st.lists(st.tuples(patterns.map(normal), st.booleans()), max_size=12))
@settings(max_examples=250)
def test_a_shadow_is_every_later_permit_within_the_deny(lines: list[tuple[HostPattern, bool]]) -> None:
    coded = [(pattern, 1 << (len(lines) - 1 - index), permits) for index, (pattern, permits) in enumerate(lines)]
    found = find_shadows(
        [(pattern, bit) for pattern, bit, permits in coded if not permits],
        [(pattern, bit) for pattern, bit, permits in coded if permits],
    )
    wanted = {}
    for deny, bit, denies_not in coded:
        shadow = sum(
            lower for permit, lower, permits in coded if permits and lower < bit and _is_shadowed(permit, deny)
        )
        if shadow and not denies_not:
            wanted[bit.bit_length()] = shadow
    assert found == wanted


def _is_shadowed(permit: HostPattern, deny: HostPattern) -> bool:
    assert isinstance(permit, AddressPattern)
    assert isinstance(deny, AddressPattern)
    return is_prefix(deny) and within(permit, deny) and (is_prefix(permit) or is_everywhere(deny))
