"""Questions in the log: one line and one record each, if the administrator wants them (``[resolver] log``)."""

from gateway.dns.constants import rcode_text, type_text
from gateway.dns.names import text_name
from gateway.dns.pursuit import Pursuit
from gateway.dns.record import QueryRecord
from gateway.system.journal import Journal


class QueryLogger:
    """Writes them down."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def record(self, pursuit: Pursuit, rcode: int, why: str, now: float) -> None:
        """A question was answered; as `gateway.dns.forwarder.Record`."""
        query, client = pursuit.query, pursuit.client
        record = QueryRecord(
            time=self._journal.timestamp(),
            client="sockd" if client is None else str(client.address),
            name=text_name(query.name),
            type=type_text(query.type),
            rcode=rcode_text(rcode),
            zone=None if pursuit.zone is None else pursuit.zone.text,
            cache=pursuit.cache or "none",
            server=pursuit.server or None,
            egress=pursuit.way or None,
            ede=why or None,
            milliseconds=round((now - pursuit.began) * 1000, 3),
        )
        self._journal.line(record.line())
        self._journal.record(record)
