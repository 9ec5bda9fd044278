"""How the compared classifiers look and what they are called.

Shape says where a model was trained (circle together, square alone, diamond all scans in one place), fill
says whether it is private (filled) or not (hollow), so that colour is never needed to tell them apart.
"""

from __future__ import annotations

from wardround_server.report.charts import ModelStyle

STYLES = {
    "federated": ModelStyle("Together, private", "circle", "m fed full", "l fed"),
    "federated_released": ModelStyle(
        "Together, private, as released", "circle", "m rel full", "l rel dot", dotted=True
    ),
    "federated_without_privacy": ModelStyle(
        "Together, without privacy", "circle", "m fed open", "l fed dash"
    ),
    "pooled": ModelStyle("All scans in one place", "diamond", "m pool open", "l pool dash"),
    "local_private": ModelStyle("Alone, private", "square", "m own full", "l own thin"),
    "local": ModelStyle("Alone, without privacy", "square", "m own open", "l own thin dash"),
}
"""By the name that the model has in ``report.json``, in the order in which they are shown."""
