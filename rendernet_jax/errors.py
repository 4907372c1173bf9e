"""The exceptions that launchers print as a single line: bad input, which exits with 1, and a signal, with 143."""


class InputError(ValueError):
    """What the caller gave cannot be used: names the thing, what was expected, what came, and the remedy."""


class Interrupted(Exception):
    """SIGTERM ended the work early; what was done is saved, and the same command goes on."""
