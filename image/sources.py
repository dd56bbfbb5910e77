"""Where Debian's packages come from on this host, for apt in a tree that is being built.

A build takes the host's own sources, so that no mirror's name stands in the repository. It must not know what is built
from them, and a product never keeps them: ``image.tree`` writes the public ones in their place.
"""

from collections.abc import Iterable
from typing import Final

from image.run import BuildError, run

OF_THE_HOST: Final = (
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
)
"""How a host reaches its mirror: apt.conf(5). What it has not set is left alone."""


def lines(suite: str) -> list[str]:
    """The host's sources of a release such as ``bookworm`` with its updates, as lines of sources.list(5), sorted.

    Raises BuildError when the host has none of that release.
    """
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    found = of_suite(suite, run(["apt-get", "indextargets", "--format", form, "Identifier: Packages"]))
    if not found:
        raise BuildError(f"apt has no sources of {suite} here; add them, then apt-get update")
    return found


def settings() -> list[str]:
    """Options ``--aptopt=...`` for mmdebstrap(1), which give another apt what this host has set to reach its mirror."""
    return chosen(run(["apt-config", "dump"]).splitlines())


def of_suite(suite: str, listing: str) -> list[str]:
    """Lines of sources.list(5) of the releases of ``suite`` in a listing of `URI RELEASE COMPONENT` lines."""
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    found = (line.split() for line in listing.splitlines())
    return sorted({f"deb {uri} {release} {component}" for uri, release, component in found if release in wanted})


def chosen(dump: Iterable[str]) -> list[str]:
    """Of the lines of ``apt-config dump`` those that a build takes over, as options of mmdebstrap."""
    return [f"--aptopt={line}" for line in dump if line.startswith(tuple(f"{name} " for name in OF_THE_HOST))]
