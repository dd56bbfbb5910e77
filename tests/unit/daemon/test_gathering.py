"""Questions to several: when they are over, with what, and who has no say in them."""

import pytest

from gateway.daemon.gathering import Gathering, Gatherings

LONG, NONE = 1000.0, 0.0


class Ends:
    """What was over, in its order."""

    def __init__(self) -> None:
        self.all: list[Gathering] = []

    def __call__(self, gathering: Gathering) -> None:
        self.all.append(gathering)


@pytest.fixture
def ends() -> Ends:
    return Ends()


def test_it_is_over_when_all_have_answered_and_not_before(ends: Ends) -> None:
    gathering = Gathering(["a", "b"], LONG, ends)
    gathering.settle()
    assert gathering.add("a", 1)
    states = [gathering.is_over]
    assert ends.all == []
    assert gathering.add("b", 2)
    states.append(gathering.is_over)
    assert states == [False, True]
    assert ends.all == [gathering]
    assert gathering.answers == [1, 2]
    assert gathering.missing == set()


def test_who_sends_parts_is_waited_for_until_the_last_one(ends: Ends) -> None:
    gathering = Gathering(["a"], LONG, ends)
    gathering.add("a", 1, is_last=False)
    assert not ends.all
    gathering.add("a", 2)
    assert gathering.answers == [1, 2]
    assert len(ends.all) == 1


def test_who_has_gone_is_not_waited_for(ends: Ends) -> None:
    gathering = Gathering(["a", "b"], LONG, ends)
    gathering.add("a", 1)
    gathering.gone("b")
    assert ends.all == [gathering]
    assert gathering.answers == [1]


def test_when_time_is_up_the_missing_are_named(ends: Ends) -> None:
    gathering = Gathering(["a", "b"], NONE, ends)
    gathering.settle()
    assert ends.all == [gathering]
    assert gathering.missing == {"a", "b"}
    assert gathering.seconds == 0


def test_it_is_over_once_whatever_comes_later(ends: Ends) -> None:
    gathering = Gathering(["a"], NONE, ends)
    gathering.settle()
    gathering.settle()
    gathering.gone("a")
    assert len(ends.all) == 1


def test_a_question_to_nobody_is_over_as_soon_as_it_is_put(ends: Ends) -> None:
    gathering = Gathering([], LONG, ends)
    assert not gathering.is_over
    gathering.settle()
    assert ends.all == [gathering]


def test_who_was_not_asked_has_no_say(ends: Ends) -> None:
    gathering = Gathering(["a"], LONG, ends)
    assert not gathering.add("b", 1)
    assert gathering.answers == []
    assert not gathering.is_over


def test_an_answer_counts_once(ends: Ends) -> None:
    gathering = Gathering(["a", "b"], LONG, ends)
    assert gathering.add("a", 1)
    assert not gathering.add("a", 2)
    assert not gathering.add("a", 3, is_last=False)
    assert gathering.answers == [1]


def test_an_answer_of_another_kind_is_none(ends: Ends) -> None:
    gathering = Gathering(["a"], LONG, ends, int)
    assert not gathering.add("a", "text")
    assert ends.all == []
    assert gathering.add("a", 1)
    assert ends.all == [gathering]


# Several of them


def test_each_has_a_number_of_its_own_and_gets_its_own_answers(ends: Ends) -> None:
    gatherings = Gatherings()
    first, one = gatherings.begin(["a"], LONG, ends)
    second, two = gatherings.begin(["a"], LONG, ends)
    assert first != second
    assert gatherings.add(second, "a", "two")
    assert ends.all == [two]
    assert gatherings.add(first, "a", "one")
    assert ends.all == [two, one]
    assert (one.answers, two.answers) == (["one"], ["two"])


def test_an_answer_that_comes_too_late_is_nobodys_fault(ends: Ends) -> None:
    gatherings = Gatherings()
    number, gathering = gatherings.begin(["a"], NONE, ends)
    gatherings.tick()
    assert ends.all == [gathering]
    assert gatherings.add(number, "a", "late")
    assert gathering.answers == []


def test_an_answer_to_a_question_that_was_put_to_others_is_refused(ends: Ends) -> None:
    gatherings = Gatherings()
    number, _ = gatherings.begin(["a"], LONG, ends, str)
    assert not gatherings.add(number, "b", "text")
    assert not gatherings.add(number, "a", 1)
    assert gatherings.add(number, "a", "text")


def test_who_dies_is_missed_in_all_of_them(ends: Ends) -> None:
    gatherings = Gatherings()
    gatherings.begin(["a"], LONG, ends)
    gatherings.begin(["a", "b"], LONG, ends)
    gatherings.begin(["b"], LONG, ends)
    gatherings.gone("a")
    assert len(ends.all) == 1
    gatherings.gone("b")
    assert len(ends.all) == 3


def test_a_new_question_may_be_put_when_one_is_over() -> None:
    gatherings = Gatherings()
    seen: list[str] = []

    def again(_: Gathering) -> None:
        seen.append("first")
        gatherings.begin(["b"], LONG, lambda _: seen.append("second"))

    gatherings.begin(["a"], LONG, again)
    gatherings.gone("a")
    gatherings.gone("b")
    assert seen == ["first", "second"]


def test_time_passes_for_those_whose_time_is_up_only(ends: Ends) -> None:
    gatherings = Gatherings()
    gatherings.begin(["a"], LONG, ends)
    _, short = gatherings.begin(["a"], NONE, ends)
    gatherings.tick()
    assert ends.all == [short]
