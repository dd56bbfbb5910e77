"""The limit of descriptors."""

import resource

from gateway.system.limits import raise_descriptors


def test_the_soft_limit_becomes_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
        assert raise_descriptors() == hard
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        assert raise_descriptors() == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
