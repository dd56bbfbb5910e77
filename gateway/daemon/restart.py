"""The settings that a running daemon can not change: they count from its next start on, and that is said."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gateway.config.settings import Settings


class _Fixed(NamedTuple):
    key: str
    value: Callable[[Settings], Any]


FIXED = (
    _Fixed("[sockd] workers", lambda settings: settings.sockd.workers),
    _Fixed("[sockd] user", lambda settings: settings.sockd.user),
    _Fixed("[sockd] pidfile", lambda settings: settings.sockd.pidfile),
    _Fixed("[sockd] titles", lambda settings: settings.sockd.titles),
    _Fixed("[resolver] workers", lambda settings: settings.resolver.workers),
    _Fixed("[resolver] whether it has zones", lambda settings: bool(settings.resolver.zone)),
    _Fixed("[log] classic", lambda settings: settings.log.classic),
    _Fixed("[log] json", lambda settings: settings.log.json),
    _Fixed("[log] facility", lambda settings: settings.log.facility),
    _Fixed("[control] socket", lambda settings: settings.control.socket),
    _Fixed("[control] group", lambda settings: settings.control.group),
    _Fixed("[metrics] addresses", lambda settings: settings.metrics.addresses),
    _Fixed("[metrics] port", lambda settings: settings.metrics.port),
)


def waiting_for_a_restart(now: Settings, new: Settings) -> Iterator[str]:
    """What is written otherwise than it is, a line each."""
    for fixed in FIXED:
        if fixed.value(now) != fixed.value(new):
            yield f"{fixed.key} counts from the next start of sockd on"
