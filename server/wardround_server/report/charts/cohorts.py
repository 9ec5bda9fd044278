"""Who was in which round: a matrix of sites and rounds, wrapped into blocks where rounds are many."""

from __future__ import annotations

from wardround_server.report.charts.svg import NARROW, Canvas, Chart, drawn, room_for
from wardround_server.report.model import RoundReport

MOST = 120
"""More rounds than this are not drawn one by one: only those that were not ordinary."""

CELL, ROW, HEAD, FOOT = 13.0, 19.0, 22.0, 20.0


def cohorts(rounds: tuple[RoundReport, ...], sites: tuple[str, ...]) -> Chart | None:
    """One square per site and round: in the sum, dropped out, not in the cohort, or a void round."""
    shown = drawn_rounds(rounds, sites)
    if not shown:
        return None
    void = sum(entry.void for entry in rounds)
    full = sum(set(entry.survivors) >= set(sites) for entry in rounds)
    description = (
        f"Matrix of {len(sites)} sites and {len(shown)} rounds. In {full} of {len(rounds)} rounds every site "
        f"is in the sum; {void} rounds are void."
    )
    return drawn(description, lambda width: _draw(width, shown, sites))


def drawn_rounds(rounds: tuple[RoundReport, ...], sites: tuple[str, ...]) -> tuple[RoundReport, ...]:
    """All rounds, or, where they are too many, those that were void or missed a site."""
    if len(rounds) <= MOST:
        return rounds
    unusual = [entry for entry in rounds if entry.void or set(entry.survivors) < set(sites)]
    return tuple(unusual[-MOST:])


def _draw(width: float, rounds: tuple[RoundReport, ...], sites: tuple[str, ...]) -> Canvas:
    label = room_for(sites, most=92 if width <= NARROW else 200)
    per_block = max(int((width - label) // CELL), 1)
    blocks = [rounds[i : i + per_block] for i in range(0, len(rounds), per_block)]
    block_height = HEAD + ROW * len(sites) + FOOT
    pitch = min((width - label) / len(blocks[0]), 25.0)
    canvas = Canvas(width=width, height=block_height * len(blocks) - FOOT + 4)
    for i, block in enumerate(blocks):
        _block(canvas, block, sites, top=i * block_height, label=label, pitch=pitch)
    return canvas


def _block(
    canvas: Canvas,
    block: tuple[RoundReport, ...],
    sites: tuple[str, ...],
    *,
    top: float,
    label: float,
    pitch: float,
) -> None:
    for k, site in enumerate(sites):
        canvas.text(0, top + HEAD + ROW * k + 11, site, room=label - 8)
    for i, entry in enumerate(block):
        left = label + i * pitch
        middle = left + pitch / 2
        if entry.void:
            canvas.rect(left, top + HEAD - 4, width=pitch, height=ROW * len(sites) + 2, kind="void")
        if i == 0 or entry.number % 5 == 0:
            canvas.text(middle, top + 13, str(entry.number), kind="t tick", anchor="middle")
        for k, site in enumerate(sites):
            _cell(canvas, entry, site, x=middle, y=top + HEAD + ROW * k + 6.5)


def _cell(canvas: Canvas, entry: RoundReport, site: str, *, x: float, y: float) -> None:
    half, tip = 5.2, f"round {entry.number}, {site}: {state(entry, site)}"
    if site in entry.survivors and not entry.void:
        kind = "cell evaluate" if entry.kind == "evaluate" else "cell joined"
        canvas.rect(x - half, y - half, width=2 * half, height=2 * half, kind=kind, tip=tip)
    elif site in entry.cohort:
        canvas.rect(x - half, y - half, width=2 * half, height=2 * half, kind="cell dropped", tip=tip)
        if not entry.void:
            canvas.marker(x, y, "cross", kind="dropped", radius=2.6)
    else:
        canvas.marker(x, y, "circle", kind="absent", radius=1.8)


def state(entry: RoundReport, site: str) -> str:
    """What became of a site in a round, in words."""
    if site not in entry.cohort:
        return "not in the cohort"
    if entry.void:
        return "round void"
    return "in the sum" if site in entry.survivors else "dropped out"
