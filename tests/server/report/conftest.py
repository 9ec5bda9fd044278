"""A realistic report: four hospitals of unlike size, 24 rounds, one of them void, one released evaluation."""

import struct
import zlib

import msgspec
import numpy as np
import pytest
from generated import generation, generation_plan
from strange import Strange

from wardround_common.evaluation import (
    auroc_difference,
    auroc_exact,
    auroc_released,
    histogram,
    operating_point,
    operating_point_exact,
    roc_exact,
    roc_released,
)
from wardround_common.plan import StudyPlan
from wardround_server.report import (
    ContactSheet,
    LearningCurve,
    Lifetime,
    Privacy,
    Protection,
    Report,
    Reproducibility,
    RoundEpsilon,
    RoundReport,
    SiteData,
    SitePrivacy,
    StudySpend,
    Traffic,
)
from wardround_server.report.tasks.classification.results import (
    ClassificationResults,
    Evaluation,
    ModelResult,
    ReleasedCounts,
    SiteEvaluation,
)
from wardround_server.report.tasks.generation.results import Generation, GenerationResults

SITES = {"alder": 1400, "birch": 630, "cedar": 450, "dogwood": 180}
SHARPNESS = {"federated": 2.25, "federated_without_privacy": 2.5, "pooled": 2.6}
ALONE = {"alder": (2.0, 2.4), "birch": (1.75, 2.25), "cedar": (1.6, 2.1), "dogwood": (1.05, 1.7)}
NOISE, ROUNDS, VOID = 0.71, 24, 14
PLAN_TEXT = (
    "Pneumonia in chest radiographs\nHelp to find pneumonia.\n4 sites: alder, birch, cedar, dogwood.\n\n"
    "What is read: CR images with a label (normal or pneumonia), at the site, from the site's own disk.\n\n"
    "What is computed: 24 rounds. In each, every site trains the model 'scatter' (4,353 parameters).\n\n"
    "What leaves the site: 4,353 masked numbers a round, and once the masked counts of the evaluation.\n\n"
    "The plan expires on 2099-12-31. A site may pause at any time; what it spent stays in its ledger.\n"
)


@pytest.fixture(scope="session")
def plan():
    tables = {
        "study": "chest",
        "title": "Pneumonia in chest radiographs",
        "purpose": "Help radiologists to find pneumonia in children's chest radiographs.",
        "expires": "2099-12-31",
        "authority_key": "00" * 32,
        "lead_key": "11" * 32,
        "sites": [{"name": name, "patients": patients} for name, patients in SITES.items()],
        "task": {"name": "classification"},
        "labels": ["normal", "pneumonia"],
        "input": {"modality": "CR", "size_px": 64, "spacing_mm": 4.0, "window": "file"},
        "model": {"name": "scatter"},
        "recipe": {"learning_rate": 1.5, "local_steps": 5, "sample_rate": 0.2},
        "rounds": ROUNDS - 1,
        "privacy": {"target_epsilon": 3.0, "target_delta": 1e-5, "noise_multiplier": 2.1},
        "evaluation": {"epsilon": 3.0, "noise_multiplier": NOISE},
    }
    return msgspec.convert(tables, StudyPlan)


@pytest.fixture(scope="session")
def report(plan):
    rng = np.random.default_rng(20)
    evaluation = _evaluation(plan, rng, positives=260, negatives=140)
    external = _evaluation(plan, rng, positives=390, negatives=234, loss=0.35)
    return Report(
        setting="simulation",
        created="2026-11-21",
        plan=plan,
        plan_digest="9f2c41d07ab3e8566be1" + "0c" * 22,
        plan_text=PLAN_TEXT,
        parameters=4353,
        results=ClassificationResults(evaluation=evaluation, external=_only_exact(external)),
        privacy=Privacy(sites={name: _privacy(name) for name in SITES}),
        rounds=_rounds(),
        learning=_learning(rng),
        traffic={name: _traffic() for name in SITES},
        seconds={
            "training": 48.2,
            "masking and shares": 6.1,
            "adding up": 0.9,
            "checking sums": 2.7,
            "evaluation": 1.4,
            "baselines": 96.0,
        },
        protection=Protection(ring_bits=32, cohort=4, threshold=3, max_colluders=1, sums_verified=True),
        data={name: _data(rng, size) for name, size in SITES.items()},
        duplicates="Three images that two sites shared bit for bit were counted once, at the first site.",
        contact_sheets=tuple(
            ContactSheet(site=name, png=_png(rng), caption="twelve training images, 64 × 64 pixels")
            for name in SITES
        ),
        warnings=("Exact figures differ by about .01 from run to run.",),
        reproducibility=Reproducibility(
            randomness="simulation_seed",
            seed=7,
            versions={"wardround": "0.1.0", "python": "3.11.7", "numpy": "2.4.6", "torch": "2.13.0"},
            command="wardround-sim run scenario.toml --seed 7 --out report",
            machine="2 CPU cores",
        ),
    )


