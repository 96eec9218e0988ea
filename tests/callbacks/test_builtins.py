"""The built-in callbacks: each passes the kit for callback authors, and does what it promises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers.callbacks import SDCFGCutoffCallback
from PIL import Image
from safetensors.torch import load_file

from composer import StepCallback
from composer.callbacks.cfg_cutoff import CfgCutoff
from composer.callbacks.dynamic_threshold import DynamicThreshold
from composer.callbacks.early_stop import EarlyStop
from composer.callbacks.guidance_schedule import GuidanceSchedule
from composer.callbacks.latents_save import LatentsSave
from composer.callbacks.nan_guard import NanGuard
from composer.callbacks.preview import Preview, middle_frame
from composer.callbacks.prompt_switch import PromptSwitch
from composer.callbacks.trace import Trace
from composer.errors import CallbackError, ComposerError
from composer.testing import pipelines
from composer.testing.conformance import CallbackTests, same
from composer.testing.runs import PROMPTS, run, tiny

pytestmark = pytest.mark.usefixtures("one_thread")


class TestPreview(CallbackTests):
    neutral = True

    def make(self):
        return Preview(every=2)


class TestTrace(CallbackTests):
    neutral = True

    def make(self):
        return Trace()


class TestNanGuard(CallbackTests):
    neutral = True

    def make(self):
        return NanGuard()


class TestLatentsSave(CallbackTests):
    neutral = True

    def make(self):
        return LatentsSave(every=2)


class TestCfgCutoff(CallbackTests):
    def make(self):
        return CfgCutoff(0.5)


class TestGuidanceSchedule(CallbackTests):
    def make(self):
        return GuidanceSchedule("cosine", 1.0, 5.0)


class TestPromptSwitch(CallbackTests):
    families = ("sd", "sdxl", "sd3", "flux")

    def make(self):
        return PromptSwitch("a dog", step=1)


class TestEarlyStop(CallbackTests):
    def make(self):
        return EarlyStop(tolerance=0.5, patience=1)


class TestDynamicThreshold(CallbackTests):
    def make(self):
        return DynamicThreshold(limit=1.0)


class RecordingCallback(StepCallback):
    """Records steps and latents."""

    def __init__(self) -> None:
        self.steps, self.latents = [], []

    def after_step(self, step, latents):
        self.steps.append(step)
        self.latents.append(latents.clone())


def test_run_is_there_during_a_run_only():
    folders = []

    class Reader(StepCallback):
        def after_step(self, step, latents):
            folders.append(self.run.folder)

    callback = Reader()
    run("sd", {"reader": callback}, steps=2)
    assert folders == [None, None]
    with pytest.raises(RuntimeError, match=r"Reader\.run exists during a run only"):
        _ = callback.run


# --- cfg_cutoff ---


def diffusers_run(pipe, prompts, ratio):
    """Images of diffusers' pipeline with its own cutoff callback."""
    return pipe(
        prompts,
        num_inference_steps=10,
        guidance_scale=4.0,
        generator=[torch.Generator().manual_seed(seed) for seed in range(len(prompts))],
        callback_on_step_end=SDCFGCutoffCallback(cutoff_step_ratio=ratio),
        callback_on_step_end_tensor_inputs=["prompt_embeds"],
    ).images


@pytest.mark.parametrize(("diffusers_ratio", "composer_ratio"), [(0.4, 0.5), (0.1, 0.2), (0.8, 0.9)])
def test_cfg_cutoff_is_bit_equal_to_diffusers_own(diffusers_ratio, composer_ratio):
    """diffusers cuts after the step of its ratio, composer before: int(10 · .4) + 1 = int(10 · .5)."""
    pipe = pipelines.sd()
    pipe.set_progress_bar_config(disable=True)
    classic = diffusers_run(pipe, [PROMPTS[0]], diffusers_ratio)
    mine = run("sd", {"cfg_cutoff": CfgCutoff(composer_ratio)}, steps=10)
    assert mine.image.tobytes() == classic[0].tobytes()
    assert mine.image.tobytes() != run("sd", {}, steps=10).image.tobytes()


def test_cfg_cutoff_takes_two_prompts_unlike_that_of_diffusers():
    """SDCFGCutoffCallback keeps the last row of the embeddings alone: two images, one prompt."""
    pipe = pipelines.sd()
    pipe.set_progress_bar_config(disable=True)
    with pytest.raises(RuntimeError):
        diffusers_run(pipe, list(PROMPTS[:2]), 0.4)
    both = run("sd", {"cfg_cutoff": CfgCutoff(0.5)}, steps=10, batch=2)
    alone = run("sd", {"cfg_cutoff": CfgCutoff(0.5)}, steps=10)
    difference = (torch.tensor(list(both.images[0].tobytes())) - torch.tensor(list(alone.image.tobytes()))).abs().max()
    assert difference <= 1  # another batch adds in another order


