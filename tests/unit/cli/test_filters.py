"""The options that say which sessions are meant."""

import argparse

import pytest

from gateway.cli.filters import EVERY_SESSION, add_filters, filter_of
from gateway.control.protocol import Filter


def parsed(*words: str) -> Filter:
    parser = argparse.ArgumentParser()
    add_filters(parser)
    return filter_of(parser.parse_args(words))


def test_nothing_is_asked_for_by_itself() -> None:
    assert parsed() == Filter()


def test_every_option_is_a_field() -> None:
    words = ["--session", "a", "--user", "b", "--from", "c", "--to", "d", "--rule", "e", "--egress", "f"]
    assert parsed(*words) == Filter("a", "b", "c", "d", "e", "f")


@pytest.mark.parametrize("option", ["--session", "--user", "--from", "--to", "--rule", "--egress"])
def test_an_empty_value_is_refused_since_it_would_mean_more_sessions(option: str) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(option, "")
    assert ended.value.code == 2


def test_all_of_them_is_no_empty_filter() -> None:
    assert EVERY_SESSION not in (Filter(), parsed())
