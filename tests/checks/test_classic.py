"""What a pipeline class can't take or do is refused before weights load; what it can is generated as diffusers
generates it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from tiers import alternately, slow_but
from zoo import with_json

from composer.checks.pipeline_arguments import default_settings
from composer.checks.pipeline_class import read_call

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = ["height=64", "width=64"]
TINY = ["height=32", "width=32"]
FROM = ["task=img2img", "image=sample:scene"]
MASKED = ["task=inpaint", "image=sample:scene", "mask=sample:mask", "strength=1", "keep_unmasked=false"]

REFUSED = [
    ("zimage", ["guidance=pag"], "guidance=PerturbedAttentionGuidance: can't reach into hosted models"),
    ("zimage", ["guidance=slg"], "guidance=SkipLayerGuidance: can't reach into hosted models"),
    (
        "zimage",
        ["guidance=interval", "guidance.scale=1"],
        "guidance=interval: combines two branches, and ZImagePipeline evaluates one",
    ),
    (
        "zimage",
        ["callbacks=[prompt_switch]", "callbacks.prompt_switch.prompt=x", "callbacks.prompt_switch.step=1"],
        "callbacks.prompt_switch: needs encode, and ZImagePipeline does that itself: it needs a native family",
    ),
    ("zimage", ["guidance=cfg", "guidance.embedded=3"], "guidance.embedded=3.0: ZImagePipeline takes one scale alone"),
    ("zimage", ["guidance=distilled"], "this model takes no scale as an input"),
    ("zimage", ["scheduler=flow_unipc"], "scheduler=flow_unipc: UniPCMultistepScheduler can't lay out"),
    (
        "zimage",
        ["scheduler=flow_heun"],
        "ZImagePipeline sets its own steps and passes mu to FlowMatchHeunDiscreteScheduler",
    ),
    ("zimage", ["scheduler=flow_dpmpp_2m"], "passes sigmas to DPMSolverMultistepScheduler, which takes none"),
    ("zimage", [*FROM, "strength=1"], "task: ZImagePipeline takes no image"),
    (
        "klein",
        [*FROM, "strength=0.5"],
        "strength=0.5: Flux2KleinPipeline takes none and does all of the steps: say strength=1",
    ),
    ("klein", ["negative_prompt=fog"], "negative_prompt=fog: Flux2KleinPipeline takes none"),
    (
        "klein",
        [*FROM, "strength=1", "images=2"],
        "batch: Flux2KleinPipeline takes several images for references of each: say batch=1",
    ),
    ("klein", MASKED, "task: Flux2KleinPipeline takes no mask_image"),
    ("wan", [], "model.source: WanPipeline makes frames and no images"),
    ("video", [], "model.source: TextToVideoSDPipeline makes frames and no images"),
    ("sdcontrol", [], "needs image, which this task does not give: say task=img2img image=FILE strength=1"),
    ("fluxcontrol", TINY, "FluxControlPipeline needs control_image, which this task does not give: say task=img2img"),
    ("fluxfill", TINY, "FluxFillPipeline needs mask_image, which this task does not give"),
    (
        "fluxfill",
        [*FROM, *TINY, "strength=1"],
        "FluxFillPipeline needs mask_image, which this task does not give: say task=inpaint",
    ),
]


def of(source: Path, *more: str) -> list[str]:
    return ["model=local", f"model.source={source}", "callbacks=[]", "prompt=a cat", "steps=2", *more]


@pytest.mark.parametrize(("name", "more", "said", "command"), alternately(REFUSED, [["check"], []]))
def test_what_was_set_and_has_no_place_is_refused(compose, others, command, name, more, said):
    size = [] if set(TINY) & set(more) else SMALL
    done = compose(*command, *of(others[name], *size, *more, "output.folder=out"))
    assert done.code == 2 and said in done.err and done.err.count("\n") == 1, done.err
    assert not Path("out").exists()


def theirs(folder: Path, size: int, **inputs: object) -> np.ndarray:
    """What diffusers' own call makes of a checkpoint."""
    name = json.loads((folder / "model_index.json").read_text())["_class_name"]
    pipe = getattr(diffusers, name).from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    generator = [torch.Generator().manual_seed(0)]
    asked = {
        "prompt": ["a cat"],
        "num_inference_steps": 2,
        "height": size,
        "width": size,
        "generator": generator,
        **inputs,
    }
    return np.asarray(pipe(**asked).images[0])


def sample(size: int) -> Image.Image:
    from composer.images.reading import read_image, resize_to

    return resize_to(read_image("image", "sample:scene"), size, size)


def mask(size: int) -> Image.Image:
    from composer.images.reading import read_mask, resize_to

    return resize_to(read_mask("mask", "sample:mask"), size, size)


