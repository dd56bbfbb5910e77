"""Whether lines leave anything of a later one; a yes must be true for every request."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.rules import AccessFile, AccessRule, Hours, Options
from gateway.policy.coverage import PIECES, cover_together, covers
from gateway.policy.decision import Question
from gateway.policy.linear import Reach, mismatches, reach
from tests.support.rules import EDGES, USERS, files, questions, rule

PASSWORD = Options(auth=frozenset({"password"}))


@pytest.mark.parametrize(
    ("outer", "inner", "covered"),
    [
        pytest.param(rule("deny ALL"), rule("permit 10.0.0.0/8 192.0.2.0/24", port="eq 80"), True, id="ALL covers all"),
        pytest.param(rule("deny 10.0.0.0/8"), rule("permit ALL"), False, id="a narrower source"),
        pytest.param(rule("deny ALL 10.0.0.0/8"), rule("permit ALL"), False, id="a narrower destination"),
        pytest.param(rule("deny ALL", port="eq 80"), rule("permit ALL"), False, id="a port test covers not all"),
        pytest.param(rule("deny ALL", port="ge 80"), rule("permit ALL", port="in 80,443"), True, id="a wider test"),
        pytest.param(
            rule("deny ALL", port="in 80,81"), rule("permit ALL", port="in 80-81"), True, id="neighbouring ports"
        ),
        pytest.param(rule("deny ALL", user="fred"), rule("permit ALL"), False, id="one user is not everybody"),
        pytest.param(rule("deny ALL", user="fred,joe"), rule("permit ALL", user="joe"), True, id="a longer list"),
        pytest.param(rule("deny ALL", user="joe"), rule("permit ALL", user="fred,joe"), False, id="a shorter list"),
        pytest.param(rule("deny ALL"), rule("permit ALL", options=PASSWORD), True, id="no auth covers auth"),
        pytest.param(rule("deny ALL", options=PASSWORD), rule("permit ALL"), False, id="auth does not cover no auth"),
        pytest.param(
            rule("deny ALL", options=Options(method=frozenset({"bind"}))), rule("permit ALL"), False, id="one method"
        ),
        pytest.param(
            rule("deny ALL", options=Options(hours=(Hours(frozenset(range(7)), 0, 1440),))),
            rule("permit ALL"),
            True,
            id="all hours are no restriction",
        ),
        pytest.param(rule("deny ALL example.com"), rule("permit ALL 192.0.2.1"), False, id="a name and an address"),
    ],
)
def test_one_line_covers_another(outer: AccessRule, inner: AccessRule, covered: bool) -> None:
    assert covers(outer, inner) == covered


@pytest.mark.parametrize(
    ("earlier", "inner", "covered"),
    [
        pytest.param(["deny 10.0.0.0/9", "deny 10.128.0.0/9"], "permit 10.0.0.0/8", True, id="two halves"),
        pytest.param(["deny 10.0.0.0/9", "deny 10.128.0.0/10"], "permit 10.0.0.0/8", False, id="three quarters"),
        pytest.param(["deny 0.0.0.0/0", "deny ::/0"], "permit ALL", True, id="both versions"),
        pytest.param(
            ["deny ALL 0.0.0.0/0", "deny ALL ::/0"], "permit ALL .example.com", True, id="a name has some address"
        ),
        pytest.param(["deny ALL example.com", "deny ALL ::/0"], "permit ALL 0.0.0.0/0", False, id="a name is no half"),
        pytest.param(["deny 0.0.0.0/1 0.0.0.0/1"], "permit 0.0.0.0/1", False, id="a corner of two fields"),
        pytest.param(
            ["deny ALL 0.0.0.0/1", "deny ALL 128.0.0.0/1", "deny ALL ::/0"], "permit ALL", True, id="three parts"
        ),
        pytest.param(["deny 10.0.0.0/255.0.0.1", "deny 10.0.0.1/255.0.0.1"], "permit 10.0.0.0/8", False, id="holes"),
        pytest.param([], "permit ALL", False, id="no line"),
    ],
)
def test_lines_cover_another_together(earlier: list[str], inner: str, covered: bool) -> None:
    assert cover_together(map(rule, earlier), rule(inner)) == covered


def test_ports_are_put_together_too() -> None:
    parts = [rule("deny ALL", port="le 80"), rule("deny ALL", port="gt 80")]
    assert cover_together(parts, rule("permit ALL"))
    assert not cover_together(parts[:1], rule("permit ALL"))
    assert not cover_together([], rule("permit ALL", port="lt 0"))


def test_too_many_pieces_are_given_up() -> None:
    holes = [rule("deny ALL", port=f"eq {2 * port}") for port in range(PIECES + 5)]
    assert not cover_together([*holes, rule("deny ALL")], rule("permit ALL"))
    assert cover_together([*holes[:20], rule("deny 0.0.0.0/0"), rule("deny ::/0")], rule("permit ALL"))


def test_pieces_do_not_overlap_or_they_would_soon_be_too_many() -> None:
    diagonal = [rule(f"deny {16 * i}.0.0.0/4 {16 * i}.0.0.0/4", port=f"in {100 * i}-{100 * i + 50}") for i in range(6)]
    assert cover_together([*diagonal, rule("deny 0.0.0.0/0")], rule("permit 0.0.0.0/0 0.0.0.0/0"))


@given(files, st.lists(questions, min_size=10, max_size=20))
@settings(max_examples=150, deadline=None)
def test_a_cover_is_never_claimed_that_a_request_disproves(rules: AccessFile, asked: list[Question]) -> None:
    if not rules.rules:
        return
    *earlier, inner = rules.rules
    if cover_together(earlier, inner) or any(covers(outer, inner) for outer in earlier):
        for one in asked:
            for found in EDGES[::5]:
                assert not _matches([inner], one, found) or _matches(earlier, one, found)


def _matches(rules: Sequence[AccessRule], asked: Question, found: tuple[int, int]) -> bool:
    name = asked.host if isinstance(asked.host, str) else None
    target = next(edge for edge in EDGES if edge == found)
    return any(reach(one.destination, name, target) is Reach.YES and not mismatches(one, asked, USERS) for one in rules)