def test_cfg_cutoff_does_not_compute_the_negative_branch():
    sizes = []
    unet = tiny("sd").unet
    handle = unet.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    try:
        run("sd", {"cfg_cutoff": CfgCutoff(0.5)}, steps=4)
    finally:
        handle.remove()
    assert sizes == [2, 2, 1, 1]


# --- the others ---


def test_preview_writes_one_animation_an_image_and_frames(tmp_path):
    run("sd", {"preview": Preview(every=2, frames=True, size=64)}, batch=2, steps=5, folder=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["preview", "preview-000.webp", "preview-001.webp"]
    frames = sorted((tmp_path / "preview").iterdir())
    assert [path.name for path in frames] == [f"{i:03d}-{k:03d}.png" for i in range(2) for k in range(3)]
    animation = Image.open(tmp_path / "preview-000.webp")
    assert animation.is_animated and animation.size == (64, 64)


@pytest.mark.parametrize("family", ["sd", "sd3", "flux", "ddpm"])
def test_the_last_frame_looks_like_the_image(family, tmp_path):
    """Decoded in full it is the image, for a model that predicts x₀ in the end."""
    task = "unconditional" if family == "ddpm" else "text2img"
    result = run(family, {"preview": Preview(frames=True, decode="vae", size=32)}, task=task, folder=tmp_path)
    last = sorted((tmp_path / "preview").iterdir())[-1]
    expected = result.image.resize((32, 32), Image.Resampling.BICUBIC)
    a, b = (torch.tensor(list(image.convert("RGB").tobytes())).float() for image in (Image.open(last), expected))
    assert (a - b).abs().mean() < 3


def test_cheap_colours_follow_the_decoded_ones(tmp_path):
    """On the checkpoint that generates something: random weights have no colours to find."""
    import composer

    composer.compose("callbacks=[]", steps=4)  # the weights are warm
    from composer.config.compose import compose_config
    from composer.config.read import read
    from composer.pipelines.run import execute

    config = ["steps=6", "callbacks=[preview]", "callbacks.preview.frames=true", "scheduler=euler"]
    for decode in ("latents", "vae"):
        execute(read(compose_config([*config, f"callbacks.preview.decode={decode}"])), tmp_path / decode)
    last = [sorted((tmp_path / decode / "preview").iterdir())[-1] for decode in ("latents", "vae")]
    a, b = (torch.tensor(list(Image.open(path).tobytes())).float() for path in last)
    assert (a - b).abs().mean() < 16


def test_trace_records_every_step(tmp_path):
    kept, trace = RecordingCallback(), Trace()
    run("sd", {"trace": trace, "kept": kept}, steps=5, folder=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "trace.jsonl").read_text().splitlines()]
    assert rows == trace.rows and [row["index"] for row in rows] == list(range(5))
    for row, latents, step in zip(rows, kept.latents, kept.steps):
        assert row["latents"]["std"] == pytest.approx(float(latents.std())) and row["latents"]["max"] == float(
            latents.max()
        )
        assert row["timestep"] == float(step.timestep) and row["seconds"] > 0 and row["peak_memory"] > 1e6
    assert Image.open(tmp_path / "trace.png").size[0] == 640


def test_nan_guard_names_the_step_and_the_image():
    """The model itself goes wrong: what a callback returns is looked at anyway."""
    calls = []

    def poison(module, args, output):
        calls.append(1)
        return (
            (torch.where(torch.arange(len(output[0])).view(-1, 1, 1, 1) % 2 == 1, torch.nan, output[0]),)
            if len(calls) == 2
            else None
        )

    handle = tiny("sd").unet.register_forward_hook(poison)
    try:
        with pytest.raises(CallbackError) as caught:
            run("sd", {"nan_guard": NanGuard()}, batch=2)
    finally:
        handle.remove()
    reason = "ValueError: 256 of 512 numbers in the model's prediction"
    assert f"callbacks.nan_guard: failed in after_predict, step 2/4: {reason}" in str(caught.value)
    assert "are not finite (image 1): try precision=fp32" in str(caught.value)


def test_guidance_schedules():
    linear, cosine = GuidanceSchedule("linear", 1, 5), GuidanceSchedule("cosine", 1, 5)
    assert [linear.scale_at(fraction, 7) for fraction in (0, 0.25, 1)] == [1, 2, 5]
    assert (
        cosine.scale_at(0, 7) == 1
        and cosine.scale_at(0.5, 7) == pytest.approx(3)
        and cosine.scale_at(1, 7) == pytest.approx(5)
        and cosine.scale_at(0.25, 7) < 2
    )
    inside = GuidanceSchedule("interval", first=0.2, last=0.6)
    assert [inside.scale_at(value, 7) for value in (0, 0.2, 0.6, 0.7)] == [1, 7, 7, 1]
    kept = RecordingCallback()
    run("sd", {"guidance_schedule": linear, "kept": kept}, steps=5)
    assert [step.guidance_scale for step in kept.steps] == [1, 2, 3, 4, 5]


