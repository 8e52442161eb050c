"""Appends trials for ever, and says each number once it is committed: `writer.py TABLE FIRST PAUSE`."""

import sys
import time
from pathlib import Path

from rows import trial

from wellread_hf.results.trials import TrialTable

with TrialTable(Path(sys.argv[1])) as table:
    for number in range(int(sys.argv[2]), 10**9):
        # Long rows take several pages each.
        table.append(trial(number, seed=number, error=f"{number} " * 2_000))
        print(number, flush=True)
        time.sleep(float(sys.argv[3]))
