"""Push finished stages to the Hub: one repository and one commit each, with a card; private unless --public.

Reads folders of finished stages; writes repositories, a collection and push-report.json. Running it again
resumes it: what is on the Hub already is not sent again. Log in first: `hf auth login`.

  wellread publish runs/pretrain-bert-2-128-seed0-... --namespace MY-NAME
"""

import sys
from dataclasses import field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from wellread_hf import stages
from wellread_hf.cli.recipe import Recipe
from wellread_hf.hub.publish import check_runs, publish_runs
from wellread_hf.hub.push_settings import Publishing
from wellread_hf.settings import Running
from wellread_hf.settings.fields import checked
from wellread_hf.stages.presets import SMOKE_CORPUS, SMOKE_PRETRAIN
from wellread_hf.store.stage import Stage


@checked()
class Settings:
    runs: Positional[tuple[Path, ...]] = ()
    """Folders of finished stages: pretrain, adopt, finetune, distill, label."""
    publishing: Annotated[Publishing, arg(name="")] = field(default_factory=Publishing)
    """How they are pushed."""
    name: str | None = None
    """Name of the repository, for a single run; default: the family's, e.g. `bert-4-256-sst2`."""
    eval_results: bool = False
    """Add `.eval_results/glue.yaml`; for when GLUE is a registered benchmark."""
    json: bool = False
    """Print the report as JSON."""
    report: Path = Path("push-report.json")
    """Where the report goes, unless it is a dry run."""
    send: bool = True
    """Push; with `--no-send` everything is rendered and checked here, and nothing is sent."""
    running: Running = field(default_factory=Running)
    """Where a smoke test makes a tiny student to check."""


def plan(settings: Settings) -> list[Stage]:
    if settings.runs or settings.send:
        return []
    return [stages.pretrain(SMOKE_PRETRAIN, SMOKE_CORPUS, settings.running)]


def push(settings: Settings, made: list[Stage], dry_run: bool = False) -> None:
    s = settings
    runs = s.runs or tuple(stage.folder for stage in made)
    if s.send:
        sys.exit(publish_runs(runs, s.publishing, s.name, s.eval_results, dry_run, s.json, s.report))
    check_runs(runs, s.name, s.eval_results)


def show_plan(settings: Settings, made: list[Stage]) -> None:
    if settings.runs:
        push(settings, made, dry_run=True)


SMOKE = Settings(send=False)


RECIPE = Recipe(
    about=__doc__,
    settings=Settings,
    plan=plan,
    show=push,
    presets={"smoke": SMOKE},
    first="namespace public name send tag collection verify report",
    preview=show_plan,
)

if __name__ == "__main__":
    RECIPE.run()
