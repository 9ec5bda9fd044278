"""The site's own limits. The site decides, not the plan and not the coordinator.

Privacy: limits only; no patient data.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from wardround_common.tasks import TASKS


class SitePolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What this site permits; each default is the safe choice."""

    tasks: tuple[str, ...] = tuple(TASKS)
    """Tasks that may run here; each is private in the same way, so by default all of them."""
    minimum_cohort: Annotated[int, Meta(ge=3)] = 3
    """Smallest number of sites whose sum may be opened."""
    max_colluders: Annotated[int, Meta(ge=1)] = 1
    """How many other sites may collude with the coordinator without learning this site's update; a cohort
    of n with threshold t is refused unless 2 t > n + max_colluders and n - max_colluders >= 2."""
    largest_epsilon: Annotated[float, Meta(gt=0)] = 10.0
    """Largest epsilon of one study."""
    largest_delta: Annotated[float, Meta(gt=0, lt=1)] = 1e-3
    """Largest delta of one study."""
    lifetime_epsilon: Annotated[float, Meta(gt=0)] = 40.0
    """Largest total of one patient over all studies, by RDP composition at ``lifetime_delta``."""
    lifetime_delta: Annotated[float, Meta(gt=0, lt=1)] = 1e-5
