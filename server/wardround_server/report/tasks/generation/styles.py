"""How the compared training sets look and what they are called.

Fill says whether the training set is private (filled) or not (hollow), shape which set it is.
"""

from __future__ import annotations

from wardround_server.report.charts import ModelStyle

STYLES = {
    "train_synthetic_test_real": ModelStyle("Synthetic images", "circle", "m fed full", "l fed"),
    "train_real_test_real": ModelStyle("Real images, no privacy", "diamond", "m pool open", "l pool dash"),
    "without_privacy": ModelStyle("Synthetic images, no privacy", "circle", "m fed open", "l fed dash"),
    "class_mean_baseline": ModelStyle("Class means, no privacy", "square", "m own open", "l own thin"),
}
"""By the name that the training set has in ``report.json``, in the order in which they are shown."""

NEAREST = {
    "to_train": ModelStyle("Training images", "circle", "m own full", "l own"),
    "to_held_out": ModelStyle("Held-out images", "diamond", "m pool open", "l pool"),
}
"""Likewise for the two sets in which the nearest image is looked for."""
