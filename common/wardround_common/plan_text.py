"""A plan in plain words, for the person who approves it.

Privacy: says what is read, computed, sent and never sent, and what that costs each patient.
"""

from __future__ import annotations

from wardround_common.layout import Layout
from wardround_common.models import layout_of
from wardround_common.plan import StudyPlan
from wardround_common.trust import plan_digest


def explain(plan: StudyPlan) -> str:
    """The plan as paragraphs of plain text, every number that matters among them."""
    layout = layout_of(plan)
    parts = (
        _what(plan),
        _reads(plan),
        _computes(plan, layout),
        _leaves(plan, layout),
        _costs(plan),
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
    window = (
        f"a fixed window of centre {source.window_center:g} and width {source.window_width:g}"
        if source.window == "fixed"
        else "the window that each file states"
    )
    return (
        f"What is read: {source.modality} images with a label ({' or '.join(plan.labels)}), at the site, "
        f"from the site's own disk. Pixels are brought to {source.size_px} x {source.size_px} at "
        f"{source.spacing_mm:g} mm with {window}. Names, dates and free text are not read."
    )


def _computes(plan: StudyPlan, layout: Layout) -> str:
    recipe = plan.recipe
    return (
        f"What is computed: {plan.rounds} rounds. In each, every site trains the model '{plan.model.name}' "
        f"({layout.size:,} parameters) for {recipe.local_steps} steps; in each step every patient takes part "
        f"with probability {recipe.sample_rate:g}, by one image. After the last round the model is tried on "
        f"patients that training never saw."
    )


def _leaves(plan: StudyPlan, layout: Layout) -> str:
    return (
        f"What leaves the site: {layout.size:,} masked numbers a round, and once the masked counts of the "
        f"evaluation. The coordinator can open only the sum over at least {plan.aggregation.minimum_cohort} "
        f"sites. What never leaves: images, names, patient numbers, counts of patients, losses, the site's "
        f"own model."
    )


def _costs(plan: StudyPlan) -> str:
    privacy = plan.privacy
    return (
        f"What it costs each patient: whoever sees everything that left a site in this study, the "
        f"coordinator and all other sites included, learns about any one patient of that site at most what "
        f"(epsilon {privacy.target_epsilon:g}, delta {privacy.target_delta:g}) allows: any conclusion is at "
        f"most e^{privacy.target_epsilon:g} times as likely with this patient's scans as without, except "
        f"with probability {privacy.target_delta:g}. Patients of the evaluation: epsilon "
        f"{plan.evaluation.epsilon:g}. "
        f"A patient known at several sites is covered at each separately. Noise multiplier "
        f"{privacy.noise_multiplier:g}, clip {privacy.max_grad_norm:g}, {plan.steps} steps in all."
    )


def _ends(plan: StudyPlan) -> str:
    kept = "what it spent stays in its ledger"
    return f"The plan expires on {plan.expires}. A site may pause at any time; {kept}."