def test_a_constant_schedule_changes_nothing():
    assert same(run("sd", {"guidance_schedule": GuidanceSchedule("linear", 4.0, 4.0)}), run("sd", {}))


def test_a_prompt_that_switches_at_once_is_the_other_prompt():
    switched = run("sd", {"prompt_switch": PromptSwitch(PROMPTS[0], step=0)})
    late = run("sd", {"prompt_switch": PromptSwitch("an apple", step=2)})
    never = run("sd", {"prompt_switch": PromptSwitch("an apple", step=9)})
    plain = run("sd", {})
    assert same(switched, plain) and same(never, plain) and not same(late, plain)


def test_early_stop_ends_with_the_converged_estimate():
    kept = RecordingCallback()
    result = run("sd", {"kept": kept, "early_stop": EarlyStop(tolerance=10.0, patience=2)}, steps=10)
    assert len(kept.steps) == 3 and len(result.images) == 1
    kept = RecordingCallback()
    run("sd", {"kept": kept, "early_stop": EarlyStop(tolerance=1e-9)}, steps=6)
    assert len(kept.steps) == 6


def test_dynamic_threshold_bounds_the_estimate():
    seen = []

    class Estimate(StepCallback):
        def after_predict(self, step, prediction):
            seen.append(float(self.run.denoised(step, prediction).abs().max()))

    plain = run("sd", {"estimate": Estimate()}, steps=6)
    free, seen[:] = max(seen), []
    bounded = run("sd", {"dynamic_threshold": DynamicThreshold(limit=0.5), "estimate": Estimate()}, steps=6)
    assert free > 0.6 and max(seen) <= 0.5 + 1e-3 and not same(plain, bounded)
    assert same(run("sd", {"dynamic_threshold": DynamicThreshold(limit=1e6)}, steps=6), plain)


def test_latents_are_saved(tmp_path):
    kept = RecordingCallback()
    run("sd", {"latents_save": LatentsSave(every=2), "kept": kept}, steps=5, folder=tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["latents-001.safetensors", "latents-003.safetensors", "latents-004.safetensors"]
    for name, index in zip(files, (1, 3, 4)):
        saved = load_file(tmp_path / name)
        assert (
            torch.equal(saved["latents"], kept.latents[index])
            and saved["timestep"].item() == kept.steps[index].timestep
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CfgCutoff(1.5), "callbacks.cfg_cutoff.after=1.5: must be a number from 0 to 1"),
        (
            lambda: GuidanceSchedule("square"),
            "callbacks.guidance_schedule.kind=square: is not known (allowed: linear, cosine, interval)",
        ),
        (lambda: GuidanceSchedule(end=float("nan")), "callbacks.guidance_schedule.end=nan"),
        (lambda: Preview(every=0), "callbacks.preview.every=0: must be an integer, 1 or more"),
        (lambda: Preview(format="mp4"), "callbacks.preview.format=mp4: is not known (allowed: webp, gif)"),
        (lambda: PromptSwitch("x", step=-1), "callbacks.prompt_switch.step=-1"),
        (lambda: EarlyStop(tolerance=0), "callbacks.early_stop.tolerance=0"),
        (
            lambda: DynamicThreshold(percentile=2),
            "callbacks.dynamic_threshold.percentile=2: must be a number above 0 and at most 1",
        ),
        (lambda: LatentsSave(every=-1), "callbacks.latents_save.every=-1"),
    ],
)
def test_settings_out_of_range_are_refused_in_a_line(make, message):
    with pytest.raises(ComposerError) as caught:
        make()
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_on_the_command_line(compose, tmp_path: Path):
    done = compose(
        "callbacks=[progress,preview,trace,nan_guard,cfg_cutoff,latents_save]", "steps=3", "hydra.run.dir=out"
    )
    assert done.code == 0 and done.err == "", done.err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "000.png",
        "preview-000.webp",
        "trace.jsonl",
        "trace.png",
        "latents-002.safetensors",
        "config.yaml",
        "run.json",
    }
    assert "there is no such" in compose("callbacks=[preview]", "callbacks.preview.evry=2").err
    assert "a value is needed: callbacks.prompt_switch.prompt" in compose("callbacks=[prompt_switch]").err


@pytest.mark.parametrize(
    ("shape", "channels", "frame"),
    [
        ((2, 4, 5, 3, 3), 4, (slice(None), slice(None), 2)),  # Wan, LTX, HunyuanVideo
        ((2, 5, 4, 3, 3), 4, (slice(None), 2)),  # CogVideoX
        ((2, 4, 3, 3), 4, (slice(None),)),
        ((2, 4, 5, 3, 3), None, None),
        ((2, 9, 4), 4, None),
    ],
)
def test_the_middle_frame_of_any_layout(shape, channels, frame):
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    middle = middle_frame(latents, channels)
    assert middle is None if frame is None else torch.equal(middle, latents[frame])
