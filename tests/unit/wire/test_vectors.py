"""Every conversation of the vector files, in every way its bytes can arrive."""

import pytest

from tests.support.feeding import Case, Way, load_cases, play


@pytest.mark.parametrize(("case", "way"), load_cases("server_*.toml"))
def test_server_conversation(case: Case, way: Way) -> None:
    play(case, way)


@pytest.mark.parametrize(("case", "way"), load_cases("client*.toml"))
def test_client_conversation(case: Case, way: Way) -> None:
    play(case, way)
