"""The rules by which the text of a team grows."""
