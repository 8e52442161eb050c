"""All 24, from text to the Hub and back: toys of a sixteenth of the width, on the toy world.

`make demo-family` runs it inside `python -m tests.hub_server`, which sets the environment.
"""

import sys
import tempfile

from .demo import WELLREAD, carry_out

STUDENT = "demo/bert-4-256"

# A user's own few lines, run in a process and a cache of their own.
LOAD = """
import sys
from transformers import AutoModelForMaskedLM
from transformers.utils import logging
logging.set_verbosity_error()
logging.disable_progress_bar()
config = AutoModelForMaskedLM.from_pretrained(sys.argv[1]).config
print(f"  {config.num_hidden_layers} layers, {config.num_attention_heads} heads, width {config.hidden_size}")
"""


def main() -> int:
    """Trains, scores, pushes, pushes again, verifies and loads; returns the first status that is not 0."""
    family = [*WELLREAD, "family", "--preset", "toy", "--publish", "demo", *sys.argv[1:]]
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        steps = {
            "The 24, from text to the Hub:": family,
            "The same again; what is done is skipped, what is on the Hub is only read:": family,
            "Every byte checked:": [*WELLREAD, "verify", STUDENT],
            f'from_pretrained("{STUDENT}") in a fresh process and cache:': [
                *(sys.executable, "-c", LOAD, STUDENT)
            ],
        }
        return carry_out(steps, folder)


if __name__ == "__main__":
    sys.exit(main())
