"""The commands of a build: what they print comes back, and what fails is told in one line that says what to do."""

from pathlib import Path

import pytest

from image.run import PACKAGES, BuildError, need, run


def test_what_it_prints_comes_back() -> None:
    assert run(["cat"], text="one\ntwo\n") == "one\ntwo\n"
    assert run(["cat"]) == ""


def test_folder_and_environment_are_those_that_are_given(tmp_path: Path) -> None:
    assert run(["/bin/pwd"], cwd=tmp_path) == f"{tmp_path}\n"
    assert run(["/usr/bin/env"], env={"ONLY": "this"}) == "ONLY=this\n"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        pytest.param("echo first >&2; echo last >&2; exit 3", "status 3: last", id="the last line of its errors"),
        pytest.param("echo said; exit 1", "status 1: said", id="or of what it printed"),
        pytest.param("exit 2", "status 2: no word", id="or that it said nothing"),
    ],
)
def test_a_failure_is_one_line(script: str, told: str) -> None:
    with pytest.raises(BuildError) as caught:
        run(["sh", "-c", script])
    assert str(caught.value).startswith("sh -c ")
    assert str(caught.value).endswith(told)


def test_a_program_that_is_missing_is_named_with_its_package() -> None:
    with pytest.raises(BuildError, match=r"^no-such-program not found; as root: apt-get install no-such-program$"):
        run(["no-such-program"])


def test_all_that_are_missing_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BuildError, match=r"^dh, mcopy not found; as root: apt-get install debhelper mtools$"):
        need("dh", "mcopy")


def test_what_is_there_is_not_asked_for() -> None:
    need("sh", "cat")
    assert "sh" not in PACKAGES