@pytest.fixture(scope="session")
def deployed(report):
    """The same study as a deployment would report it."""
    released = report.results.evaluation
    return Report(
        setting="deployment",
        created=report.created,
        plan=report.plan,
        plan_digest=report.plan_digest,
        plan_text=report.plan_text,
        parameters=report.parameters,
        results=ClassificationResults(
            evaluation=Evaluation(
                tested_on=released.tested_on,
                federated_released=released.federated_released,
                released_counts=released.released_counts,
            )
        ),
        privacy=report.privacy,
        rounds=report.rounds,
        traffic=report.traffic,
        protection=report.protection,
        reproducibility=Reproducibility(randomness="operating_system", versions={"wardround": "0.1.0"}),
    )


@pytest.fixture(scope="session")
def bare(plan):
    """Nothing but what must be there."""
    return Report(
        setting="deployment",
        created="2026-11-21",
        plan=plan,
        plan_digest="ab" * 32,
        parameters=4353,
        reproducibility=Reproducibility(randomness="operating_system"),
    )


@pytest.fixture(scope="session")
def generated(report):
    """A simulated study that trained a generator, after a classifier was trained on the same patients."""
    plan = generation_plan(report.plan)
    spent = report.privacy.sites["alder"]
    studies = (
        StudySpend(study="chest", task="classification", epsilon=2.987, delta=1e-5),
        StudySpend(study=plan.study, task="generation", epsilon=2.987, delta=1e-5),
    )
    site = msgspec.structs.replace(
        spent,
        by_side={"train": 2.987},
        after_round=spent.after_round[:-1],
        studies=studies,
        lifetime=Lifetime(epsilon=4.214, delta=1e-5, limit=8.0),
    )
    rounds = tuple(entry for entry in report.rounds if entry.kind == "train")
    return msgspec.structs.replace(
        report,
        plan=plan,
        parameters=61_413,
        results=GenerationResults(generation=generation()),
        privacy=Privacy(sites=dict.fromkeys(SITES, site)),
        rounds=rounds,
        learning=(),
        data={name: msgspec.structs.replace(data, positives={}) for name, data in report.data.items()},
    )


@pytest.fixture(scope="session")
def generated_deployed(generated, deployed):
    """The same generator as a deployment would report it."""
    made = generated.results.generation
    shown = Generation(
        classes=tuple(msgspec.structs.replace(entry, real=None) for entry in made.classes),
        over_rounds=made.over_rounds,
        interpolation=made.interpolation,
    )
    return msgspec.structs.replace(
        deployed,
        plan=generated.plan,
        parameters=generated.parameters,
        results=GenerationResults(generation=shown),
        privacy=generated.privacy,
        rounds=generated.rounds,
    )


@pytest.fixture(scope="session")
def strange(deployed):
    """A study of a task that the server has no part for."""
    return msgspec.structs.replace(
        deployed, plan=msgspec.structs.replace(deployed.plan, task=Strange()), results=None
    )


def _evaluation(plan, rng, *, positives, negatives, loss=0.0):
    edges = plan.task.bin_edges
    labels = np.repeat([0, 1], [negatives, positives])
    hidden = rng.normal(labels, 0.35)
    models = {name: (sharp - loss) for name, sharp in SHARPNESS.items()}
    models |= {(name, i): sharp - loss for name, pair in ALONE.items() for i, sharp in enumerate(pair)}
    test = {name: _scores(rng, hidden, labels, sharp) for name, sharp in models.items()}
    held = {name: _scores(rng, rng.normal(labels, 0.35), labels, sharp) for name, sharp in models.items()}
    results = {name: _result(held[name], test[name], labels) for name in models}
    shape, sd = (2, len(edges) + 1), NOISE * len(SITES) ** 0.5
    noised = [histogram(s["federated"], labels, edges) + rng.normal(0, sd, shape) for s in (held, test)]
    point = operating_point(*noised, edges=edges, specificity=0.9, noise_sd_cell=sd)
    owner = rng.choice(len(SITES), labels.size, p=np.array(list(SITES.values())) / sum(SITES.values()))
    return Evaluation(
        tested_on="the 400 held-out patients of all sites",
        federated_released=ModelResult(
            auroc=auroc_released(noised[1], sd),
            positives=point.positives,
            negatives=point.negatives,
            roc=roc_released(noised[1]),
            operating_point=point,
        ),
        released_counts=ReleasedCounts(
            edges=edges,
            validation=tuple(map(tuple, noised[0].tolist())),
            test=tuple(map(tuple, noised[1].tolist())),
            noise_sd_cell=sd,
        ),
        **{name: results[name] for name in SHARPNESS},
        local_private={name: results[name, 0] for name in SITES},
        local={name: results[name, 1] for name in SITES},
        gain={name: auroc_difference(test["federated"], test[name, 0], labels) for name in SITES},
        by_site={
            name: SiteEvaluation(
                **{
                    m: _result(held[m][owner == i], test[m][owner == i], labels[owner == i])
                    for m in SHARPNESS
                },
                local_private=_result(held[name, 0], test[name, 0][owner == i], labels[owner == i], labels),
                local=_result(held[name, 1], test[name, 1][owner == i], labels[owner == i], labels),
            )
            for i, name in enumerate(SITES)
        },
    )


