"""What the report of a classification says in sentences.

Rules: "helped" is said only where the interval of the paired difference excludes zero.

Privacy: repeats numbers of the report, nothing else.
"""

from __future__ import annotations

from wardround_common.evaluation import Estimate
from wardround_server.report.formats import count, interval, rate, signed, things
from wardround_server.report.model import Report
from wardround_server.report.tasks.classification.results import Evaluation, ModelResult, results_of
from wardround_server.report.words import MESSAGES, effort, opening, some

SMALL_SITE = 500
"""Below this many training patients a site's own private model is unstable (standard deviation .03)."""

LEAVES = (
    "the masked change of the model, once per round: single uploads look like random numbers, and only the "
    "sum over the cohort can be opened",
    MESSAGES,
    "once, after the last round: masked counts of held-out patients by score, with noise added at the site",
)

MISSING = (
    "exact figures and learning curves: they need the scores of single patients",
    "what a site could have reached alone: that is for each site to look at by itself",
    "numbers of patients, rejected files and images: they never leave a site",
)
"""What a deployment's report does not show."""


def trained(report: Report) -> str:
    """What was trained, on what, how often."""
    plan = report.plan
    return (
        f"{opening(report)} that reads a {plan.input.described} and says how much it looks like "
        f"'{plan.labels[1]}' rather than '{plan.labels[0]}'. {effort(report)}"
    )


def warnings(report: Report) -> tuple[str, ...]:
    """What follows from the sizes of the sites and from the released counts."""
    small = [site.name for site in report.plan.sites if site.patients < SMALL_SITE]
    released = results_of(report).evaluation.federated_released
    found = []
    if small:
        found.append(
            f"{some(small)}: fewer than {SMALL_SITE} training patients (stated). A private model of such a "
            f"site alone is unstable, so comparisons with it vary from run to run."
        )
    if released and not released.auroc.known:
        found.append("The released counts drown in their noise: too few held-out patients for this epsilon.")
    elif released and released.operating_point and not released.operating_point.reached:
        found.append("No bin edge reaches the wanted specificity; the highest edge is the threshold.")
    return tuple(found)


def patients_of(model: ModelResult, *, noised: bool = False) -> str:
    """The n of a result: "412 test patients, 133 of them positive"."""
    about, total = "about " if noised else "", model.positives + model.negatives
    return f"{about}{things(total, 'test patient')}, {about}{count(model.positives)} of them positive"


def joining(evaluation: Evaluation, site: str) -> str:
    """Did joining help this site? One sentence, or nothing where the figures are missing."""
    own, together = evaluation.local_private.get(site), evaluation.federated
    if own is None or together is None:
        return ""
    if not (own.auroc.known and together.auroc.known):
        return "Too few test patients to say anything."
    change = f"{rate(own.auroc.value)} alone, {rate(together.auroc.value)} together"
    gain = evaluation.gain.get(site)
    if gain is None:
        return f"{change} (intervals {interval(own.auroc)} and {interval(together.auroc)})."
    return f"{_verdict(gain)}: {change}, {_difference(gain)}."


def price(evaluation: Evaluation) -> str:
    """What privacy, and what keeping the scans apart, cost in AUROC; as much of it as is known."""
    private, open_, pooled = evaluation.federated, evaluation.federated_without_privacy, evaluation.pooled
    found = []
    if private and open_:
        change = signed(private.auroc.value - open_.auroc.value)
        found.append(f"Privacy changed the AUROC of the joint model by {change}.")
    if open_ and pooled:
        change = signed(open_.auroc.value - pooled.auroc.value)
        found.append(
            f"Keeping the scans apart, compared with all of them in one place, changed it by {change}."
        )
    return " ".join(found)


def tally(evaluation: Evaluation, sites: tuple[str, ...]) -> str:
    """How many sites gained, by the intervals of the paired differences."""
    gains = [evaluation.gain[site] for site in sites if site in evaluation.gain]
    if not gains:
        return ""
    helped, hurt = sum(gain.low > 0 for gain in gains), sum(gain.high < 0 for gain in gains)
    open_ = len(gains) - helped - hurt
    parts = [f"Joining clearly helped {helped} of {things(len(gains), 'site')}"]
    parts += [f"no clear difference at {open_}"] * bool(open_) + [f"alone was better at {hurt}"] * bool(hurt)
    return "; ".join(parts) + "."


def _verdict(gain: Estimate) -> str:
    if gain.low > 0:
        return "Joining helped"
    if gain.high < 0:
        return "Alone was better"
    return "No clear difference"


def _difference(gain: Estimate) -> str:
    return f"{signed(gain.value)} ({signed(gain.low)} to {signed(gain.high)})"
