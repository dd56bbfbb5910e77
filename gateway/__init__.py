"""The multihomed gateway: proxy daemon, operator's tools and client library of a firewall host.

The rooms and which may import which are drawn in design(7), ``gateway/man/design.7``.
"""

__version__ = "0.1.0"
