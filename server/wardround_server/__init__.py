"""The coordinator's side: runs rounds, adds masked updates, reports.

Privacy: this package cannot open an image or run a model; it imports nothing that could.
"""
