"""A plan in plain words, for the person who approves it.

Privacy: says what is read, computed, sent and never sent, and what that costs each patient.
"""

from __future__ import annotations

from wardround_common.models import layout_of
from wardround_common.plan import AggregationPlan, StudyPlan
from wardround_common.trust import plan_digest


def explain(plan: StudyPlan) -> str:
    """The plan as paragraphs of plain text, every number that matters among them."""
    parts = (
        _what(plan),
        _reads(plan),
        _computes(plan),
        _leaves(plan),
        _protects(plan),
        _costs(plan),
        *plan.task.promises(plan),
        _ends(plan),
    )
    return "\n\n".join(parts) + "\n"


def _what(plan: StudyPlan) -> str:
    names = ", ".join(site.name for site in plan.sites)
    return (
        f"{plan.title}\n{plan.purpose}\n"
        f"{len(plan.sites)} sites: {names}. Study '{plan.study}', digest {plan_digest(plan).hex()}."
    )


def _reads(plan: StudyPlan) -> str:
    source = plan.input
    if source.channels == 3:
        window = "red, green and blue as stored"
    elif source.window == "fixed":
        window = f"a fixed window of centre {source.window_center:g} and width {source.window_width:g}"
    else:
        window = "the window that each file states"
    return (
        f"What is read: {source.modality} images with a label ({' or '.join(plan.labels)}), at the site, "
        f"from the site's own disk. They are brought to "
        f"{source.size}, with {window}. Names, dates and free text are not read."
    )


def _computes(plan: StudyPlan) -> str:
    recipe = plan.recipe
    tried = " After the last round the model is tried on patients that training never saw."
    return (
        f"What is computed: {plan.task.trains(plan)}. There are {plan.rounds} rounds; in each, every site "
        f"takes {recipe.local_steps} steps on its patients, and in each step every patient takes part with "
        f"probability {recipe.sample_rate:g}, by one image.{tried if plan.evaluation else ''}"
    )


def _leaves(plan: StudyPlan) -> str:
    size = layout_of(plan).size
    return (
        f"What leaves the site: {'; '.join(plan.task.leaves(plan))}; {size:,} masked numbers a round. The "
        f"coordinator can open only the sum over at least {plan.aggregation.minimum_cohort} sites. What "
        f"never leaves: images, names, patient numbers, counts of patients, losses, the site's own model."
    )


def _protects(plan: StudyPlan) -> str:
    rules = plan.aggregation
    cipher = {"aes-256-ctr": "AES-256 in counter mode", "chacha20": "ChaCha20"}[rules.cipher]
    partners = f" (with {rules.mask_degree} of them, where more than 12 take part)"
    checks = {
        "auto": "Every site adds the masked numbers up again itself, unless a round has over 100 MB of them",
        "full": "Every site adds the masked numbers up again itself",
        "sum": "A site sees only the sum and cannot tell whether the coordinator altered it within its range",
    }[rules.verify]
    return (
        f"How it is masked: every number of an update is cut to {_clip(rules)} and rounded "
        f"{_rounding(rules)}; then masks are added, made with {cipher}, that a site shares with the others"
        f"{partners if len(plan.sites) > 12 else ''} and that cancel only in the sum. {checks}. A round that "
        f"waits for sites longer than {rules.round_deadline_s / 60:g} minutes is given up; what it spent "
        f"stays spent."
    )


def _clip(rules: AggregationPlan) -> str:
    limit = 2.0**rules.clip_log2
    if rules.clips == "plan":
        return f"the range from -{limit:g} to {limit:g}"
    return (
        f"a range, in the first round from -{limit:g} to {limit:g}, later for each tensor of the model what "
        f"the last sum suggests,"
    )


def _rounding(rules: AggregationPlan) -> str:
    if rules.ring_bits == 16:
        return "up or down at random to a number of 16 bits"
    return "to a number of 32 bits" if rules.quantiser == "exact" else "to 22 bits in a number of 32"


def _costs(plan: StudyPlan) -> str:
    privacy, evaluation = plan.privacy, plan.evaluation
    held_out = f"Patients of the evaluation: epsilon {evaluation.epsilon:g}. " if evaluation else ""
    return (
        f"What it costs each patient: whoever sees everything that left a site in this study, the "
        f"coordinator and all other sites included, learns about any one patient of that site at most what "
        f"(epsilon {privacy.target_epsilon:g}, delta {privacy.target_delta:g}) allows: any conclusion is at "
        f"most e^{privacy.target_epsilon:g} times as likely with this patient's scans as without, except "
        f"with probability {privacy.target_delta:g}. {held_out}"
        f"A patient known at several sites is covered at each separately. Noise multiplier "
        f"{privacy.noise_multiplier:g}, clip {privacy.max_grad_norm:g}, {plan.steps} steps in all."
    )


def _ends(plan: StudyPlan) -> str:
    kept = "what it spent stays in its ledger"
    return f"The plan expires on {plan.expires}. A site may pause at any time; {kept}."
