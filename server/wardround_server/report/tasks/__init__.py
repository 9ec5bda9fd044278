"""The tasks' parts of the report, found by the name that the plan gives the task.

To give a task a part here, write a package of its name beside ``classification`` that has a ``SECTION``; the
page and the model card know none of them. A task without one gets what every study has.

Privacy: names only.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from wardround_server.report.tasks.generic import Generic
from wardround_server.report.tasks.interface import Section


@cache
def load_section(task: str) -> Section:
    """The part of the task of that name, or that of any task where there is none."""
    if task not in {found.name for found in iter_modules(__path__) if found.ispkg}:
        return Generic()
    section: Section = import_module(f"{__name__}.{task}").SECTION
    return section
