"""How good a classifier is, and what it is compared with.

``judge`` puts it together; ``curve`` scores every round, ``comparison`` trains the baselines, ``figures`` are
the exact figures of each.

Privacy: every figure is exact, computed from single patients, and stays in the simulation.
"""
