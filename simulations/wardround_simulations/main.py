"""``wardround-sim``: a federation on one machine, with the production code of both sides.

Privacy: see ``federation``.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from wardround_common.programs import run_program

app = typer.Typer(
    name="wardround-sim",
    help="Play a whole federation on this machine: real DICOM, real training, real secure aggregation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Workers = Annotated[int, typer.Option(min=0, max=64, help="Processes that play the sites; 0: this one.")]
GENERATOR_SCALE = 4.0
"""2,400, 1,600 and 800 phantom patients: a generator needs more of them than a classifier."""
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="The same seed gives the same files.")]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results; replaced.")] = Path("demo"),
    workers: Workers = 2,
) -> None:
    """Three phantom hospitals train a private classifier together; prints the path of the report."""
    from wardround_simulations.run import run_demo

    _print_path(run_demo("demo", scale=1.0, out=out, workers=workers, command=_command()))


@app.command()
def demo_gan(
    out: Annotated[Path, typer.Option(help="Folder for the results; replaced.")] = Path("demo-gan"),
    workers: Workers = 2,
) -> None:
    """Three larger phantom hospitals train a private generator together; prints the path of the report."""
    from wardround_simulations.run import run_demo

    _print_path(run_demo("demo-gan", scale=GENERATOR_SCALE, out=out, workers=workers, command=_command()))


@app.command()
def demo_deployed(
    out: Annotated[Path, typer.Option(help="Folder for everything; replaced.")] = Path("demo-deployed"),
    scale: Annotated[float, typer.Option(min=0.01, max=100, help="Patients, times this.")] = 1.0,
    workers: Workers = 2,
) -> None:
    """Deploy authority, coordinator and three sites as processes; prints the path of the report."""
    from wardround_simulations.deployed import run_demo
    from wardround_simulations.run import scenario_path

    plan = scenario_path("demo-deployed")
    _print_path(run_demo(plan, out=out, scale=scale, workers=max(1, workers)))


@app.command()
def run(
    plan: Annotated[Path, typer.Argument(help="A scenario: TOML with [plan] and [simulation].")],
    sites: Annotated[Path, typer.Option(help="Folder that holds SITE/*.dcm and SITE/labels.csv.")],
    test: Annotated[Path | None, typer.Option(help="A public test set, laid out like a site.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results; a second run adds a study.")] = Path(
        "run"
    ),
    workers: Workers = 2,
) -> None:
    """Train on your own folders of scans, one folder per hospital; prints the path of the report."""
    from wardround_simulations.federation import Federation
    from wardround_simulations.run import Job, run_scenario
    from wardround_simulations.scenario import load_scenario

    federation = Federation(scenario=load_scenario(plan), out=out, workers=workers)
    _print_path(run_scenario(Job(federation=federation, sites=sites, test=test, command=_command())))


@app.command()
def sample(
    run: Annotated[Path, typer.Argument(help="Folder of a run that trained a generator.")],
    out: Annotated[Path, typer.Option(help="Folder for the images; new, or of an earlier sample.")],
    label: Annotated[str | None, typer.Option(help="Draw this label only.")] = None,
    count: Annotated[int, typer.Option(min=1, max=9_999, help="Images of each label.")] = 16,
    seed: Seed = 0,
) -> None:
    """Draw synthetic images from a released generator: PNG, DICOM and arrays; prints the path of a grid."""
    from wardround_simulations.sampling import sample as draw_and_write

    _print_path(draw_and_write(run, out=out, label=label, count=count, seed=seed))


@app.command()
def phantoms(
    out: Annotated[Path, typer.Argument(help="Folder for the hospitals.")],
    seed: Seed = 0,
    scale: Annotated[float, typer.Option(min=0.01, max=100, help="Patients, times this.")] = 1.0,
) -> None:
    """Write three phantom hospitals as DICOM files with labels."""
    from wardround_simulations.live import Screen
    from wardround_simulations.phantoms import write_phantoms

    with Screen() as screen, screen.stage("phantoms") as progress:
        summary = write_phantoms(out, seed=seed, scale=scale, progress=progress)
    for hospital in summary.hospitals:
        typer.echo(f"{hospital.name}: {hospital.patients} patients, {hospital.images} images")


@app.command()
def explain(plan: Annotated[Path, typer.Argument(help="A scenario.")]) -> None:
    """Print a scenario's plan in plain words, with its digest."""
    from wardround_common.plan_text import explain as explain_plan
    from wardround_simulations.scenario import load_scenario

    typer.echo(explain_plan(load_scenario(plan).plan), nl=False)


def _command() -> str:
    return shlex.join(["wardround-sim", *sys.argv[1:]])


def _print_path(path: Path) -> None:
    print(path)  # noqa: T201


def main() -> None:
    """Entry point."""
    run_program(app)
