"""What a study gave that trained a generator of chest radiographs; pictures are made from a formula."""

import io

import msgspec
import numpy as np
from PIL import Image

from wardround_common.evaluation import Estimate
from wardround_common.plan import StudyPlan
from wardround_server.report.tasks.generation.results import (
    Diversity,
    Generation,
    Judged,
    LabelPictures,
    Nearest,
    OverRounds,
    Picture,
)

SIZE_PX = 64


def generation_plan(plan):
    """The same sites and images, another task."""
    tables = msgspec.to_builtins(plan) | {
        "study": "chest-images",
        "title": "Synthetic chest radiographs",
        "purpose": "Draw chest radiographs that may be shared, to teach and to try out programs.",
        "task": {
            "name": "generation",
            "latent": 48,
            "discriminator_steps": 3,
            "fakes": 96,
            "ema_decay": 0.98,
        },
        "model": {"name": "wavelet"},
        "recipe": {"learning_rate": 0.05, "local_steps": 6, "sample_rate": 0.2},
        "evaluation": None,
    }
    return msgspec.convert({name: value for name, value in tables.items() if value is not None}, StudyPlan)


def generation():
    """Figures of a usable generator, and all pictures."""
    rng = np.random.default_rng(4)
    return Generation(
        tested_on="the 150 held-out patients of all sites",
        train_synthetic_test_real=judged(0.861, 0.793, 0.911),
        train_real_test_real=judged(0.934, 0.883, 0.965),
        class_mean_baseline=judged(0.708, 0.619, 0.783),
        without_privacy=judged(0.826, 0.751, 0.882),
        external={
            "train_synthetic_test_real": judged(0.802, 0.765, 0.835, positives=390, negatives=234),
            "train_real_test_real": judged(0.871, 0.841, 0.897, positives=390, negatives=234),
            "class_mean_baseline": judged(0.655, 0.611, 0.697, positives=390, negatives=234),
            "without_privacy": judged(0.771, 0.732, 0.806, positives=390, negatives=234),
        },
        agreement={"normal": Estimate(0.94, 0.90, 0.965), "pneumonia": Estimate(0.87, 0.82, 0.91)},
        diversity={
            "normal": Diversity(samples=0.131, real=0.158),
            "pneumonia": Diversity(samples=0.122, real=0.171),
        },
        nearest=Nearest(
            to_train=(0.081, 0.094, 0.112),
            to_held_out=(0.082, 0.096, 0.113),
            nearer_to_train=Estimate(0.52, 0.45, 0.589),
        ),
        classes=tuple(
            LabelPictures(
                label=label,
                samples=Picture(png=sheet(rng, ill=ill, blur=0.05), caption="24 drawn at random"),
                real=Picture(png=sheet(rng, ill=ill, blur=0.0), caption="24 training images of all sites"),
            )
            for ill, label in enumerate(("normal", "pneumonia"))
        ),
        over_rounds=tuple(
            OverRounds(round=number, picture=Picture(png=strip(np.random.default_rng(9), fog=fog)))
            for number, fog in ((1, 0.95), (5, 0.6), (12, 0.25), (23, 0.0))
        ),
        interpolation=tuple(
            LabelPictures(
                label=label, samples=Picture(png=strip(np.random.default_rng(5), ill=ill, path=True))
            )
            for ill, label in enumerate(("normal", "pneumonia"))
        ),
    )


def judged(value, low, high, *, positives=61, negatives=89):
    return Judged(auroc=Estimate(value, low, high), positives=positives, negatives=negatives)


def sheet(rng, *, ill, blur):
    """Six images in each of four rows."""
    rows = [[_chest(rng.uniform(size=4), rng, ill=ill, blur=blur) for _ in range(6)] for _ in range(4)]
    return png(np.vstack([np.hstack(row) for row in rows]))


def strip(rng, *, ill=0, fog=0.0, path=False):
    """Ten images in a row, on the way between two latents where ``path``."""
    ends = rng.uniform(size=(2, 4))
    latents = [ends[0] + (ends[1] - ends[0]) * i / 9 if path else rng.uniform(size=4) for i in range(10)]
    chests = [_chest(z, rng, ill=ill or (i % 2 and not path), blur=0.02) for i, z in enumerate(latents)]
    clear = np.hstack(chests)
    return png((1 - fog) * clear + fog * rng.uniform(0.3, 0.7, clear.shape))


def png(image):
    data = io.BytesIO()
    Image.fromarray((255 * np.clip(image, 0, 1)).astype(np.uint8)).save(data, format="PNG")
    return data.getvalue()


def _chest(z, rng, *, ill, blur):
    y, x = np.mgrid[-1 : 1 : SIZE_PX * 1j, -1 : 1 : SIZE_PX * 1j]
    body = np.exp(-((x / (0.7 + 0.2 * z[0])) ** 4) - (y / 0.95) ** 4)
    lungs = sum(
        np.exp(-(((x - side * 0.38) / (0.2 + 0.08 * z[1])) ** 2) - ((y + 0.05) / (0.5 + 0.15 * z[2])) ** 4)
        for side in (-1, 1)
    )
    shadow = ill * 0.5 * np.exp(-((x - 0.4 + 0.8 * (z[3] > 0.5)) ** 2 + (y - 0.2) ** 2) / 0.06)
    tile = body - 0.75 * lungs + shadow + rng.normal(0, 0.03 + blur, x.shape)
    tile[:, -1] = tile[-1, :] = 1.0
    return tile
