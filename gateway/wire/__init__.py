"""Bytes to events and back, for every protocol that the gateway speaks; no socket, clock or log in here."""
