"""What the report of any task says in sentences, for readers who are no data scientists.

Rules: a guarantee is stated per site and per patient, never as a sum over sites and never as "anonymous".

Not here: sentences about what a task's evaluation gave (``tasks.<name>.words``).

Privacy: repeats numbers of the report, nothing else.
"""

from __future__ import annotations

from wardround_server.report.formats import count, delta, epsilon, listed, size, things, times
from wardround_server.report.model import Report, SitePrivacy

MANY = 8
"""More sites than this are not named one by one in a sentence."""

MESSAGES = "signed messages of the protocol: one-time keys, commitments, encrypted shares, confirmations"
"""What leaves a site in a study of any task."""

STAYS = (
    "scans, and anything made from a single scan",
    "names, patient numbers, dates and free text",
    "scores of single patients, training losses and numbers of patients",
    "the site's own model before it is masked",
)


def opening(report: Report) -> str:
    """Who trained what, in half a sentence."""
    plan = report.plan
    model = f"'{plan.model.name}', {count(report.parameters)} numbers"
    return f"{things(len(plan.sites), 'site')} trained one model together ({model})"


def effort(report: Report) -> str:
    """How often was trained, and by which part of the patients."""
    plan = report.plan
    return (
        f"The plan has {things(plan.rounds, 'round')} of {things(plan.recipe.local_steps, 'step')} each; in "
        f"every step each patient took part with probability {plan.recipe.sample_rate:g}, with one image. "
        f"The scans stayed where they are."
    )


def sentence(text: str) -> str:
    """The text with a capital at its beginning and a full stop at its end."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


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
    """The caller's warnings, and those that follow from the rounds."""
    void = [entry.number for entry in report.rounds if entry.void]
    found = list(report.warnings)
    if void:
        found.append(
            f"{things(len(void), 'round')} void ({listed([str(n) for n in void[:8]])}"
            f"{', ...' if len(void) > 8 else ''}): what such a round cost the patients stays spent."
        )
    return found


def by_study(report: Report) -> list[tuple[str, SitePrivacy]]:
    """Sites (those with one history as one) whose patients took part in several studies, or have a limit."""
    alike: dict[tuple[object, object], list[str]] = {}
    for name, site in report.privacy.sites.items():
        if len(site.studies) > 1 or site.lifetime:
            alike.setdefault((site.studies, site.lifetime), []).append(name)
    return [(some(names), report.privacy.sites[names[0]]) for names in alike.values()]


def left_building(report: Report) -> tuple[str, str]:
    """Headline and small print of the card about bytes."""
    sent = [sum(entry.sent for entry in exchanges.values()) for exchanges in report.traffic.values()]
    if not sent:
        return "0 scans", "masked numbers only; bytes were not recorded"
    low, high = size(min(sent)), size(max(sent))
    span = "sent by each site" if low == high else f"sent per site on average ({low} to {high})"
    return size(sum(sent) / len(sent)), f"{span} in the whole study: masked numbers, no scan, no name"


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
