"""The task chooses a diffusers class: a checkpoint's own, or a sibling with the same components."""

from __future__ import annotations

import diffusers
import pytest
from tiers import slow_but

from composer.checks.pipeline_tasks import kinds_of, sibling_names

#: Class → kinds of tasks that it does.
KINDS = {
    "StableDiffusionInstructPix2PixPipeline": {"edit"},
    "StableDiffusionControlNetPipeline": {"control"},
    "StableDiffusionUpscalePipeline": {"other"},
    "DDPMPipeline": {"unconditional"},
    "FluxPipeline": {"text2img"},
    "FluxImg2ImgPipeline": {"img2img"},
    "FluxFillPipeline": {"inpaint"},
    "FluxKontextPipeline": {"text2img", "edit"},
    "FluxControlPipeline": {"control"},
    "Flux2KleinPipeline": {"text2img", "edit"},
    "QwenImagePipeline": {"text2img"},
    "QwenImageInpaintPipeline": {"inpaint"},
    "QwenImageEditPipeline": {"edit"},
    "QwenImageEditPlusPipeline": {"edit"},
    "ZImagePipeline": {"text2img"},
    "LongCatImageEditPipeline": {"edit"},
    "WanPipeline": {"text2video"},
    "WanImageToVideoPipeline": {"image2video"},
    "LTXPipeline": {"text2video"},
    "LTXImageToVideoPipeline": {"image2video"},
    "StableVideoDiffusionPipeline": {"image2video"},
    "CogVideoXPipeline": {"text2video"},
    "CogVideoXImageToVideoPipeline": {"image2video"},
    "HunyuanVideoPipeline": {"text2video"},
    "AnimateDiffPipeline": {"text2video"},
    "StableAudioPipeline": {"text2audio"},
    "AudioLDM2Pipeline": {"text2audio"},
    "AceStepPipeline": {"text2audio"},
    "MarigoldDepthPipeline": set(),  # it makes depths, which composer can't write
    "KandinskyPriorPipeline": set(),
}


@pytest.mark.parametrize("name", slow_but([name for name in KINDS if name.startswith(("Flux", "Qwen", "Wan"))], KINDS))
def test_a_class_does_these_tasks(name: str):
    assert kinds_of(getattr(diffusers, name)) == KINDS[name]


@pytest.mark.parametrize(
    ("name", "siblings"),
    [
        ("QwenImagePipeline", {"QwenImageImg2ImgPipeline", "QwenImageInpaintPipeline"}),
        ("QwenImageEditPipeline", {"QwenImageEditInpaintPipeline"}),
        ("ZImageInpaintPipeline", {"ZImagePipeline", "ZImageImg2ImgPipeline"}),
        ("ChromaPipeline", {"ChromaImg2ImgPipeline"}),  # in no table of diffusers
        ("FluxKontextPipeline", {"FluxKontextInpaintPipeline"}),
        ("LTXPipeline", {"LTXImageToVideoPipeline"}),
        ("WanPipeline", {"WanVideoToVideoPipeline"}),  # not for an image: its transformer has more input channels
        ("CogVideoXPipeline", set()),
        ("Lumina2Pipeline", set()),
    ],
)
def test_siblings_have_the_same_components(name: str, siblings: set[str]):
    assert set(sibling_names(name)) == siblings
