"""The host's package sources for a build: its release, nobody else's packages, and how its mirror is reached."""

from image import sources

LISTING = """\
http://mirror.example/debian/ bookworm main
http://mirror.example/debian/ bookworm-updates main
http://mirror.example/security/ bookworm-security main
http://mirror.example/debian/ bookworm main
http://other.example/ nodistro main
http://mirror.example/debian/ trixie main
"""


def test_the_sources_of_a_release_and_its_updates_are_taken_once_each() -> None:
    assert sources.of_suite("bookworm", LISTING) == [
        "deb http://mirror.example/debian/ bookworm main",
        "deb http://mirror.example/debian/ bookworm-updates main",
        "deb http://mirror.example/security/ bookworm-security main",
    ]


def test_a_release_that_the_host_has_not_gives_none() -> None:
    assert sources.of_suite("sid", LISTING) == []


def test_only_settings_about_the_way_to_the_mirror_are_taken() -> None:
    dump = [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::http::ProxyAutoDetect "x";',
        'APT::Color "1";',
    ]
    assert sources.chosen(dump) == ['--aptopt=Acquire::http::Proxy "http://proxy.example:3128";']
