"""Launchers: flags in, one library call out. Run ``python -m experiments.NAME --help``."""
