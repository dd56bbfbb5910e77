"""Whom the items of user lists name, and when a user file among them counts as changed."""

import pytest

from gateway.config.rules import UserFile, UserGroup, UserName
from gateway.policy.membership import Membership
from tests.support.rules import Users, users


@pytest.fixture
def source() -> Users:
    return Users({"/etc/good": ("fred",), "/etc/more": ("ann",)}, {"staff": ("joe",)})


def test_each_item_names_its_own(source: Users) -> None:
    found = Membership(users("julie,/etc/good,@staff"), source).members()
    assert found == {
        UserName("julie"): {"julie"},
        UserFile("/etc/good"): {"fred"},
        UserGroup("staff"): {"joe"},
    }


def test_only_user_files_are_watched(source: Users) -> None:
    assert not Membership(users("julie,@staff"), source).watched
    assert Membership(users("julie,/etc/good"), source).watched.keys() == {"/etc/good"}


def test_a_change_is_told_once(source: Users) -> None:
    lists = Membership(users("/etc/good,/etc/more"), source)
    assert not lists.changed()
    source.files["/etc/more"] = frozenset({"bob"})
    assert lists.changed()
    assert not lists.changed()
    assert lists.members()[UserFile("/etc/more")] == {"bob"}


def test_two_changes_at_once_are_both_taken_in(source: Users) -> None:
    lists = Membership(users("/etc/good,/etc/more"), source)
    source.files = {path: frozenset({"bob"}) for path in source.files}
    assert lists.changed()
    assert not lists.changed()


def test_two_policies_of_one_source_each_see_a_change(source: Users) -> None:
    first, second = Membership(users("/etc/good"), source), Membership(users("/etc/good"), source)
    source.files["/etc/good"] = frozenset()
    assert first.changed()
    assert second.changed()


def test_a_file_that_can_not_be_read_is_told_at_once(source: Users) -> None:
    with pytest.raises(FileNotFoundError):
        Membership(users("/etc/gone"), source)