def _scores(rng, hidden, labels, sharpness):
    latent = 0.45 * sharpness * (2 * labels - 1) + 1.6 * (hidden - labels) + rng.normal(0, 0.75, labels.size)
    return 1 / (1 + np.exp(-1.6 * latent))


def _result(held, test, labels, held_labels=None):
    held_labels = labels if held_labels is None else held_labels
    return ModelResult(
        auroc=auroc_exact(test, labels),
        positives=float(labels.sum()),
        negatives=float((1 - labels).sum()),
        roc=roc_exact(test, labels),
        operating_point=operating_point_exact(held, held_labels, test, labels, specificity=0.9),
    )


def _only_exact(evaluation):
    return Evaluation(
        tested_on="624 patients of the public test folder",
        federated=evaluation.federated,
        federated_without_privacy=evaluation.federated_without_privacy,
        pooled=evaluation.pooled,
        local=evaluation.local,
        local_private=evaluation.local_private,
        gain=evaluation.gain,
    )


def _privacy(name):
    share = 0.87 if name == "dogwood" else 1.0
    spent = tuple(
        RoundEpsilon(round=t, epsilon=share * 2.987 * ((t + 2) / (ROUNDS + 2)) ** 0.55)
        for t in range(1, ROUNDS)
    )
    return SitePrivacy(
        epsilon_spent=2.987,
        delta=1e-5,
        budget=3.0,
        by_side={"train": spent[-1].epsilon, "validation": 2.987, "test": 2.987},
        after_round=(*spent, RoundEpsilon(round=ROUNDS, epsilon=spent[-1].epsilon)),
    )


def _rounds():
    return tuple(_round(number) for number in range(1, ROUNDS + 1))


def _round(number):
    everyone = tuple(SITES)
    cohort = everyone if number not in (6, 7) else everyone[:-1]
    dropped = {9: ("cedar",), 10: ("birch",), VOID: everyone[1:]}.get(number, ())
    return RoundReport(
        number=number,
        kind="evaluate" if number == ROUNDS else "train",
        cohort=cohort,
        survivors=tuple(name for name in cohort if name not in dropped),
        void=number == VOID,
        reason={9: "transport.timeout", 10: "transport.timeout", VOID: "secagg.too_few"}.get(number, ""),
        attempts={9: 2, VOID: 5}.get(number, 1),
        seconds={"training": 2.0, "masking and shares": 0.3},
    )


def _learning(rng):
    rounds = tuple(t for t in range(1, ROUNDS) if t != VOID)
    curves = []
    for metric, ends in (
        ("AUROC on test patients", {"together, private": 0.951, "together, without privacy": 0.964}),
        ("Loss on training patients", {name: 0.2 + 0.05 * i for i, name in enumerate(SITES)}),
    ):
        for series, end in ends.items():
            start = 0.55 if "AUROC" in metric else 0.7
            noise = rng.normal(0, 0.006, len(rounds))
            values = tuple(
                float(end + (start - end) * np.exp(-t / 5) + e) for t, e in zip(rounds, noise, strict=True)
            )
            curves.append(LearningCurve(metric=metric, series=series, rounds=rounds, values=values))
    return tuple(curves)


def _traffic():
    exchanges = {
        "start / hello": (6_300, 11_000),
        "cohort / deal": (44_000, 32_000),
        "envelopes / masked": (423_000, 51_000),
        "survivors / confirm": (5_100, 14_200),
        "confirms / open": (11_800, 9_900),
        "result / accept": (4_900, 1_270_000),
    }
    return {name: Traffic(sent=sent, received=received) for name, (sent, received) in exchanges.items()}


def _data(rng, size):
    patients = {"train": size, "validation": round(size * 0.21), "test": round(size * 0.22)}
    return SiteData(
        patients=patients,
        images=round(sum(patients.values()) * 1.7),
        positives={side: int(rng.binomial(number, 0.66)) for side, number in patients.items()},
        rejects={"pixels.truncated": 4, "label.missing": 11} if size > 400 else {},
        description="computed radiography" if size > 400 else "",
    )


def _png(rng):
    """A sheet of 6 x 2 round shapes, 64 pixels each, as an 8-bit grey PNG."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    rows = []
    for _ in range(2):
        tiles = []
        for _ in range(6):
            body = np.exp(-((x / rng.uniform(0.7, 0.9)) ** 4) - (y / 0.95) ** 4)
            lungs = sum(
                np.exp(-(((x - s * 0.38) / 0.24) ** 2) - ((y + 0.05) / rng.uniform(0.5, 0.65)) ** 4)
                for s in (-1, 1)
            )
            tiles.append(np.clip(body - 0.75 * lungs + rng.normal(0, 0.03, x.shape), 0, 1))
        rows.append(np.hstack(tiles))
    pixels = (255 * np.vstack(rows)).astype(np.uint8)
    height, width = pixels.shape
    raw = b"".join(b"\0" + line.tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in parts)


def _chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
