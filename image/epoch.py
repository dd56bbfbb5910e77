"""The moment that a product carries as its time, so that the same source gives the same product."""

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from image.run import ROOT, BuildError, run


def epoch(repository: Path = ROOT, given: Mapping[str, str] = os.environ) -> int:
    """Seconds since 1970: SOURCE_DATE_EPOCH if it is set, else the last commit's time, else now.

    Raises BuildError when SOURCE_DATE_EPOCH is no number.
    """
    if (words := given.get("SOURCE_DATE_EPOCH", "")) != "":
        if not words.isdecimal():
            raise BuildError(f"SOURCE_DATE_EPOCH is {words}; it must be a number of seconds")
        return int(words)
    try:
        return int(run(["git", "-C", repository, "log", "-1", "--format=%ct"]))
    except (BuildError, ValueError):
        return int(time.time())


def stamp(seconds: int) -> str:
    """That moment as ISO 8601 in UTC, as SPDX wants it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
