"""Parsed files and a question give a decision with its reason; no socket, clock or log in here."""
