"""Evaluation of teams on questions with known answers."""
