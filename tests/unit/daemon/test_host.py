"""What the tools learn of the host."""

import os
from pathlib import Path

import msgspec
import pytest

from gateway.daemon.host import SameHost, Texts, ThisHost, signature, user_files
from gateway.errors import ConfigError
from gateway.policy.users import UserFiles


def test_user_files_are_read_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "good"
    path.write_text("fred, julie # and nobody else\n")
    assert user_files(print).file(str(path)) == {"fred", "julie"}


def test_a_missing_user_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        user_files(print).file(str(tmp_path / "gone"))


def test_a_folder_is_no_user_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="directory"):
        user_files(print).file(str(tmp_path))


def test_groups_are_those_of_the_host() -> None:
    found = user_files(print)
    assert found.group("no-such-group-on-any-host") is None
    root = found.group("root")
    assert root is None or "root" in root or os.getuid() != 0


# What was read, for others


TEXTS = Texts(
    "/g.toml", {"/g.toml": "a", "/s.conf": "b"}, ("/s.conf",), {"staff": ("fred",), "gone": None}, {"/u": (1,)}
)


def test_the_digest_is_of_all_texts_and_of_their_names_and_of_nothing_else() -> None:
    same = Texts("/other", dict(reversed(TEXTS.files.items())))
    assert same.digest == TEXTS.digest
    assert len(TEXTS.digest) == 64
    others = [
        {"/g.toml": "a", "/s.conf": "c"},
        {"/g.toml": "b", "/s.conf": "a"},
        {"/g.toml": "a"},
        {"/g.toml": "a", "/t.conf": "b"},
        {"/g.toml": "a/s.conf", "": "b"},
    ]
    assert len({Texts("", files).digest for files in others} | {TEXTS.digest}) == len(others) + 1


def test_all_that_this_host_answers_is_noted(tmp_path: Path) -> None:
    for name in ("plain", "secret"):
        (tmp_path / name).write_text(name)
    (tmp_path / "secret").chmod(0o640)
    plain, secret = str(tmp_path / "plain"), str(tmp_path / "secret")
    host = ThisHost("settings")
    assert (host.text(plain), host.passwords(secret), host.mode(secret)) == ("plain", "secret", 0o640)
    assert host.signature(plain) == signature(plain)
    assert host.group("no-such-group-on-any-host") is None
    found = host.texts
    assert (found.path, found.files, found.secret) == ("settings", {plain: "plain", secret: "secret"}, (secret,))
    assert found.groups == {"no-such-group-on-any-host": None}
    assert found.signatures == {plain: signature(plain)}


def test_whoever_may_open_the_files_is_asked_for_all_that_is_to_be_known_of_them(tmp_path: Path) -> None:
    """The warden may open what this process can not even see: here by another name."""
    (tmp_path / "real").write_text("fred\n")
    (tmp_path / "real").chmod(0o640)
    host = ThisHost("", lambda path, flags: os.open(path.replace("/hidden/", f"{tmp_path}/"), flags))
    assert host.text("/hidden/real") == "fred\n"
    assert host.mode("/hidden/real") == 0o640
    assert host.signature("/hidden/real") == signature(str(tmp_path / "real"))
    assert user_files(print, host).file("/hidden/real") == {"fred"}
    with pytest.raises(FileNotFoundError):
        host.signature("/hidden/gone")


class Watch:
    """User files of a host as it was, over a clock that the test moves."""

    def __init__(self, path: Path, *groups: str) -> None:
        self.path = path
        first = ThisHost()
        user_files(print, first).file(str(path))
        for name in groups:
            first.group(name)
        self.host = SameHost(msgspec.json.decode(msgspec.json.encode(first.texts), type=Texts))
        self.now = 0.0
        self.troubles: list[str] = []
        self.files = UserFiles(
            self.host.text, self.host.signature, lambda: self.now, self.host.group, self.troubles.append
        )

    def users(self) -> set[str]:
        """Who is on it, a while later."""
        self.now += 10
        return set(self.files.file(str(self.path)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "users"
    found.write_text("fred\n")
    return found


def test_a_user_file_is_first_as_it_was_read_elsewhere_and_then_as_it_is(path: Path) -> None:
    watch = Watch(path)
    path.write_text("fred julie\n")
    assert watch.files.file(str(path)) == {"fred"}
    assert watch.users() == {"fred", "julie"}
    path.write_text("nobody-else\n")
    assert watch.users() == {"nobody-else"}
    assert watch.troubles == []


def test_a_user_file_that_does_not_change_is_not_read_again(path: Path) -> None:
    watch = Watch(path)
    read: list[str] = []

    def reading(name: str) -> str:
        read.append(name)
        return watch.host.text(name)

    watch.files = UserFiles(reading, watch.host.signature, lambda: watch.now, watch.host.group, print)
    for _ in range(3):
        assert watch.users() == {"fred"}
    assert read == [str(path)]
    path.write_text("fred julie\n")
    assert watch.users() == {"fred", "julie"}
    assert read == [str(path)] * 2


def test_a_user_file_that_this_process_can_not_read_keeps_its_contents(path: Path) -> None:
    watch = Watch(path)
    assert watch.users() == {"fred"}
    path.unlink()
    for _ in range(3):
        assert watch.users() == {"fred"}
    assert watch.troubles == [f"Unable to open userfile ({path})"]
    path.write_text("julie\n")
    assert watch.users() == {"julie"}


def test_groups_are_those_that_were_found_elsewhere(path: Path) -> None:
    texts = Texts(groups={"staff": ("fred", "julie"), "empty": (), "gone": None})
    host = SameHost(texts)
    assert host.group("staff") == frozenset({"fred", "julie"})
    assert host.group("empty") == frozenset()
    assert host.group("gone") is None
    assert host.group("root") is None  # nobody asked for it, so nobody may need it
    assert Watch(path, "root").host.group("root") == ThisHost().group("root")


def test_the_same_host_has_no_interfaces_and_every_mode_is_good(path: Path) -> None:
    host = SameHost(Texts(files={"/p": "x"}))
    assert host.kernel().links == ()
    assert host.mode(str(path)) == 0
    assert host.passwords("/p") == host.passwords("/p") == "x"


def test_the_names_of_ports_are_those_that_were_read_elsewhere() -> None:
    """A process that may not read /etc/services must understand `eq https` all the same, and as the others do."""
    first = ThisHost()
    assert first.services().port("https") == 443
    assert SameHost(first.texts).services() == first.services()
    other = SameHost(Texts(services="shop 4711/tcp\n")).services()
    assert (other.port("shop"), other.port("https")) == (4711, None)


def test_who_was_told_of_no_services_asks_the_host() -> None:
    assert SameHost(Texts()).services() == ThisHost().services()
