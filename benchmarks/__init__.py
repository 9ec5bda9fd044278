"""Benchmarks: ``make bench`` runs all, prints a table and writes ``build/bench/NAME.json``.

Times are CPU seconds of this machine unless a name says wall; compare ratios within one run, not numbers
between machines.
"""
