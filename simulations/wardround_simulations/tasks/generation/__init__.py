"""How good generated images are, judged by real ones.

``quality`` puts it together; ``classifier``, ``judging``, ``distances`` and ``class_mean`` do one thing each.

Privacy: every figure is exact, computed from single patients, and stays in the simulation.
"""
