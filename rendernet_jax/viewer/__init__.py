"""The network in a browser: orbit an object and see its picture follow. Only ``page`` and ``server`` know of viser."""
