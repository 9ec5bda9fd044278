"""What the report says in sentences, for readers who are no data scientists.

Rules: a guarantee is stated per site and per patient, never as a sum over sites and never as "anonymous";
"helped" is said only where the interval of the paired difference excludes zero.

Privacy: repeats numbers of the report, nothing else.
"""

from __future__ import annotations

from wardround_common.evaluation import Estimate
from wardround_server.report.formats import (
    count,
    delta,
    epsilon,
    interval,
    listed,
    rate,
    signed,
    size,
    things,
    times,
)
from wardround_server.report.model import Evaluation, ModelResult, Report, SitePrivacy

SMALL_SITE = 500
"""Below this many training patients a site's own private model is unstable (standard deviation .03)."""

MANY = 8
"""More sites than this are not named one by one in a sentence."""

MOST_SHEETS_BYTES = 2_000_000
"""Contact sheets beyond this stay in ``report.json``, so that the page stays below 3 MB."""

LEAVES = (
    "the masked change of the model, once per round: single uploads look like random numbers, and only the "
    "sum over the cohort can be opened",
    "signed messages of the protocol: one-time keys, commitments, encrypted shares, confirmations",
    "once, after the last round: masked counts of held-out patients by score, with noise added at the site",
)
STAYS = (
    "scans, and anything made from a single scan",
    "names, patient numbers, dates and free text",
    "scores of single patients, training losses and numbers of patients",
    "the site's own model before it is masked",
)


def trained(report: Report) -> str:
    """What was trained, on what, how often."""
    plan, source = report.plan, report.plan.input
    return (
        f"{things(len(plan.sites), 'site')} trained one model together ('{plan.model.name}', "
        f"{count(report.parameters)} numbers) that reads a {source.modality} image of {source.size_px} × "
        f"{source.size_px} pixels at {source.spacing_mm:g} mm and says how much it looks like "
        f"'{plan.labels[1]}' rather than '{plan.labels[0]}'. The plan has {things(plan.rounds, 'round')} of "
        f"{things(plan.recipe.local_steps, 'step')} each; in every step each patient took part with "
        f"probability {plan.recipe.sample_rate:g}, with one image. The scans stayed where they are."
    )


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


def guarantees(report: Report) -> list[str]:
    """The promise to one patient: a sentence per cost, or the dearest one where many costs differ."""
    alike: dict[tuple[str, str], list[str]] = {}
    for name, site in report.privacy.sites.items():
        alike.setdefault((epsilon(site.epsilon_spent), delta(site.delta)), []).append(name)
    if len(alike) <= 3:
        return [_guarantee(names, report.privacy.sites) for names in alike.values()]
    return [_guarantee(list(report.privacy.sites), report.privacy.sites)]


def some(names: tuple[str, ...] | list[str]) -> str:
    """All names, or the first few where they are many."""
    return listed(names if len(names) <= MANY else [*names[:4], f"{len(names) - 4} others"])


def randomness(report: Report) -> str:
    """Where the noise came from; a simulation's seed is no secret, and that is said."""
    if report.reproducibility.randomness == "operating_system":
        return (
            "Sampling and noise came from AES-256-CTR streams under fresh 32-byte secrets of each site's "
            "operating system, one per round."
        )
    seed = "" if report.reproducibility.seed is None else f" {report.reproducibility.seed}"
    return (
        f"Sampling and noise came from AES-256-CTR streams derived from the simulation's seed{seed}: whoever "
        f"knows the seed can subtract the noise. A deployed site draws its secrets from its operating system "
        f"and cannot be configured otherwise."
    )


def warnings(report: Report) -> list[str]:
    """The caller's warnings, and those that follow from the report itself."""
    small = [site.name for site in report.plan.sites if site.patients < SMALL_SITE]
    void = [entry.number for entry in report.rounds if entry.void]
    released = report.evaluation.federated_released
    found = list(report.warnings)
    if small:
        found.append(
            f"{some(small)}: fewer than {SMALL_SITE} training patients (stated). A private model of such a "
            f"site alone is unstable, so comparisons with it vary from run to run."
        )
    if void:
        found.append(
            f"{things(len(void), 'round')} void ({listed([str(n) for n in void[:8]])}"
            f"{', ...' if len(void) > 8 else ''}): what such a round cost the patients stays spent."
        )
    if released and not released.auroc.known:
        found.append("The released counts drown in their noise: too few held-out patients for this epsilon.")
    elif released and released.operating_point and not released.operating_point.reached:
        found.append("No bin edge reaches the wanted specificity; the highest edge is the threshold.")
    return found


def missing(report: Report) -> list[str]:
    """What a deployment's report does not show."""
    if report.simulated:
        return []
    return [
        "exact figures and learning curves: they need the scores of single patients",
        "what a site could have reached alone: that is for each site to look at by itself",
        "numbers of patients, rejected files and images: they never leave a site",
    ]


def left_building(report: Report) -> tuple[str, str]:
    """Headline and small print of the card about bytes."""
    sent = [sum(entry.sent for entry in exchanges.values()) for exchanges in report.traffic.values()]
    if not sent:
        return "0 scans", "masked numbers only; bytes were not recorded"
    low, high = size(min(sent)), size(max(sent))
    span = "sent by each site" if low == high else f"sent per site on average ({low} to {high})"
    return size(sum(sent) / len(sent)), f"{span} in the whole study: masked numbers, no scan, no name"


def _verdict(gain: Estimate) -> str:
    if gain.low > 0:
        return "Joining helped"
    if gain.high < 0:
        return "Alone was better"
    return "No clear difference"


def _difference(gain: Estimate) -> str:
    return f"{signed(gain.value)} ({signed(gain.low)} to {signed(gain.high)})"


def _guarantee(names: list[str], costs: dict[str, SitePrivacy]) -> str:
    """The promise that holds for each of the named sites: that of the dearest."""
    many = f"any one of the {len(names)} sites" if len(names) > MANY else f"any one of {listed(names)}"
    site, own = (names[0], names[0]) if len(names) == 1 else (many, "that site")
    spent = max(costs[name].epsilon_spent for name in names)
    allowed = max(costs[name].delta for name in names)
    return (
        f"Whoever sees everything that left {site} in this study, the coordinator and all other sites "
        f"included, learns about any one patient of {own} at most what (ε = {epsilon(spent)}, "
        f"δ = {delta(allowed)}) allows: any conclusion is at most e^{epsilon(spent)} (about {times(spent)}) "
        f"times as likely with this patient's scans as without, except with probability {delta(allowed)}."
    )