DRAWN = {
    "zimage": (64, ["guidance=3", "negative_prompt=fog"], {"guidance_scale": 3.0, "negative_prompt": ["fog"]}),
    "qwen": (64, ["guidance=9"], {"true_cfg_scale": 9.0, "negative_prompt": [""]}),
    "klein": (64, ["guidance=2"], {"guidance_scale": 2.0}),
    "klein reference": (64, [*FROM, "strength=1"], {"image": True, "guidance_scale": 4.0}),
    "chroma": (32, ["guidance=5"], {"guidance_scale": 5.0, "negative_prompt": [""]}),
    "lumina2": (64, [], {"guidance_scale": 4.0, "negative_prompt": [""]}),
    "fluxcontrol": (32, [*FROM, "strength=1", "guidance=5"], {"control_image": True, "guidance_scale": 5.0}),
    "sdcontrol": (
        64,
        [*FROM, "strength=1", "guidance=5"],
        {"image": True, "guidance_scale": 5.0, "negative_prompt": [""]},
    ),
}


@pytest.mark.parametrize("case", slow_but(["zimage", "klein reference", "fluxcontrol", "sdcontrol"], DRAWN))
def test_a_pipeline_draws_twice_what_diffusers_draws(compose, others, case):
    size, more, inputs = DRAWN[case]
    folder = others[case.split()[0]]
    given = {key: [sample(size)] if value is True else value for key, value in inputs.items()}
    expected = theirs(folder, size, **given)
    for out in ("first", "second"):
        done = compose(
            *of(folder, f"height={size}", f"width={size}", *more, "callbacks=[progress]", f"output.folder={out}")
        )
        assert done.code == 0 and "left on" not in done.err, done.err
        assert (np.asarray(Image.open(f"{out}/000.png")) == expected).all(), out


@pytest.mark.parametrize("name", ["chroma", "lumina2", "qwen", "zimage"])
def test_show_says_that_the_pipeline_lays_out_its_steps(compose, others, name):
    done = compose("show", *of(others[name], *(TINY if name == "chroma" else SMALL)))
    assert done.code == 0 and "2, laid out by" in done.out, done.err


def test_a_tokenizer_without_a_length_reads_what_the_pipeline_reads(compose, others, tmp_path):
    folder = with_json(
        shutil.copytree(others["qwen"], tmp_path / "qwen"),
        "tokenizer/tokenizer_config.json",
        model_max_length=int(1e30),
    )
    assert compose("check", *of(folder, *SMALL)).code == 0
    assert compose(*of(folder, *SMALL, "output.folder=out")).code == 0
    long = compose(*of(folder, *SMALL, "output.folder=long", f"prompt={'x' * 600}"))
    assert long.code == 0 and "prompt: 512 tokens are read" in long.err, long.err


@pytest.mark.parametrize(
    ("name", "steps", "scale"),
    [
        ("zimage", 50, 5.0),
        ("qwen", 50, 4.0),
        ("klein", 50, 4.0),
        ("chroma", 35, 5.0),
        ("lumina2", 30, 4.0),
        ("sdcontrol", 50, 7.5),
    ],
)
def test_steps_and_scale_are_the_defaults_of_the_class(others, name, steps, scale):
    index = json.loads((others[name] / "model_index.json").read_text())
    assert default_settings(index["_class_name"], False) == {"steps": steps, "guidance": scale}


@pytest.mark.parametrize(("family", "said"), [("sd", "7.5"), ("sdxl", "5.0"), ("sd3", "7.0"), ("flux", "1.0")])
def test_a_family_has_its_own_steps_and_scale(compose, checkpoints, family, said):
    done = compose("show", "model=local", f"model.source={checkpoints[family]}")
    steps = {"sd": 50, "sdxl": 50, "sd3": 28, "flux": 28}[family]
    assert f"Auto scale {said}" in done.out and f"steps      {steps}" in done.out, done.out


def classes() -> list[type]:
    names = [name for name in dir(diffusers) if name.endswith("Pipeline") and name != "DiffusionPipeline"]
    found = [getattr(diffusers, name, None) for name in names]
    return [each for each in found if isinstance(each, type) and issubclass(each, diffusers.DiffusionPipeline)]


@pytest.mark.slow
def test_every_class_of_diffusers_tells_what_it_makes():
    for pipeline in classes():
        name, makes_no_images = pipeline.__name__, not read_call(pipeline).returns_images
        if any(word in name for word in ("Video", "Audio", "AnimateDiff", "Wan", "LTX", "Mochi")):
            assert makes_no_images, name
        if any(word in name for word in ("Img2Img", "Inpaint", "TextToImage", "ControlNet")) and not read_call(
            pipeline
        ).outputs & {"frames"}:
            assert not makes_no_images, name
