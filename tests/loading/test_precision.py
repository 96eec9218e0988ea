from __future__ import annotations

from itertools import product

import pytest
import torch
from tiers import sampled, slow_but

import composer
from composer.config.spec import PrecisionSpec
from composer.errors import ComposerError
from composer.loading import precision
from composer.loading.precision import DtypePlan, resolve_dtypes
from composer.testing.conformance import same

pytestmark = pytest.mark.usefixtures("one_thread")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LARGE = precision.MIN_BYTES_FOR_16_BITS


@pytest.fixture
def units(monkeypatch):
    """What this machine's processors can do, as the test says."""

    def have(cpu: bool = False, cuda: bool = False) -> None:
        monkeypatch.setattr(precision, "_native_on_cpu", lambda: cpu)
        monkeypatch.setattr(precision, "_native_on_cuda", lambda device: cuda)

    return have


@pytest.mark.parametrize(
    ("requested", "device", "size", "native", "dtype", "message"),
    [
        ("auto", CPU, LARGE, True, torch.bfloat16, None),
        ("auto", CPU, LARGE - 1, True, torch.float32, None),
        ("auto", CPU, LARGE, False, torch.float32, None),
        ("auto", CUDA, 0, True, torch.bfloat16, None),
        ("auto", CUDA, 0, False, torch.float16, None),
        ("fp16", CUDA, 0, True, torch.float16, None),
        (
            "fp16",
            CPU,
            LARGE,
            True,
            torch.bfloat16,
            "precision=fp16 is many times slower on a CPU than fp32: computing in bf16",
        ),
        (
            "fp16",
            CPU,
            0,
            True,
            torch.float32,
            "precision=fp16 is many times slower on a CPU than fp32: computing in fp32",
        ),
        ("bf16", CUDA, 0, False, torch.float16, "precision=bf16 is only emulated on this GPU: computing in fp16"),
        ("bf16", CPU, 0, False, torch.bfloat16, None),
    ],
)
def test_the_nearest_that_works(units, requested, device, size, native, dtype, message):
    units(cpu=native, cuda=native)
    dtypes, notes = resolve_dtypes(PrecisionSpec(dtype=requested), device, size)
    assert dtypes.default == dtype and notes == ((message,) if message else ())


def test_strict_refuses_instead(compose):
    done = compose("precision=fp16", "precision.strict=true", "device=cpu")
    assert done.code == 2
    assert (
        "precision.dtype=fp16: is many times slower on a CPU than fp32; without precision.strict it would be fp32"
        in done.err
    )


def test_a_component_can_differ():
    spec = PrecisionSpec(dtype="bf16", components={"vae": "fp32", "unet": "bf16", "text_encoder": "fp16"})
    dtypes, notes = resolve_dtypes(spec, CPU, 0)
    assert dict(dtypes.per_component) == {"vae": torch.float32, "text_encoder": torch.float32}
    assert notes == ("precision.text_encoder=fp16 is many times slower on a CPU than fp32: computing in fp32",)
    assert dtypes.argument == {"default": torch.bfloat16, **dict(dtypes.per_component)}
    assert DtypePlan(torch.float32).argument == torch.float32


#: Words, and the components that compute in bf16.
MIXED = {
    "all but the vae": (("precision=bf16", "precision.vae=fp32"), ("unet", "text_encoder")),
    "vae": (("precision.vae=bf16",), ("vae",)),
    "text encoder": (("precision.text_encoder=bf16",), ("text_encoder",)),
    "unet": (("precision.unet=bf16",), ("unet",)),
}


@pytest.mark.parametrize(
    ("task", "mixed"),
    [*sampled(["text2img", "img2img", "inpaint", "depth2img"], MIXED), *slow_but((), product(["upscale"], MIXED))],
)
def test_every_task_runs_with_mixed_components(task, mixed):
    words, half = MIXED[mixed]
    result = composer.compose(f"task={task}", "steps=3", *words)
    for name in ("unet", "vae", "text_encoder"):
        assert result.record["dtypes"][name] == ("bfloat16" if name in half else "float32"), name


@pytest.mark.parametrize(
    ("family", "words"),
    sampled(["sd", "sdxl", "sd3", "flux", "ddpm"], [("precision=bf16", "precision.vae=fp32"), ("precision.vae=bf16",)]),
)
def test_every_family_runs_with_mixed_components(checkpoints, family, words):
    if family == "ddpm":
        words = tuple(word.replace(".vae", ".unet") for word in words)
    task = "unconditional" if family == "ddpm" else "text2img"
    result = composer.compose("model=local", f"model.source={checkpoints[family]}", f"task={task}", "steps=2", *words)
    assert len(set(result.record["dtypes"].values())) == (2 if family != "ddpm" else 1)


def test_the_next_run_is_as_if_there_had_been_none():
    plain = composer.compose("steps=2")
    composer.compose("steps=2", "precision=bf16", "precision.vae=fp32")
    assert same(composer.compose("steps=2"), plain)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("precision.vea=fp32",),
            "precision.vea=fp32: the model has no such component (allowed: scheduler, text_encoder",
        ),
        (("precision.vae=fp8",), "precision.vae=fp8: is not known"),
        (("precision.strict=maybe",), "precision.strict=maybe: must be true or false"),
        (("task=unconditional", "precision.vae=fp32"), "precision.vae=fp32: the model has no such component"),
    ],
)
def test_refused(words, message):
    with pytest.raises(ComposerError) as caught:
        composer.compose(*words)
    assert message in str(caught.value)


def test_force_computes_in_what_the_device_is_slow_at(checkpoints):
    from diffusers import StableDiffusionPipeline

    words = [
        "model=local",
        f"model.source={checkpoints['sd']}",
        "prompt=x",
        "steps=2",
        "guidance=3",
        "device=cpu",
        "callbacks=[]",
    ]
    result = composer.compose(*words, "precision=fp16", "precision.force=true")
    pipe = StableDiffusionPipeline.from_pretrained(checkpoints["sd"], torch_dtype=torch.float16)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe("x", num_inference_steps=2, guidance_scale=3.0, generator=[torch.Generator().manual_seed(0)]).images[
        0
    ]
    assert result.image.tobytes() == theirs.tobytes()
    assert result.record["dtype"] == "float16" and any("many times slower on a CPU" in note for note in result.notes)


def test_force_and_strict_contradict_each_other(compose):
    done = compose("check", "precision=fp16", "precision.force=true", "precision.strict=true")
    assert done.code == 2 and "precision.force=True: contradicts precision.strict" in done.err
