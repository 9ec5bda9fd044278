"""What a study can train, by name. A task's code, and torch with it, is imported when it is asked for.

To add a task, write a package beside ``classification`` whose module ``task`` has a ``TASK`` that fits
``interface.Task``, and name it here; rounds, masking and the ledger know none of them.

Privacy: names only.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Final

from wardround_client.tasks.interface import Task
from wardround_common.errors import ConfigError

_MODULES: Final = {"classification": "wardround_client.tasks.classification.task"}


@cache
def load_task(name: str) -> Task:
    """The task of that name; the same object for the whole process.

    Raises:
        ConfigError: The package has no task of that name.
    """
    if name not in _MODULES:
        raise ConfigError(
            f"unknown task {name!r}",
            remedy=f"Set task in the plan to one of: {', '.join(_MODULES)}.",
            code="plan.unknown_task",
        )
    task: Task = import_module(_MODULES[name]).TASK
    return task
