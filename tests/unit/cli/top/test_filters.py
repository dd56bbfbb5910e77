"""A filter as it is typed: its words, and what is refused before the daemon is asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.top.filters import parse, words
from gateway.control.protocol import Filter
from gateway.errors import GatewayError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("", Filter(), id="nothing matches all"),
        pytest.param("  user=fred  ", Filter(user="fred"), id="blanks do not count"),
        pytest.param(
            "user=fred dest=.example.com rule=17 source=10.0.0.0/8 egress=wan1 session=6920f1a3-1-7",
            Filter(
                session="6920f1a3-1-7",
                user="fred",
                source="10.0.0.0/8",
                destination=".example.com",
                rule="17",
                egress="wan1",
            ),
            id="every word",
        ),
        pytest.param(
            "from=10.1.2.3 to=:443", Filter(source="10.1.2.3", destination=":443"), id="as the options say it"
        ),
        pytest.param("destination=a", Filter(destination="a"), id="the long word"),
        pytest.param("user=a=b", Filter(user="a=b"), id="a sign of equality in a value"),
    ],
)
def test_what_is_understood(text: str, wanted: Filter) -> None:
    assert parse(text) == wanted
    assert parse(words(wanted)) == wanted


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("fred", "fred: write one of user= source=", id="a word alone"),
        pytest.param("usr=fred", "usr=fred: write one of", id="an unknown word"),
        pytest.param("a\x1bb", r"a\x1bb: write", id="a control character is not repeated"),
        pytest.param("user=", "user= is empty", id="no value"),
        pytest.param("user=a user=b", "user= is there twice", id="a word twice"),
        pytest.param("source=10.0.0.0/8 from=10.0.0.1", "from= is there twice", id="a field twice by two words"),
        pytest.param("source=10.0.0.0/33", "source", id="no prefix"),
        pytest.param("rule=x:y", "rule", id="no line"),
    ],
)
def test_what_is_refused(text: str, fault: str) -> None:
    with pytest.raises(GatewayError) as caught:
        parse(text)
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet=st.sampled_from("user=sourcdestrule .:/*1@\x1bé"), max_size=40))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    try:
        assert parse(words(parse(text))) == parse(text)
    except GatewayError:
        pass
