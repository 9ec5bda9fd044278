"""The commands of ``wardround-coordinator study``; ``wardround_server.main`` puts them together.

Privacy: print names of institutions, numbers of rounds, codes and notes.
"""
