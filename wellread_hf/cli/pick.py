"""`wellread pick`: the best student under a budget, from records."""

import json as jsons
from pathlib import Path
from typing import Annotated, Any

import tyro

from wellread_hf.settings import Picking


def pick(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    picking: Annotated[Picking, tyro.conf.arg(name="")],
    cascade: tyro.conf.FlagCreatePairsOff[bool] = False,
    json: tyro.conf.FlagCreatePairsOff[bool] = False,
) -> None:
    """Pick the best student under a budget, from the records of evaluations, exports and measurements.

    Under --max-ms or --max-mb the highest score wins, where the lower end of its 95 % interval over seeds and
    rows counts. With --min-score or --within alone the cheapest that reaches it. Status 3: none does.

    Args:
        runs: Folders of all stages.
        picking: What is asked for.
        cascade: The student answers where it is sure, else the teacher: the cheapest pair within --within
            points of the teacher (default 0.2), its threshold checked on rows that it was not fitted on.
        json: Print the pick as JSON.
    """
    from wellread_hf.results.candidates import read_offer
    from wellread_hf.results.lineage import Stages
    from wellread_hf.results.picking import choose

    offer = read_offer(Stages.read(*runs), picking)
    if cascade:
        # Its optimizer takes a seventh of a second to import.
        from wellread_hf.results.cascade import pick_cascade

        found: Any = pick_cascade(offer, picking)
    else:
        found = choose(offer, picking)
    if json:
        print(jsons.dumps(found.facts, indent=2))
    else:
        found.show()
