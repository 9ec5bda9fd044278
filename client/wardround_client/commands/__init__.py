"""The commands of ``wardround-site``, by what they are about; ``main`` puts them together.

Rules: what takes long to import, torch above all, is imported where it is used.

Privacy: print what stays at the site: numbers, codes, names of institutions, notes.
"""
