"""What the host lets this process have."""

import resource


def raise_descriptors() -> int:
    """Raise the soft limit of open descriptors to the hard one; the number that this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
