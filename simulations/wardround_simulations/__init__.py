"""The whole federation on one machine, with the production code of both sides.

Privacy: a simulation sees every site's data; what only it can know is labelled so.
"""
