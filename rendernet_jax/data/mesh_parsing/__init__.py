"""Readers that run in the child process of ``mesh_subprocess.py``: no module here imports any other of the package."""
