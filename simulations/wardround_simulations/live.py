"""The screen of a running simulation: stages, rounds, exchanges, sites, AUROC and epsilon.

On a terminal it is a live display; elsewhere one line per round, so that a log file reads well.

Privacy: shows exact AUROCs, which only a simulation has; they are labelled so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from wardround_common.messages import EXCHANGES
from wardround_common.plan import StudyPlan
from wardround_common.state import StudyState
from wardround_server.observer import RoundRecord

ROUND: tuple[str, ...] = tuple(name for name in EXCHANGES if name != "abandon")
SPARKS = "▁▂▃▄▅▆▇█"


class Screen:
    """Shows the stages of a run, and the study while it runs (an ``Observer``)."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", justify="left"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._live = Live(console=self._console, refresh_per_second=8, transient=False, auto_refresh=True)
        self._study: StudyView | None = None

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._console.is_terminal:
            self._refresh()
            self._live.stop()

    def say(self, text: str) -> None:
        """One line that stays."""
        self._console.print(text, highlight=False, soft_wrap=True)

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Callable[[int, int], None]]:
        """A stage with a bar; yields ``progress(done, total)``."""
        task: TaskID = self._progress.add_task(title, total=total)
        self._refresh()

        def progress(done: int, total: int) -> None:
            self._progress.update(task, completed=done, total=total)

        yield progress
        finished = self._progress.tasks[task].total or 1
        self._progress.update(task, completed=finished, total=finished)
        if not self._console.is_terminal:
            seconds = self._progress.tasks[task].elapsed or 0.0
            self.say(f"{title}: {finished:.0f} done in {seconds:.1f} s")

    def study(self, plan: StudyPlan, *, epsilon: Callable[[int], float]) -> StudyView:
        """Begin to show a study.

        Args:
            plan: The plan.
            epsilon: Epsilon spent by training patients after a number of training rounds.
        """
        self._study = StudyView(plan, epsilon=epsilon, refresh=self._refresh, say=self._say_line)
        return self._study

    def _say_line(self, text: str) -> None:
        if not self._console.is_terminal:
            self.say(text)

    def _refresh(self) -> None:
        if self._console.is_terminal:
            parts = [self._progress] + ([self._study.render()] if self._study else [])
            self._live.update(Group(*parts), refresh=False)


class StudyView:
    """An ``Observer`` that draws one study."""

    def __init__(
        self,
        plan: StudyPlan,
        *,
        epsilon: Callable[[int], float],
        refresh: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._epsilon = epsilon
        self._refresh = refresh
        self._say = say
        self._trained = 0
        self._now = ""
        self._answered: dict[str, str] = {site.name: "" for site in plan.sites}
        self._aurocs: list[float] = []
        self._voids = 0

    def exchange_began(self, record: RoundRecord, exchange: str, sites: Sequence[str]) -> None:
        """Show which exchange of which round is under way."""
        step = f" ({ROUND.index(exchange) + 1} of {len(ROUND)})" if exchange in ROUND else ""
        attempt = f", attempt {record.attempts}" if record.attempts > 1 else ""
        self._now = f"{record.kind} round {record.number}{attempt}: {exchange}{step}"
        self._answered = dict.fromkeys(self._answered, "...")
        self._refresh()

    def replied(self, record: RoundRecord, exchange: str, site: str) -> None:
        """Tick a site off."""
        self._answered[site] = "ok"
        self._refresh()

    def round_ended(self, record: RoundRecord, state: StudyState) -> None:
        """Count the round; one line where there is no live display."""
        self._trained += record.kind == "train"
        self._voids += bool(record.void)
        ended = f"void ({record.void})" if record.void else f"{len(record.survivors)} sites in the sum"
        auroc = f", AUROC {self._aurocs[-1]:.3f} (simulation only)" if self._aurocs else ""
        self._say(
            f"{record.kind} round {record.number}: {ended}, epsilon {self._epsilon(self._trained):.2f}{auroc}"
        )
        self._refresh()

    def scored(self, auroc: float) -> None:
        """The exact AUROC of the newest state on validation patients."""
        self._aurocs.append(auroc)

    def render(self) -> Table:
        """The picture of the study as it stands."""
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_row("study", Text(self._plan.title, style="bold"))
        table.add_row("now", self._now)
        table.add_row("sites", self._sites())
        spent, target = self._epsilon(self._trained), self._plan.privacy.target_epsilon
        table.add_row("epsilon", f"{_bar(spent / target)} {spent:.2f} of {target:g} per patient")
        if self._aurocs:
            table.add_row("AUROC", f"{_sparks(self._aurocs)} {self._aurocs[-1]:.3f} (simulation only)")
        if self._voids:
            table.add_row("void", f"{self._voids} rounds")
        return table

    def _sites(self) -> Text:
        text = Text()
        for site, answer in self._answered.items():
            style = {"ok": "green", "...": "yellow"}.get(answer, "dim")
            text.append(f"{site} {answer}  ", style=style)
        return text


def _bar(share: float, *, width: int = 28) -> str:
    filled = round(min(max(share, 0.0), 1.0) * width)
    return "█" * filled + "░" * (width - filled)


def _sparks(values: Sequence[float]) -> str:
    shares = [min(max((value - 0.5) / 0.5, 0.0), 0.999) for value in values[-40:]]
    return "".join(SPARKS[int(share * len(SPARKS))] for share in shares)
