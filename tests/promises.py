"""What composer promises, row by row, and the tests that hold it to that: `python tests/promises.py` runs them and
prints the table.

A row passes when each of its tests ran and passed; what needs an accelerator is named, and is run by benchmarks/gpu.py
where there is one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Promise:
    """row: its number. what: goes wrong elsewhere, and what is done here. tests: of this folder. gpu: what only an
    accelerator shows.
    """

    row: str
    what: str
    tests: Sequence[str]
    gpu: str = ""


PROMISES = (
    # --- A: an image where there should have been an error
    Promise(
        "A1",
        "half a tokenizer is refused",
        (
            "loading/test_integrity.py::test_an_incomplete_tokenizer",
            "loading/test_integrity.py::test_a_vocabulary_of_nothing",
            "cli/test_main.py::test_half_a_download_is_refused_by_name",
        ),
    ),
    Promise(
        "A2",
        "missing weights are refused, superfluous ones named",
        (
            "loading/test_integrity.py::test_missing_weights_are_refused",
            "loading/test_integrity.py::test_missing_weights_of_a_single_file",
            "loading/test_integrity.py::test_weights_too_many_are_named",
        ),
    ),
    Promise(
        "A3",
        "what is not finite becomes no image; a decode that overflows is repeated in fp32",
        (
            "sampling/test_non_finite.py::test_the_component_is_named_and_nothing_is_written",
            "sampling/test_non_finite.py::test_any_other_pipeline_says_it_too",
            "sampling/test_non_finite.py::test_the_vae_decodes_once_more_in_fp32_where_16_bits_overflow",
            "sampling/test_loop.py::test_a_bad_return_names_callback_moment_and_step",
        ),
        gpu="fp16 that overflows by itself in a real VAE",
    ),
    Promise(
        "A4",
        "numbers that are not finite are refused everywhere",
        (
            "cli/test_main.py::test_errors_are_one_line",
            "tasks/test_requests.py::test_refusals_are_one_line",
            "sampling/test_guidance.py::test_what_is_no_scale_is_refused",
            "images/test_reading.py::test_values_that_are_not_finite",
        ),
    ),
    Promise(
        "A5",
        "steps, sizes and seeds have bounds; a generated seed is recorded",
        (
            "cli/test_main.py::test_errors_are_one_line",
            "cli/test_main.py::test_a_random_seed_is_recorded_and_makes_the_same_image",
        ),
    ),
    Promise(
        "A6",
        "strength that leaves no step is refused, and a note says how many steps are left",
        (
            "tasks/test_requests.py::test_refusals_are_one_line",
            "tasks/test_requests.py::test_strength_says_how_many_steps_it_takes",
        ),
    ),
    Promise(
        "A7",
        "every mode of an image gives the same RGB",
        (
            "images/test_reading.py::test_every_mode_of_an_image_gives_the_same_rgb",
            "images/test_reading.py::test_what_is_transparent_is_composed_on_white",
            "images/test_reading.py::test_sixteen_bits_are_scaled_and_not_clipped",
        ),
    ),
    Promise(
        "A8",
        "EXIF's rotation is applied",
        (
            "images/test_reading.py::test_an_image_is_rotated_by_its_exif_tag",
            "tasks/test_requests.py::test_a_rotated_phone_photo_comes_out_upright",
        ),
    ),
    Promise(
        "A9",
        "a mask is read from alpha or white; one of zeros and ones is refused, one colour is named",
        (
            "images/test_reading.py::test_white_or_paint_is_repainted",
            "images/test_reading.py::test_a_mask_of_zeros_and_ones_is_refused",
            "images/test_reading.py::test_a_mask_that_can_hardly_be_meant",
            "tasks/test_requests.py::test_a_mask_that_can_hardly_be_meant_is_named",
        ),
    ),
    Promise(
        "A10",
        "an edited image keeps its size, and rounding is noted",
        ("tasks/test_requests.py::test_the_image_keeps_its_size_and_rounding_is_noted",),
    ),
    Promise(
        "A11",
        "pixels outside of the mask stay to the byte",
        (
            "tasks/test_requests.py::test_inpainting_leaves_every_unmasked_pixel_as_it_was",
            "images/test_masks.py::test_unmasked_pixels_stay_to_the_byte",
        ),
    ),
    Promise(
        "A12",
        "a prompt that is too long is noted, refused or read in windows",
        (
            "pipelines/test_long_prompts.py::test_what_is_dropped_is_noted",
            "pipelines/test_long_prompts.py::test_refusals",
            "pipelines/test_long_prompts.py::test_windows_are_what_the_encoder_makes_of_each",
            "pipelines/test_long_prompts.py::test_what_was_beyond_the_end_has_a_say",
        ),
    ),
    Promise(
        "A13",
        "a scheduler keeps what the checkpoint says of its schedule",
        (
            "parity/test_text2img.py::test_what_the_checkpoint_says_of_its_schedule_is_kept",
            "parity/test_text2img.py::test_sd_with_v_prediction_rescale_and_a_negative_prompt_is_bit_equal",
            "cli/test_main.py::test_show_names_components_scheduler_and_steps",
        ),
    ),
    Promise(
        "A14",
        "unknown keys and values are refused with what is allowed",
        (
            "cli/test_main.py::test_errors_are_one_line",
            "config/test_hydra_errors.py::test_what_holds_no_settings",
            "config/test_hydra_errors.py::test_settings_that_are_none",
        ),
    ),
    Promise(
        "A15",
        "what a callback returns is checked; what it writes in place is found",
        (
            "sampling/test_loop.py::test_a_bad_return_names_callback_moment_and_step",
            "sampling/test_hooks.py::test_a_hostile_callback_ends_the_run_by_name_and_leaves_nothing_behind",
            "sampling/test_hooks.py::test_inplace_changes_end_the_run_even_if_failures_are_skipped",
        ),
    ),
    Promise(
        "A16",
        "image i of a batch is the run with seed + i: within 1 level in fp32, a few in bf16",
        (
            "sampling/test_loop.py::test_image_i_of_a_batch_is_the_single_run_with_seed_plus_i",
            "sampling/test_loop.py::test_in_bf16_image_i_is_a_few_levels_from_the_single_run_at_most",
            "pipelines/test_batching.py::test_a_batch_of_one_is_the_single_run_to_the_bit",
            "sweeps/test_run.py::test_batches_are_within_one_level_and_their_make_up_is_recorded",
        ),
    ),
    # --- B: errors that should be a sentence
    Promise(
        "B1",
        "a model of another role is refused with the right task",
        ("checkpoints/test_components.py::test_a_checkpoint_of_the_wrong_kind_is_refused_with_the_right_task",),
    ),
    Promise("B2", "a missing mask or image is requested", ("tasks/test_requests.py::test_refusals_are_one_line",)),
    Promise(
        "B3", "a missing component folder is named", ("cli/test_main.py::test_half_a_download_is_refused_by_name",)
    ),
    Promise(
        "B4",
        "few steps, low strengths, Karras' sigmas and LCM stay finite or are refused",
        (
            "parity/test_from_image.py::test_few_steps_and_low_strengths_stay_finite",
            "cli/test_main.py::test_errors_are_one_line",
        ),
    ),
    Promise(
        "B5",
        "a flow-matching scheduler on a diffusion model is refused",
        ("cli/test_main.py::test_errors_are_one_line",),
    ),
    Promise(
        "B6",
        "a truncated weights file is named; a sum, where given, is verified",
        (
            "loading/test_loader.py::test_a_damaged_file_is_named",
            "loading/test_integrity.py::test_hashes_are_compared_with_the_files",
        ),
    ),
    Promise(
        "B7",
        "half precision runs for every kind of model, DDPM on a CPU too",
        (
            "loading/test_loader.py::test_half_precision_runs",
            "loading/test_precision.py::test_every_family_runs_with_mixed_components",
        ),
    ),
    Promise(
        "B8",
        "lists of prompts, negatives and images must match",
        ("cli/test_main.py::test_errors_are_one_line", "tasks/test_requests.py::test_refusals_are_one_line"),
    ),
    Promise(
        "B9",
        "truncated images and bombs are refused before they are decoded",
        (
            "images/test_reading.py::test_half_a_file_is_never_half_an_image",
            "images/test_reading.py::test_a_bomb_is_refused_before_it_is_decoded",
        ),
    ),
    # --- C: processes that end otherwise than planned
    Promise(
        "C1",
        "a callback that raises ends its job by name; the next run's pixels are those of a fresh process",
        (
            "sampling/test_hooks.py::test_a_hostile_callback_ends_the_run_by_name_and_leaves_nothing_behind",
            "sampling/test_loop.py::test_the_next_run_is_clean_after_a_failure",
            "sampling/test_hooks.py::test_on_error_is_a_setting_of_every_callback",
        ),
    ),
    Promise(
        "C2",
        "a callback that returns nothing changes nothing",
        ("sampling/test_loop.py::test_callbacks_that_only_look_change_nothing",),
    ),
    Promise(
        "C3",
        "memory that ran out is given back, and the job repeated smaller",
        (
            "sweeps/test_run.py::test_memory_that_runs_out_halves_the_batch_and_is_given_back",
            "sweeps/test_run.py::test_a_single_job_that_runs_out_of_memory_gets_the_next_option",
            "options/memory/test_auto.py::test_one_step_further_when_memory_runs_out",
            "pipelines/test_batching.py::test_auto_halves_when_memory_runs_out",
        ),
        gpu="memory of a GPU that runs out by itself",
    ),
    Promise(
        "C4",
        "Ctrl-C ends with 130 and keeps what is finished",
        (
            "sweeps/test_run.py::test_ctrl_c_keeps_what_is_finished",
            "sampling/test_hooks.py::test_ctrl_c_is_no_callbacks_fault",
            "system/test_interrupts.py::test_what_a_parser_makes_of_it_is_no_refusal",
            "system/test_interrupts.py::test_what_a_callback_makes_of_it_ends_the_sweep_all_the_same",
        ),
    ),
    Promise(
        "C5",
        "kill -9, Ctrl-C, two at once and a full disk lose and spoil nothing",
        (
            "sweeps/test_kills.py::test_no_job_is_lost_halved_doubled_redone_or_changed",
            "sweeps/test_run.py::test_missing_or_damaged_images_are_generated_again",
            "records/test_result.py::test_a_write_is_complete_or_absent",
            "records/test_result.py::test_a_folder_that_cannot_be_is_an_error_of_ours",
        ),
    ),
    Promise(
        "C6",
        "two runs never share a folder",
        (
            "sweeps/test_run.py::test_two_processes_never_use_a_folder_at_once",
            "cli/test_main.py::test_two_runs_in_one_folder_do_not_interleave",
        ),
    ),
    Promise(
        "C7",
        "any prompt arrives unchanged, and no name of a file is made of one",
        (
            "config/test_overrides.py::test_any_text_arrives_unchanged_as_typed",
            "config/test_overrides.py::test_any_text_arrives_unchanged_in_a_multirun",
            "config/test_overrides.py::test_any_texts_arrive_unchanged_as_a_sweep",
        ),
    ),
    Promise(
        "C8",
        "one failed job of many is reported at the end with exit 1, and tried again",
        (
            "sweeps/test_run.py::test_a_failed_job_hides_nothing_and_is_tried_again",
            "sweeps/test_run.py::test_fail_fast_and_retries",
        ),
    ),
    # --- E: untrusted files
    Promise(
        "E1",
        "classes are chosen by the names of installed options alone",
        (
            "config/test_targets.py::test_only_classes_of_our_packages_are_resolved",
            "config/test_targets.py::test_option_files_choose_no_other_classes",
            "config/test_targets.py::test_the_command_line_chooses_no_classes",
            "config/test_targets.py::test_records_choose_no_classes",
            "layering/test_imports.py::test_nothing_dangerous_is_called",
        ),
    ),
    Promise("E2", "pickled weights only as typed", ("loading/test_integrity.py::test_pickles_only_as_typed",)),
    Promise(
        "E3",
        "a checkpoint's own code is not run; a hub id is pinned to its commit",
        (
            "config/test_targets.py::test_a_checkpoints_own_code_is_not_run",
            "config/test_targets.py::test_nothing_trusts_remote_code",
            "loading/test_integrity.py::test_a_checkpoint_chooses_no_other_packages_classes",
            "loading/test_loader.py::test_a_hub_id_is_found_in_the_cache_and_pinned_to_its_commit",
            "loading/test_loader.py::test_components_of_hub_ids_are_pinned_too",
        ),
    ),
    Promise(
        "E4",
        "a hostile image generates, reads and writes nothing that the user did not allow",
        (
            "reruns/test_hostile.py::test_forty_hostile_images",
            "reruns/test_hostile.py::test_files_that_are_hardly_images",
            "records/test_metadata.py::test_what_is_no_record_is_refused",
        ),
    ),
    Promise(
        "E5",
        "no value leads out of the requested folder, and no link is followed",
        (
            "cli/test_main.py::test_a_value_in_a_folders_name_leads_nowhere_else",
            "cli/test_main.py::test_a_link_instead_of_an_image_is_not_followed",
            "sweeps/test_run.py::test_where_a_sweep_goes",
            "sweeps/test_run.py::test_settings_of_a_sweep_are_checked",
            "sweeps/test_run.py::test_a_folders_own_file_chooses_no_paths_and_no_pickles",
        ),
    ),
    Promise(
        "E6",
        "what was typed is shown in a sheet and never run",
        (
            "sweeps/report/test_sheet.py::test_what_was_typed_is_shown_and_never_run",
            "sweeps/report/test_sheet.py::test_a_script_that_is_not_ours_does_not_run",
            "sweeps/report/test_sheet.py::test_nothing_is_fetched_from_elsewhere",
            "sweeps/report/test_sheet.py::test_a_spreadsheet_computes_nothing",
        ),
    ),
    Promise(
        "E7",
        "secrets of the environment come into no file, record or line",
        (
            "config/test_secrets.py::test_no_generated_file_holds_it",
            "config/test_secrets.py::test_no_setting_takes_it",
            "cli/test_commands.py::test_config_shows_no_secret",
        ),
    ),
    Promise(
        "E8",
        "YAML that grows without bounds is refused",
        (
            "config/test_yaml_limits.py::test_aliases_that_multiply_are_refused_wherever_a_user_brings_them",
            "config/test_yaml_limits.py::test_what_has_no_end",
        ),
    ),
)


def ran(tests: Sequence[str]) -> dict[str, str]:
    """Test → passed, skipped, failed or absent; the worst of its cases."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        words = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n2",
            f"--junitxml={report}",
            *(str(ROOT / "tests" / test) for test in tests),
        ]
        subprocess.run(words, cwd=ROOT, stdout=subprocess.DEVNULL)
        cases = list(ElementTree.parse(report).iter("testcase"))
    ended: dict[str, list[str]] = {}
    for case in cases:
        file = case.get("classname", "").removeprefix("tests.").replace(".", "/")
        state = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        ended.setdefault(f"{file}.py::{case.get('name', '').partition('[')[0]}", []).append(state)
    order = ("error", "failure", "passed", "skipped")  # a case that is skipped here has others that ran
    return {
        test: min(ended.get(test, ["absent"]), key=lambda state: order.index(state) if state in order else -1)
        for test in tests
    }


def main() -> int:
    ended = ran(sorted({test for promise in PROMISES for test in promise.tests}))
    wrong = 0
    for promise in PROMISES:
        states = [ended[test] for test in promise.tests]
        worst = "pass" if set(states) == {"passed"} else next(state for state in states if state != "passed")
        wrong += worst != "pass"
        print(
            f"{promise.row:4} {worst:8} {len(states):2} tests  {promise.what}"
            + (f"  [needs a GPU: {promise.gpu}]" if promise.gpu else "")
        )
    print(f"{len(PROMISES)} promises: {len(PROMISES) - wrong} kept, {wrong} not proven here")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
