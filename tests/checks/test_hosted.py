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
EDIT = ["task=edit", "references=small.png"]
CONTROL = ["task=control", "control_image=sample:scene"]
MASKED = ["task=inpaint", "image=sample:scene", "mask=sample:mask", "strength=1", "keep_unmasked=false"]

REFUSED = [
    ("zimage", ["guidance=pag"], "guidance=pag: can't reach into hosted models"),
    ("zimage", ["guidance=slg"], "guidance=slg: can't reach into hosted models"),
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
    ("lumina2", FROM, "task=img2img: Lumina2Pipeline does not do it: use task=text2img"),
    ("klein", FROM, "task=img2img: Flux2KleinPipeline does not do it: use task=text2img or inpaint or edit"),
    ("klein", ["negative_prompt=fog"], "negative_prompt=fog: Flux2KleinPipeline takes none"),
    ("klein", ["task=edit"], "references: an image is needed: references=FILE"),
    (
        "klein",
        ["task=edit", "references=sample:scene", "image=sample:scene"],
        "image=sample:scene: is another name of references",
    ),
    (
        "kontext",
        ["task=edit", "references=sample:scene", "images=2", "batch=2"],
        "batch: FluxKontextPipeline takes the references of one image at a time",
    ),
    ("wan", [], "task=text2img: WanPipeline does not do it: use task=text2video"),
    ("wan", ["task=image2video"], "task=image2video: WanPipeline does not do it: use task=text2video"),
    ("wan", ["task=text2video", "frames=8"], "frames=8: must be one more than a multiple of 4 for this model: 5 or 9"),
    ("video", [], "task=text2img: TextToVideoSDPipeline does not do it: use task=text2video"),
    ("sdcontrol", [], "task=text2img: StableDiffusionControlNetPipeline does not do it: use task=control"),
    ("fluxcontrol", [*TINY, *FROM], "task=img2img: FluxControlPipeline does not do it: use task=control"),
    ("fluxcontrol", [*TINY, *CONTROL, "control_scale=0.5"], "control_scale=0.5: FluxControlPipeline takes none"),
    ("fluxfill", TINY, "task=text2img: FluxFillPipeline does not do it: use task=inpaint"),
    ("chroma", ["height=30", "width=32"], "height=30: must be a multiple of 4 pixels for this model: 28 or 32"),
]


def of(source: Path, *more: str) -> list[str]:
    return [
        "model=local",
        f"model.source={source}",
        "model.family=hosted",
        "callbacks=[]",
        "prompt=a cat",
        "steps=2",
        *more,
    ]


@pytest.mark.parametrize(("name", "more", "message", "command"), alternately(REFUSED, [["check"], []]))
def test_settings_that_cannot_be_passed_on_are_refused(compose, others, command, name, more, message):
    size = [] if any(word.startswith("height") for word in more) else SMALL
    done = compose(*command, *of(others[name], *size, *more, "output.folder=out"))
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1, done.err
    assert not Path("out").exists()


def theirs(folder: Path, size: int, sibling: str | None = None, **inputs: object) -> np.ndarray:
    """What diffusers' own call makes of a checkpoint, by its own class or a sibling."""
    name = json.loads((folder / "model_index.json").read_text())["_class_name"]
    pipe = getattr(diffusers, sibling or name).from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    generator = [torch.Generator().manual_seed(0)]
    requested = {
        "prompt": ["a cat"],
        "num_inference_steps": 2,
        "height": size,
        "width": size,
        "generator": generator,
        **{
            key: list(value) if isinstance(value, list) else value for key, value in inputs.items()
        },  # some change lists
    }
    return np.asarray(pipe(**requested).images[0])


def sample(size: int) -> Image.Image:
    from composer.images.reading import read_image, resize_to

    return resize_to(read_image("image", "sample:scene"), size, size)


def reference() -> Image.Image:
    from composer.images.reading import read_image

    return read_image("references", "sample:scene").resize((64, 80))


def mask(size: int) -> Image.Image:
    from composer.images.reading import read_mask, resize_to

    return resize_to(read_mask("mask", "sample:mask"), size, size)


