"""Debian machines with their real init system, in namespaces, for tests of the start at boot."""
