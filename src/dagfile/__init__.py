"""Reads and checks a DAG file; parse.py is where it begins."""
