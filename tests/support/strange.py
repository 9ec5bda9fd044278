"""A task that no program has a part for."""

import msgspec


class Strange(msgspec.Struct, frozen=True):
    """The plan of such a task."""

    name: str = "segmentation"

    def trains(self, plan):
        return "it draws the outline of a finding"

    def leaves(self, plan):
        return ("masked outlines of nothing",)

    def promises(self, plan):
        return ("the outliner's gradients are clipped and noised",)
