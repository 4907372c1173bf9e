"""Generators of procedural solids: shapes that a network may be trained on without any data of others."""
