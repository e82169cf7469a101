"""Decides which sessions are admitted and which of them take part in a step."""
