"""`gateway.config.source`: one clear problem for each way in which a file can not be read."""

import os
from pathlib import Path

import pytest

from gateway.config.source import SIZE_LIMIT, read_services, read_text
from gateway.errors import ConfigError


def problem_of(path: Path | str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_text(str(path))
    assert len(caught.value.problems) == 1
    return str(caught.value)


def test_the_text_of_a_file_comes_back(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes("deny ALL # é\n".encode())
    assert read_text(str(tmp_path / "f")) == "deny ALL # é\n"


def test_an_empty_file_is_an_empty_text(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    assert read_text(str(tmp_path / "f")) == ""


def test_the_byte_order_mark_of_an_editor_is_not_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbfdeny ALL\n")
    assert read_text(str(tmp_path / "f")) == "deny ALL\n"


def test_a_missing_file_is_named_with_the_reason(tmp_path: Path) -> None:
    assert problem_of(tmp_path / "f") == f"{tmp_path}/f: cannot read: No such file or directory"


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert problem_of(tmp_path) == f"{tmp_path}: cannot read: Is a directory"


def test_a_pipe_is_refused_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    assert problem_of(tmp_path / "f") == f"{tmp_path}/f: cannot read: Is not a regular file"


def test_a_device_is_refused() -> None:
    assert problem_of("/dev/zero") == "/dev/zero: cannot read: Is not a regular file"


def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    (tmp_path / "f").touch(mode=0)
    assert problem_of(tmp_path / "f") == f"{tmp_path}/f: cannot read: Permission denied"


def test_a_path_with_a_nul_byte_is_refused() -> None:
    assert problem_of("/etc/\0") == "/etc/\0: cannot read: The path holds a NUL byte"


def test_a_file_at_the_size_limit_is_read_and_one_byte_more_is_refused(tmp_path: Path) -> None:
    with open(tmp_path / "f", "wb") as stream:
        stream.write(b"#" * SIZE_LIMIT)
    assert len(read_text(str(tmp_path / "f"))) == SIZE_LIMIT
    with open(tmp_path / "f", "ab") as stream:
        stream.write(b"#")
    assert problem_of(tmp_path / "f") == f"{tmp_path}/f: cannot read: Larger than 16 MiB"


@pytest.mark.parametrize(
    ("content", "where"),
    [
        pytest.param(b"a\n\0b\n", ":2:1: a NUL byte; this is not a text file", id="NUL byte"),
        pytest.param(b"caf\xe9\n", ":1:4: not UTF-8 text (byte 0xe9);", id="a Latin-1 letter"),
        pytest.param("é\né".encode() + b"\xc3", ":2:2: not UTF-8 text (byte 0xc3);", id="half a letter at the end"),
        pytest.param(b"\xef\xbb\xbfab\xff", ":1:3: not UTF-8 text (byte 0xff);", id="after a byte order mark"),
        pytest.param(b"\xff\xfed\0", ":1:", id="UTF-16"),
    ],
)
def test_what_is_no_text_is_placed(tmp_path: Path, content: bytes, where: str) -> None:
    (tmp_path / "f").write_bytes(content)
    assert problem_of(tmp_path / "f").startswith(f"{tmp_path}/f{where}")


def test_services_are_read_from_a_file_whatever_its_comments_are_written_in(tmp_path: Path) -> None:
    (tmp_path / "services").write_bytes(b"telnet 23/tcp # \xe9\n")
    assert read_services(str(tmp_path / "services")).port("telnet") == 23


def test_a_host_without_services_knows_numbers_only(tmp_path: Path) -> None:
    services = read_services(str(tmp_path / "none"))
    assert services.port("telnet") is None
    assert services.port("23") == 23
