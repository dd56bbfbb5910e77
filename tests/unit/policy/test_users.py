"""User lists: their text, their members, and the watch over files that change while running."""

import pytest

from gateway.config.rules import UserName
from gateway.errors import ConfigError
from gateway.place import Place, Problem
from gateway.policy.users import LINE_LIMIT, RECHECK, UserFiles, is_member, members_of, parse_users
from tests.support.rules import USERS, users

PATH = "/etc/goodusers"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("", set(), id="an empty file"),
        pytest.param("fred\n", {"fred"}, id="one a line"),
        pytest.param("fred", {"fred"}, id="no newline at the end"),
        pytest.param("fred julie\tjoe,ann , \t,bob\n", {"fred", "julie", "joe", "ann", "bob"}, id="any separators"),
        pytest.param("fred # and joe\n# ann\n#bob", {"fred"}, id="comments"),
        pytest.param("fred#joe\n", {"fred"}, id="a comment without a blank before it"),
        pytest.param("fred\r\njoe\r\n", {"fred", "joe"}, id="lines of another system"),
        pytest.param(",,\n \t\n", set(), id="separators only"),
        pytest.param("Fred fred", {"Fred", "fred"}, id="letter case counts"),
        pytest.param("fr\u00a0ed", {"fr\u00a0ed"}, id="only blanks, tabs and commas separate"),
    ],
)
def test_the_text_of_a_user_file(text: str, found: set[str]) -> None:
    assert parse_users(text) == found


def test_a_line_of_1023_characters_is_read_and_one_of_1024_is_refused() -> None:
    assert parse_users("a" * LINE_LIMIT) == {"a" * LINE_LIMIT}
    with pytest.raises(ConfigError) as caught:
        parse_users("fred\n" + "a" * (LINE_LIMIT + 1) + "\n\n" + "b" * 2000, PATH)
    assert [problem.place for problem in caught.value.problems] == [Place(PATH, 2, 1024), Place(PATH, 4, 1024)]


@pytest.mark.parametrize(
    ("items", "found"),
    [
        pytest.param("", set(), id="no list"),
        pytest.param("ann", {"ann"}, id="a name"),
        pytest.param("ann,/etc/good,@staff", {"ann", "fred", "julie", "joe"}, id="names, a file and a group together"),
        pytest.param("@unknown", set(), id="an unknown group has no members"),
    ],
)
def test_who_is_on_a_list(items: str, found: set[str]) -> None:
    assert members_of(users(items), USERS) == found
    for user in ("", "ann", "fred", "julie", "joe", "Fred", "staff", "/etc/good"):
        assert is_member(user, users(items), USERS) == (user in found)


def test_the_empty_name_is_nobody_even_where_a_list_has_it() -> None:
    assert members_of((UserName(""),), USERS) == set()
    assert not is_member("", (UserName(""),), USERS)


class Host:
    """Files, a clock and a group database that a test sets; ``reads`` counts."""

    def __init__(self) -> None:
        self.text: str | None = "fred"
        self.signature = 1
        self.now = 100.0
        self.reads = 0
        self.looks = 0
        self.groups: list[str] = []
        self.reports: list[str] = []
        self.files = UserFiles(self.read, self.sign, lambda: self.now, self.group, self.reports.append)

    def read(self, path: str) -> str:
        self.reads += 1
        if self.text is None:
            raise ConfigError([Problem(Place(path), "cannot read: Permission denied")])
        return self.text

    def sign(self, path: str) -> int:
        self.looks += 1
        if self.text == "gone":
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.signature

    def group(self, name: str) -> frozenset[str] | None:
        self.groups.append(name)
        return frozenset({"joe"}) if name == "staff" else None

    def write(self, text: str | None) -> None:
        """Another contents, a moment later."""
        self.text = text
        self.signature += 1
        self.now += RECHECK

    def users(self) -> set[str]:
        return set(self.files.file(PATH))


@pytest.fixture
def machine() -> Host:
    return Host()


class TestUserFiles:
    def test_a_file_is_looked_at_once_a_second_at_most(self, machine: Host) -> None:
        machine.users()
        machine.now += RECHECK - 0.01
        for _ in range(50):
            machine.users()
        assert (machine.looks, machine.reads) == (1, 1)
        machine.now += 0.01
        for _ in range(50):
            machine.users()
        assert (machine.looks, machine.reads) == (2, 1)

    def test_a_change_is_seen_at_the_next_look(self, machine: Host) -> None:
        assert machine.users() == {"fred"}
        machine.write("joe")
        machine.now -= 0.5
        assert machine.users() == {"fred"}
        machine.now += 0.5
        assert machine.users() == {"joe"}

    def test_the_same_users_are_the_same_object_though_the_file_was_written(self, machine: Host) -> None:
        before = machine.files.file(PATH)
        machine.write("fred  # still")
        assert machine.files.file(PATH) is before
        assert machine.reads == 2

    def test_a_file_that_never_was_readable_is_an_error(self, machine: Host) -> None:
        machine.text = None
        with pytest.raises(ConfigError):
            machine.users()
        machine.text = "gone"
        with pytest.raises(FileNotFoundError):
            machine.users()

    @pytest.mark.parametrize("gone", [pytest.param(None, id="unreadable"), pytest.param("gone", id="missing")])
    def test_a_file_that_becomes_unreadable_keeps_its_users_and_is_reported_once(
        self, machine: Host, gone: str | None
    ) -> None:
        machine.users()
        for _ in range(3):
            machine.write(gone)
            assert machine.users() == {"fred"}
        assert machine.reports == [f"Unable to open userfile ({PATH})"]

    def test_a_file_that_comes_back_counts_even_with_its_old_times(self, machine: Host) -> None:
        machine.users()
        machine.write(None)
        machine.users()
        machine.text = "joe"
        machine.now += RECHECK
        machine.signature = 1
        assert machine.users() == {"joe"}

    def test_it_is_reported_again_after_it_was_good(self, machine: Host) -> None:
        machine.users()
        for text in (None, "joe", None):
            machine.write(text)
            machine.users()
        assert len(machine.reports) == 2

    def test_a_file_with_mistakes_keeps_its_users_and_names_the_place_once(self, machine: Host) -> None:
        machine.users()
        machine.write("ann\n" + "x" * 2000)
        assert machine.users() == {"fred"}
        machine.now += RECHECK
        assert machine.users() == {"fred"}
        (report,) = machine.reports
        assert report.startswith(f"{PATH}:2:1024: a line of more than 1023 characters; its last good contents")

    def test_a_group_is_asked_for_once(self, machine: Host) -> None:
        for _ in range(3):
            assert machine.files.group("staff") == frozenset({"joe"})
            assert machine.files.group("wheel") is None
        assert machine.groups == ["staff", "wheel"]
