"""A site's part of each task. Its code, and torch with it, is imported when it is asked for.

The registry is ``wardround_common.tasks``: a task of that name has a package here whose module ``task`` holds
a ``TASK`` that fits ``interface.Task``.

Privacy: names only.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from wardround_client.tasks.interface import Task
from wardround_common.errors import ConfigError
from wardround_common.tasks import TASKS


@cache
def load_task(name: str) -> Task:
    """The task of that name; the same object for the whole process.

    Raises:
        ConfigError: The package has no task of that name.
    """
    if name not in TASKS:
        raise ConfigError(
            f"unknown task {name!r}",
            remedy=f"Set task in the plan to one of: {', '.join(TASKS)}.",
            code="plan.unknown_task",
        )
    task: Task = import_module(f"{__name__}.{name}.task").TASK
    return task
