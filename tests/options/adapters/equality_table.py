"""Runs what is compared with diffusers' own calls to adapters, slow cases too, and prints the table of
docs/quality/adapters.md: `python tests/options/adapters/equality_table.py`. Words after it choose its rows.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
#: Name of an adapter → tests whose cases compare images with diffusers', bit for bit.
COMPARED = {
    "LoRA": ("test_lora_parity.py::test_it_equals_diffusers_and_the_run_after_equals_the_run_before",),
    "control model": ("test_control_parity.py::test_it_equals_diffusers_and_the_run_after_equals_the_run_before",),
    "control LoRA": ("test_control_files.py::test_a_control_lora_equals_diffusers_and_leaves_nothing",),
    "ControlNet in a file": (
        "test_control_files.py::test_a_file_in_the_original_layout_is_what_diffusers_loads_of_it",
        "test_control_files.py::test_a_file_in_diffusers_layout_takes_its_settings_from_the_unet",
    ),
    "IP-Adapter": (
        "test_ip_adapters.py::test_it_equals_diffusers_and_the_run_after_equals_the_run_before",
        "test_ip_adapters.py::test_several_images_masks_files_and_scales_of_blocks",
        "test_ip_transformers.py::test_it_equals_diffusers_and_the_run_after_equals_the_run_before",
    ),
    "textual inversion": (
        "test_embeddings.py::test_it_equals_diffusers_in_each_format",
        "test_embeddings.py::test_sdxl_has_vectors_for_both_encoders",
    ),
    "all three": ("test_control_runs.py::test_it_is_together_with_lora_and_ip_adapter_as_in_diffusers",),
}  # fmt: skip


class Outcomes:
    """A plugin of pytest that keeps which case of which test passed."""

    def __init__(self) -> None:
        self.passed: dict[str, dict[str, bool]] = defaultdict(dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test, _, case = report.nodeid.partition("[")
        name, case = f"{Path(test.partition('::')[0]).name}::{test.partition('::')[2]}", case.removesuffix("]")
        if report.when == "call" or not report.passed:
            self.passed[name][case] = report.passed


def main(chosen: Sequence[str] = ()) -> None:
    compared = {row: of for row, of in COMPARED.items() if row in (chosen or COMPARED)}
    tests = [test for of in compared.values() for test in of]
    outcomes = Outcomes()
    arguments = ["-q", "-p", "no:cacheprovider", "-m", "slow or not slow", "--rootdir", str(ROOT)]
    stdout, sys.stdout = sys.stdout, sys.stderr
    try:
        pytest.main([*arguments, *(str(HERE / test) for test in tests)], plugins=[outcomes])
    finally:
        sys.stdout = stdout
    print("| adapter | cases | equal |\n|---|---|---|")
    for adapter, of in compared.items():
        cases = {(test, case): passed for test in of for case, passed in outcomes.passed[test].items()}
        names = ", ".join(case or test.partition("::test_")[2].replace("_", " ") for test, case in cases)
        print(f"| {adapter} | {names} | {sum(cases.values())} of {len(cases)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
