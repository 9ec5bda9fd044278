"""What the report of a generator says in sentences.

Rules: "better" is said only where the intervals do not meet; "no sign of copying" is never said as "copies
nothing", for the guarantee rests on the noise and not on this test.

Privacy: repeats numbers of the report, nothing else.
"""

from __future__ import annotations

from typing import Final

from wardround_common.evaluation import Estimate
from wardround_server.report.formats import count, interval, percent, rate, things
from wardround_server.report.model import Report
from wardround_server.report.tasks.generation.results import Generation, Judged, Nearest, results_of

LEAST_AGREEMENT: Final = 0.8
"""Below this share of images that show their label, the reader is warned."""

LEAST_VARIETY: Final = 0.5
"""Below this part of the variety of real images, the reader is warned."""

MISSING: Final = (
    "how good the images are: that needs real images of patients to compare with",
    "real images beside the synthetic ones, learning curves: they need the data of single patients",
    "numbers of patients, rejected files and images: they never leave a site",
)
"""What a deployment's report does not show."""

MARKED: Final = (
    "Synthetic images must be marked as such",
    "wherever they are stored, shown, shared or printed: in the file itself and in words that a reader sees. "
    "None of them was taken of a patient.",
)
"""The duty of whoever passes images on: bold words and the rest."""

COVERED: Final = (
    "Images drawn from the released generator are computed from what was released: they cost no patient "
    "anything more, however many are drawn, as long as nobody looks at patients' images to choose among them."
)

NOT_COVERED: Final = (
    "The guarantee bounds what can be learned about one patient. It does not hide what many patients have in "
    "common, such as the look of a site's machine, and it does not make the images true."
)


def tested(judged: Judged) -> str:
    """The n of a result: "150 real test patients, 61 of them positive"."""
    total = judged.positives + judged.negatives
    return f"{things(total, 'real test patient')}, {count(judged.positives)} of them positive"


def known(judged: Judged | None) -> str:
    """AUROC and interval, or that it is not known."""
    if judged is None or not judged.auroc.known:
        return "not known"
    return f"{rate(judged.auroc.value)} ({interval(judged.auroc)})"


def worth(made: Generation) -> str:
    """Are the synthetic images worth more than an average image? One sentence, or nothing."""
    synthetic, baseline = made.train_synthetic_test_real, made.class_mean_baseline
    if synthetic is None or baseline is None or not (synthetic.auroc.known and baseline.auroc.known):
        return ""
    ours, theirs = synthetic.auroc, baseline.auroc
    change = f"{rate(ours.value)} against {rate(theirs.value)}"
    if ours.low > theirs.high:
        return f"The synthetic images are clearly worth more than an average image of each class: {change}."
    if ours.value > theirs.value:
        return (
            f"No clear difference to an average image of each class: {change}, and the intervals meet. With "
            f"more test patients it may become clear."
        )
    return f"The synthetic images are worth no more than an average image of each class: {change}."


def copying(nearest: Nearest) -> str:
    """Does the generator copy? What the comparison of distances says."""
    share = nearest.nearer_to_train
    if not share.known:
        return "Too few synthetic images to say whether they lie nearer to training images."
    found = (
        f"{percent(share.value)} of the synthetic images are nearer to a training image than to any of as "
        f"many held-out ones ({percent(share.low)} to {percent(share.high)}); without copying it is 50 %"
    )
    if share.low > 0.5:
        return f"A sign of copying: {found}."
    return f"No sign of copying: {found}."


def warnings(report: Report) -> tuple[str, ...]:
    """What a reader who wants to use the images must know first."""
    made = results_of(report)
    return tuple(filter(None, (_worthless(made), _disagreeing(made), _alike(made), _copied(made))))


def _worthless(made: Generation) -> str:
    synthetic, baseline = made.train_synthetic_test_real, made.class_mean_baseline
    if synthetic and not synthetic.auroc.known:
        return "Too few real test patients to say what the synthetic images are worth."
    if not (synthetic and baseline and baseline.auroc.known):
        return ""
    if synthetic.auroc.value > baseline.auroc.value:
        return ""
    return (
        f"As training data the synthetic images (AUROC {rate(synthetic.auroc.value)}) are not better than an "
        f"average image of each class ({rate(baseline.auroc.value)}): the generator adds nothing to it."
    )


def _disagreeing(made: Generation) -> str:
    below = {
        label: share
        for label, share in made.agreement.items()
        if share.known and share.value < LEAST_AGREEMENT
    }
    if not below:
        return ""
    named = "; ".join(f"'{label}' {_share(share)}" for label, share in below.items())
    return (
        f"Too few synthetic images show the label that they carry, by a classifier trained on real images: "
        f"{named}. Below {percent(LEAST_AGREEMENT)} they teach wrong labels."
    )


def _alike(made: Generation) -> str:
    narrow = [label for label, kept in made.diversity.items() if kept.samples < LEAST_VARIETY * kept.real]
    if not narrow:
        return ""
    return (
        f"{', '.join(repr(label) for label in narrow)}: the synthetic images differ from each other by less "
        f"than half as much as real ones; the generator may know a few patterns only."
    )


def _copied(made: Generation) -> str:
    if made.nearest is None or not made.nearest.nearer_to_train.low > 0.5:
        return ""
    return f"{copying(made.nearest)} Look at the images before they are passed on."


def _share(share: Estimate) -> str:
    return f"{percent(share.value)} ({percent(share.low)} to {percent(share.high)})"
