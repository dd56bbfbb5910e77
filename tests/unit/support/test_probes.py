"""Who answers: somebody who listens, somebody who refuses, and nobody."""

import socket

from tests.support.bastion.probes import OPEN, REFUSED, answering
from tests.support.netns import namespace, needs_namespaces


@needs_namespaces
def test_who_listens_and_who_refuses_has_answered_and_who_is_silent_has_not() -> None:
    with namespace() as space:
        space.ip("link", "add", "left", "type", "veth", "peer", "name", "right")
        space.ip("address", "add", "198.51.100.1/24", "dev", "left")
        space.ip("link", "set", "left", "up")
        space.ip("link", "set", "right", "up")
        with space.inside():
            listener = socket.create_server(("127.0.0.1", 80))
        with listener:
            assert answering(space, "127.0.0.1", range(79, 82)) == {79: REFUSED, 80: OPEN, 81: REFUSED}
        # a neighbour that is not there keeps silent for longer than that
        assert answering(space, "198.51.100.2", range(79, 82), patience=0.2) == {}
