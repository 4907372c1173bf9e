"""The one exception for bad input; launchers print it as a single line and exit with 1."""


class InputError(ValueError):
    """What the caller gave cannot be used: names the thing, what was expected, what came, and the remedy."""
