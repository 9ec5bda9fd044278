"""Numbers as people read them; used by the page, the charts and the model card alike.

Privacy: formatting only. Epsilon is rounded up, so that a page never promises more than was kept.
"""

from __future__ import annotations

import math

from wardround_common.evaluation import Estimate

MINUS = "\N{MINUS SIGN}"


def rate(value: float) -> str:
    """A number between 0 and 1 with three decimals."""
    return f"{value:.3f}"


def interval(estimate: Estimate) -> str:
    """The 95 % interval, "0.905 to 0.951", or that nothing is known."""
    return f"{rate(estimate.low)} to {rate(estimate.high)}" if estimate.known else "not known"


def signed(value: float) -> str:
    """A difference with its sign and three decimals."""
    return f"{'+' if value >= 0 else MINUS}{abs(value):.3f}"


def epsilon(value: float) -> str:
    """Epsilon with two decimals, rounded up."""
    return f"{math.ceil(value * 100 - 1e-6) / 100:.2f}"


def delta(value: float) -> str:
    """Delta in powers of ten, "1e-5", with a minus sign at which no line breaks."""
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}".replace("-", MINUS)


def times(value: float) -> str:
    """The factor e^epsilon, in words that stay true: rounded up to two digits."""
    factor = math.exp(value)
    step = 10.0 ** (math.floor(math.log10(factor)) - 1)
    return f"{math.ceil(factor / step - 1e-9) * step:,.{1 if step < 1 else 0}f}"


def count(value: float) -> str:
    """A number of things, with separators; a negative noised count keeps its sign."""
    return f"{round(value):,}".replace("-", MINUS)


def percent(share: float) -> str:
    """A share as a percentage, with a decimal below 10 %."""
    return f"{100 * share:.{1 if 0 < share < 0.0995 else 0}f} %"


def size(amount: float) -> str:
    """Bytes in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.{0 if unit == 'B' or amount >= 99.95 else 1}f} {unit}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, with two units at most."""
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds >= 0.05 or seconds == 0 else f"{1000 * seconds:.0f} ms"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def listed(names: tuple[str, ...] | list[str]) -> str:
    """Names as a phrase: "alder, birch and cedar"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def things(number: float, noun: str) -> str:
    """A number with its noun: "1 site", "4 sites"."""
    return f"{count(number)} {noun}{'' if round(number) == 1 else 's'}"
