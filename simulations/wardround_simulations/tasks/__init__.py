"""What only a simulation can measure, by task: one package for each that has something of the kind.

To give a task a part here, write a package of its name whose module ``judge`` has a ``JUDGE``: a class that
makes an ``interface.Judge`` of an ``interface.Trial``. A task without one is run and reported all the same.

Privacy: everything in here reads the images of all sites; its results are labelled "simulation only".
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from wardround_simulations.tasks.interface import Judge, NoJudge, Trial


def judge_of(trial: Trial) -> Judge:
    """The judge of the trial's task, or one that measures nothing."""
    name = trial.federation.plan.task.name
    if name not in {found.name for found in iter_modules(__path__) if found.ispkg}:
        return NoJudge(trial)
    judge: Judge = import_module(f"{__name__}.{name}.judge").JUDGE(trial)
    return judge
