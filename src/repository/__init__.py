"""Brings the components of a repository here; door.py is the only user of GitPython."""
