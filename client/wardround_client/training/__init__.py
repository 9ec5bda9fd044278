"""Where a site trains: in its own process, or in a child that holds torch and the images.

``work`` says what training is asked for and does it; ``process`` has a child do it; ``child`` is that child;
``jobs`` is what the two say to each other.

Not here: what is paid for and kept (``outputs``), how a task trains (``tasks``).

Privacy: what comes out is a task's output, noised as ``tasks`` says, and exact counts, which the
caller noises.
"""

from wardround_client.training.jobs import STOPPED
from wardround_client.training.process import TrainerProcess
from wardround_client.training.work import LocalTrainer, Trainer, Trainers, streams_of

__all__ = ["STOPPED", "LocalTrainer", "Trainer", "TrainerProcess", "Trainers", "streams_of"]