STARTED = {"image": True, "strength": 0.5, "negative_prompt": ["fog"]}
PAINTED = {"mask_image": mask}
HALF = [*FROM, "strength=0.5", "guidance=3", "negative_prompt=fog"]
HALF_MASKED = [*MASKED, "strength=0.5", "guidance=3", "negative_prompt=fog"]
GENERATED = {
    "zimage": (64, ["guidance=3", "negative_prompt=fog"], {"guidance_scale": 3.0, "negative_prompt": ["fog"]}),
    "qwen": (64, ["guidance=9"], {"true_cfg_scale": 9.0, "negative_prompt": [""]}),
    "klein": (64, ["guidance=2"], {"guidance_scale": 2.0}),
    "klein reference": (64, EDIT, {"image": [reference()], "guidance_scale": 4.0}),
    "klein two references": (
        64,
        ["task=edit", "references=[small.png,small.png]"],
        {"image": [reference(), reference()], "guidance_scale": 4.0},
    ),
    "chroma": (32, ["guidance=5"], {"guidance_scale": 5.0, "negative_prompt": [""]}),
    "lumina2": (64, [], {"guidance_scale": 4.0, "negative_prompt": [""]}),
    "fluxcontrol": (32, [*CONTROL, "guidance=5"], {"control_image": True, "guidance_scale": 5.0}),
    "sdcontrol": (
        64,
        [*CONTROL, "guidance=5", "control_scale=0.5"],
        {"image": True, "guidance_scale": 5.0, "negative_prompt": [""], "controlnet_conditioning_scale": 0.5},
    ),
    "zimage img2img": (64, HALF, {"sibling": "ZImageImg2ImgPipeline", **STARTED, "guidance_scale": 3.0}),
    "zimage inpaint": (
        64,
        HALF_MASKED,
        {"sibling": "ZImageInpaintPipeline", **STARTED, **PAINTED, "guidance_scale": 3.0},
    ),
    "qwen img2img": (64, HALF, {"sibling": "QwenImageImg2ImgPipeline", **STARTED, "true_cfg_scale": 3.0}),
    "qwen inpaint": (
        64,
        HALF_MASKED,
        {"sibling": "QwenImageInpaintPipeline", **STARTED, **PAINTED, "true_cfg_scale": 3.0},
    ),
    "chroma img2img": (32, HALF, {"sibling": "ChromaImg2ImgPipeline", **STARTED, "guidance_scale": 3.0}),
    "klein inpaint": (
        64,
        [*HALF_MASKED[:-1], "guidance=3"],
        {"sibling": "Flux2KleinInpaintPipeline", "image": True, "strength": 0.5, **PAINTED, "guidance_scale": 3.0},
    ),
}


@pytest.mark.parametrize(
    "case", slow_but(["zimage", "klein reference", "sdcontrol", "zimage img2img", "qwen inpaint"], GENERATED)
)
def test_a_pipeline_gives_twice_what_diffusers_gives(compose, others, case):
    size, more, inputs = GENERATED[case]
    folder = others[case.split()[0]]
    given = {key: [sample(size)] if value is True else value for key, value in inputs.items()}
    given = {key: [value(size)] if value is mask else value for key, value in given.items()}
    expected = theirs(folder, size, **given)
    reference().save("small.png")
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


@pytest.mark.parametrize(("family", "message"), [("sd", "7.5"), ("sdxl", "5.0"), ("sd3", "7.0"), ("flux", "1.0")])
def test_a_family_has_its_own_steps_and_scale(compose, checkpoints, family, message):
    done = compose("show", "model=local", f"model.source={checkpoints[family]}")
    steps = {"sd": 50, "sdxl": 50, "sd3": 28, "flux": 28}[family]
    assert f"Auto scale {message}" in done.out and f"steps      {steps}" in done.out, done.out


def classes() -> list[type]:
    names = [name for name in dir(diffusers) if name.endswith("Pipeline") and name != "DiffusionPipeline"]
    result = [getattr(diffusers, name, None) for name in names]
    return [item for item in result if isinstance(item, type) and issubclass(item, diffusers.DiffusionPipeline)]


@pytest.mark.slow
def test_every_class_of_diffusers_shows_what_it_makes():
    for pipeline in classes():
        name, makes_no_images = pipeline.__name__, not read_call(pipeline).returns_images
        if any(word in name for word in ("Video", "Audio", "AnimateDiff", "Wan", "LTX", "Mochi")):
            assert makes_no_images, name
        if any(word in name for word in ("Img2Img", "Inpaint", "TextToImage", "ControlNet")) and not read_call(
            pipeline
        ).outputs & {"frames", "audios"}:
            assert not makes_no_images, name
