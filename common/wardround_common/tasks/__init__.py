"""The tasks of the package, by name: the one registry.

To add a task, write a package of its name beside ``classification`` in each program that it has a part in,
and one line here:

=========================================  =====================================================
package                                    part
=========================================  =====================================================
``wardround_common.tasks.NAME``            a ``TaskPlan``: fields in the plan, layout, words
``wardround_client.tasks.NAME``            module ``task`` with ``TASK``: training, counts
``wardround_server.report.tasks.NAME``     its part of the report; may be left out
``wardround_simulations.tasks.NAME``       what only a simulation can measure; may be left out
=========================================  =====================================================

Rounds, masking, ledger and the plan know no task.

Privacy: names only.
"""

from __future__ import annotations

from functools import reduce
from importlib import import_module
from operator import or_
from typing import Any, Final

TASKS: Final = {
    "classification": "ClassificationPlan",
    "generation": "GenerationPlan",
}
"""Name of the task's package, and of its struct there."""


def any_task() -> Any:  # noqa: ANN401
    """The union of all tasks' structs, for decoding a plan."""
    structs = (getattr(import_module(f"{__name__}.{name}"), struct) for name, struct in TASKS.items())
    return reduce(or_, structs)
