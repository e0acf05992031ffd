"""Scores as pure functions on arrays, in seconds and hertz, equal to the field's libraries where those define them.

What has no notes scores 0, as in mir_eval: also an empty estimate of an empty reference, which a mean over pieces
should leave out by its count.
"""
