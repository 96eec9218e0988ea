"""Workflows of Modular Diffusers as pipeline classes: tasks, arguments, and loops in which callbacks have no
moments.
"""

from __future__ import annotations

import diffusers
import pytest

from composer.checks.modular_blocks import workflow_classes
from composer.checks.modular_loops import check_loops, loops_in
from composer.checks.pipeline_arguments import name_of
from composer.checks.pipeline_tasks import kinds_of
from composer.errors import ComposerError

#: Class of the pipeline → tasks of its workflows.
TASKS = {
    "ZImageModularPipeline": {"text2img", "img2img"},
    "QwenImageModularPipeline": {"text2img", "img2img", "inpaint", "control"},
    "QwenImageEditPlusModularPipeline": {"edit"},
    "Flux2KleinModularPipeline": {"text2img", "edit"},
    "FluxKontextModularPipeline": {"text2img", "edit"},
    "StableDiffusionXLModularPipeline": {"text2img", "img2img", "inpaint", "control"},
    "WanModularPipeline": {"text2video"},
    "LTXModularPipeline": {"text2video", "image2video"},
    "AnimaModularPipeline": {"text2img", "img2img"},
    "Flux3ModularPipeline": {"text2img", "edit"},
}
#: Class of the pipeline → what the refusal of its loop names.
OTHER_LOOPS = {
    "HeliosModularPipeline": "history_slice, noise_gen, scheduler_reset, denoise_inner, update_chunk",
    "WanAnimate2ModularPipeline": "vae_encoder, prev_frames, prepare, scheduler_reset, ref_extract, denoise_inner",
    "MiniMaxMusic3ModularPipeline": "condition, prepare_latents, set_timesteps, denoise_inner, update_chunk",
    "Cosmos3OmniModularPipeline": "prepare_vision, denoiser, update_vision",
    "EchoModularPipeline": "before_denoiser, denoiser, after_denoiser",
}


def classes(pipeline: str, embeds_scale: bool | None = None):
    return workflow_classes(pipeline, str(getattr(diffusers, pipeline).default_blocks_name), embeds_scale)


@pytest.mark.parametrize("pipeline", TASKS)
def test_workflows_do_the_tasks_of_their_inputs(pipeline):
    assert {kind for cls in classes(pipeline) for kind in kinds_of(cls)} == TASKS[pipeline]
    for cls in classes(pipeline):
        check_loops(cls)
        assert len(loops_in(cls.blocks)) == 1


@pytest.mark.parametrize("pipeline", OTHER_LOOPS)
def test_loops_of_other_blocks_are_refused_by_their_names(pipeline):
    with pytest.raises(ComposerError, match=OTHER_LOOPS[pipeline]):
        for cls in classes(pipeline):
            check_loops(cls)


@pytest.mark.parametrize(("embeds", "expected"), [(True, "guidance_scale"), (None, "guidance_scale"), (False, None)])
def test_a_scale_is_no_argument_where_the_model_takes_none(embeds, expected):
    assert {name_of("guidance.embedded", cls) for cls in classes("FluxModularPipeline", embeds)} == {expected}


def test_every_modular_pipeline_of_diffusers_is_read_or_refused():
    names = [name for name in dir(diffusers) if name.endswith("ModularPipeline") and name != "ModularPipeline"]
    assert len(names) > 30
    for name in names:
        for cls in classes(name):
            assert cls.__name__ == name and cls.call_facts.outputs, cls.workflow
            try:
                check_loops(cls)
            except ComposerError as error:
                assert error.value == name
