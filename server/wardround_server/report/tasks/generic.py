"""The report of a task that has no part of its own here: what the plan says about it, and no results.

Tasks inherit from it what they have nothing better for.

Privacy: repeats the plan.
"""

from __future__ import annotations

from wardround_server.report import words
from wardround_server.report.album import Album
from wardround_server.report.formats import count
from wardround_server.report.model import Report
from wardround_server.report.tasks.interface import CardParts, Fragment, Part


class Generic:
    """A `Section` for any task."""

    def facts(self, report: Report) -> tuple[tuple[str, str], ...]:
        """The task's name."""
        return (("task", report.plan.task.name),)

    def first_card(self, report: Report) -> Fragment | None:
        """None: nothing is known of the results."""
        return None

    def trained(self, report: Report) -> str:
        """The task's own sentence between who trained and how often."""
        does = words.sentence(report.plan.task.trains(report.plan))
        return f"{words.opening(report)}. {does} {words.effort(report)}"

    def results(self, report: Report, album: Album) -> tuple[Part, ...]:
        """No sections."""
        return ()

    def details(self, report: Report, album: Album) -> tuple[Part, ...]:
        """No sections."""
        return ()

    def leaves(self, report: Report) -> tuple[str, ...]:
        """What the task says, and the messages of the protocol."""
        return (*report.plan.task.leaves(report.plan), words.MESSAGES)

    def stays(self, report: Report) -> tuple[str, ...]:
        """What never leaves a site in any task."""
        return words.STAYS

    def warnings(self, report: Report) -> tuple[str, ...]:
        """None of its own."""
        return ()

    def missing(self, report: Report) -> tuple[str, ...]:
        """Figures, curves, counts and images."""
        return (
            "exact figures and learning curves: they need the data of single patients",
            "numbers of patients, rejected files and images: they never leave a site",
        )

    def card(self, report: Report) -> CardParts:
        """Input, from the plan; nothing about results."""
        return CardParts(
            uses=(f"Research on {report.plan.input.modality} images like those of the sites.",),
            privacy=report.plan.task.promises(report.plan),
        )


def size_in_words(report: Report) -> str:
    """Shape, scale and values of one image: "one channel, 64 x 64 pixels at 4 mm, values 0 to 1"."""
    source = report.plan.input
    channels = "one channel" if source.channels == 1 else f"{count(source.channels)} channels"
    return f"{channels}, {source.size}, values 0 to 1"
