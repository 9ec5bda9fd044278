"""The models that a federation is compared with: no privacy, no federation, or neither.

``recipes`` is their configuration, ``without_privacy`` and ``with_privacy`` train them. torch is imported
with the latter two only.

Privacy: each model needs what no hospital would give: all data in one place, or no noise. Simulation only.
"""

from __future__ import annotations

from wardround_simulations.baselines.recipes import LonePrivateRecipe, NonPrivateRecipe

__all__ = ["LonePrivateRecipe", "NonPrivateRecipe"]
