"""The network in a browser: orbit an object and see its picture follow. Only ``page`` knows of viser."""
