"""``sockctl metrics``: what Prometheus would fetch, on standard output; also where [metrics] serves nobody."""

import argparse
import sys

from gateway.cli.daemon import DONE, add_json, add_socket, print_object, understood, with_daemon
from gateway.control.client import ControlClient
from gateway.control.protocol import ControlError, Metrics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``sockctl metrics``."""
    add_socket(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the text as it is; 0."""

    def work(client: ControlClient) -> int:
        _, done = client.ask(Metrics())
        if arguments.json:
            print_object(done)
            return DONE
        text = understood(done, dict[str, str]).get("text")
        if text is None:
            raise ControlError("the answer is not understood: it has no text")
        sys.stdout.write(text)
        return DONE

    return with_daemon("metrics", arguments, work)
