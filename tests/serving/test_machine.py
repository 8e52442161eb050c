"""The description of the machine that a latency was measured on."""

import json
import os
import subprocess
import sys

import pytest

from wellread_hf.serving.machine import has_fast_int8, machine


def test_it_says_what_decides_a_latency_and_fits_into_a_record() -> None:
    found = json.loads(json.dumps(machine()))
    assert {"cpu", "instructions", "cores", "load", "versions"} == set(found)
    assert found["cpu"]
    assert found["cores"] <= os.cpu_count()
    assert found["versions"]["torch"]


@pytest.mark.parametrize(
    ("instructions", "fast"),
    [
        ([], False),
        (["AVX2"], False),
        (["AVX2", "AVX512"], False),
        (["AVX2", "AVX-VNNI"], True),
        (["I8MM"], True),
    ],
)
def test_int8_is_for_size_alone_where_no_instruction_multiplies_it(instructions, fast) -> None:
    assert has_fast_int8({"instructions": instructions}) is fast


def test_neither_it_nor_the_timing_loads_torch() -> None:
    program = (
        "import sys, wellread_hf.serving.machine as m, wellread_hf.serving.timing; m.machine();"
        "print({'torch', 'transformers', 'datasets'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
