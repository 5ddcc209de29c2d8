"""Benchmarks: the tool beside a bare loop, make, doit and Snakemake; run.py is the program."""
