"""Text to frozen values that keep their places, and back; no socket, clock or log in here."""
