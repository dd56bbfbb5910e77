"""What one session does: events in, commands out; no socket, clock or log in here."""
