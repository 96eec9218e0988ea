"""Private names of diffusers, transformers and accelerate exist and do what composer needs; each new version is held
against this first.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import diffusers
import original_layout
import pytest
import torch
from diffusers.hooks.first_block_cache import FirstBlockCacheConfig, apply_first_block_cache
from diffusers.hooks.hooks import HookRegistry
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from safetensors.torch import load_file

import composer
from composer.compat import (
    accelerator,
    annotations,
    attention,
    attributes,
    guiders,
    hooks,
    lora,
    pipeline_functions,
    weights,
)
from composer.testing import pipelines

ROOT = Path(composer.__file__).parent


@pytest.fixture(scope="module")
def flux():
    return pipelines.flux()


@pytest.fixture(scope="module")
def sd():
    return pipelines.sd()


def imported_names():
    """Module and name of all that composer imports from inside of diffusers, at import time or later."""
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("diffusers."):
                yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize(("module", "name"), sorted(set(imported_names())))
def test_imported_names_exist_and_are_the_public_ones(module, name):
    imported = getattr(import_module(module), name)
    assert imported is getattr(diffusers, name, imported)


def test_accelerate_can_be_started_with_another_dtype_in_one_process():
    from accelerate import Accelerator

    for mixed in ("bf16", "no"):
        with accelerator.accelerator_state():
            assert Accelerator(mixed_precision=mixed, cpu=True).mixed_precision == mixed


def test_registries_are_found_reset_and_deleted(flux):
    model = flux.transformer
    before = {id(module): dict(vars(module)) for module in model.modules()}
    assert hooks.registry_of(model) is None and hooks.hooks_of(model) == []
    apply_first_block_cache(model, FirstBlockCacheConfig(threshold=0.1))
    hooked = [module for module in model.modules() if hooks.hooks_of(module)]
    assert hooked
    hooks.set_cache_context(model, "one")
    registry = hooks.registry_of(model)
    assert isinstance(registry, HookRegistry) and registry._child_registries_cache
    hooks.forget_child_registries(registry)
    assert registry._child_registries_cache is None
    for module in hooked:
        for name in list(hooks.registry_of(module).hooks):
            hooks.registry_of(module).remove_hook(name, recurse=False)
    hooks.delete_empty_registries(model)
    for module in hooked:  # diffusers leaves the class's forward on the instance; accel.states removes it
        vars(module).pop("forward", None)
    assert {id(module): dict(vars(module)) for module in model.modules()} == before


def test_cache_contexts_have_states_of_their_own(flux):
    model = pipelines.flux().transformer
    apply_first_block_cache(model, FirstBlockCacheConfig(threshold=0.1))
    states = {}
    for name in ("one", "two", "one"):
        hooks.set_cache_context(model, name)
        manager = next(
            hook.state_manager for module in model.modules() for hook in hooks.hooks_of(module) if hasattr(hook,
                "state_manager")
        )  # fmt: skip
        state = manager.get_state()
        assert states.setdefault(name, state) is state
    assert states["one"] is not states["two"]


def test_group_offloading_is_removed():
    model = pipelines.sd().unet
    names = {name for name, _ in model.named_modules()}
    model.enable_group_offload(
        onload_device=torch.device("cpu"), offload_device=torch.device("cpu"), offload_type="leaf_level"
    )
    assert any(hooks.hooks_of(module) for module in model.modules())
    hooks.remove_group_offloading(model)
    assert not any(hooks.registry_of(module) for module in model.modules())
    assert {name for name, _ in model.named_modules()} == names


def test_attention_backends_of_one_model(flux):
    assert {"native", "_native_math", "flex"} <= set(attention.backend_names())
    assert attention.is_available("_native_math")
    with pytest.raises(ValueError):
        attention.is_available("no_such_backend")
    processor, other = (pipe.transformer.transformer_blocks[0].attn.processor for pipe in (flux, pipelines.flux()))
    assert attention.is_dispatched(processor) and not attention.is_dispatched(AttnProcessor())
    assert not attention.is_dispatched(None)
    before = attention.backend_of(processor)
    attention.set_backend(processor, "_native_math")
    assert attention.backend_of(processor) == "_native_math" and attention.backend_of(other) == before
    attention.set_backend(processor, before)
    assert attention.backend_of(processor) == before


def test_packages_that_are_not_installed_are_noticed():
    missing = [name for name in attention.backend_names() if not attention.is_available(name)]
    assert "sage" in missing or "flash" in missing  # packages for GPUs


def test_attributes_of_pipelines(sd):
    assert attributes.execution_device(sd) == torch.device("cpu")
    required, optional = attributes.component_names(type(sd))
    assert {"vae", "unet", "scheduler", "tokenizer"} <= required and "safety_checker" in optional


def test_a_class_whose_package_is_missing_has_no_component_names():
    from diffusers.utils import dummy_torch_and_transformers_objects as placeholders

    assert attributes.component_names(placeholders.StableDiffusionPipeline) is None


def test_an_interrupted_pipeline_leaves_out_its_steps(sd):
    seen = []

    def stop(pipe, index, timestep, tensors):
        seen.append(index)
        attributes.interrupt(pipe)
        return tensors

    sd.set_progress_bar_config(disable=True)
    sd("a", num_inference_steps=3, height=16, width=16, output_type="latent", callback_on_step_end=stop)
    assert seen == [0]


def test_repeated_blocks_are_named():
    assert "FluxTransformerBlock" in attributes.repeated_blocks(FluxTransformer2DModel)
    assert attributes.repeated_blocks(AutoencoderKL) == attributes.repeated_blocks(None) == ()


def test_config_of_a_model_made_without_its_constructor():
    model = UNet2DConditionModel.__new__(UNet2DConditionModel)
    torch.nn.Module.__init__(model)
    attributes.set_config(model, {"in_channels": 9})
    assert model.config.in_channels == 9


def test_noise_is_added_at_the_index_that_is_set():
    scheduler = EulerDiscreteScheduler()
    scheduler.set_timesteps(4)
    clean, noise = torch.zeros(1), torch.ones(1)
    scheduler.set_begin_index(0)
    for index in (1, 3):
        with attributes.at_step_index(scheduler, index):
            assert scheduler.step_index == index
            assert scheduler.add_noise(clean, noise, scheduler.timesteps[:1]) == scheduler.sigmas[index]
        assert scheduler.step_index is None
    with attributes.at_step_index(object(), 1):
        pass


def test_functions_of_pipelines(flux):
    latents = torch.randn(2, 4, 8, 6)
    packed = pipeline_functions.pack_flux(flux, latents)
    assert packed.shape == (2, 12, 16)
    side = 2 * flux.vae_scale_factor
    assert torch.equal(pipeline_functions.unpack_flux(flux, packed, 4 * side, 3 * side), latents)
    assert pipeline_functions.flux_image_ids(flux, 2, 4, 3, "cpu", torch.float32).shape == (12, 3)
    assert pipeline_functions.flux_shift(4096, {}) == pytest.approx(1.15)
    assert pipeline_functions.sd3_shift(4096, {}) == pytest.approx(1.16)
    assert pipeline_functions.flux_shift(4096, {"max_shift": 2.0}) == pytest.approx(2.0)


def test_latents_are_sampled_by_the_generator(sd):
    distribution = annotations.latent_distribution(sd.vae, torch.zeros(1, 3, 16, 16))
    first, second = (
        pipeline_functions.sample_latents(sd.vae.encode(torch.zeros(1, 3, 16, 16)), torch.Generator().manual_seed(0))
        for _ in range(2)
    )
    assert torch.equal(first, second)
    assert torch.equal(first, distribution.sample(torch.Generator().manual_seed(0)))


def test_models_are_created_without_weights(sd):
    state = torch.get_rng_state()
    with weights.without_weights():
        models = UNet2DConditionModel.from_config(sd.unet.config), type(sd.text_encoder)(sd.text_encoder.config)
    assert torch.equal(torch.get_rng_state(), state)
    for model in models:
        assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
        assert {buffer.device.type for buffer in model.buffers()} <= {"cpu"}


def test_one_component_of_a_single_file(sd, tmp_path):
    """In the layout of its authors, by the shapes alone, as composer.loading.rehearsal does."""
    file = original_layout.save(sd, tmp_path / "model.safetensors")
    sd.save_pretrained(tmp_path / "config")
    tensors = {key: torch.zeros(()).expand(tensor.shape) for key, tensor in load_file(file).items()}
    config = str(tmp_path / "config")
    model = weights.single_file_component("diffusers", "AutoencoderKL", "vae", tensors, config, torch.float32)
    shapes = {name: tensor.shape for name, tensor in sd.vae.state_dict().items()}
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == shapes


@pytest.mark.parametrize("guider", [guiders.Smoothed, guiders.Skipping])
def test_guiders_count_their_forwards(guider, sd):
    keyword = {"Smoothed": "seg_guidance_config", "Skipping": "skip_layer_config"}[guider.__name__]
    config = {"indices": [0], "fqn": "mid_block.attentions.0.transformer_blocks"}
    bound = guider(**{keyword: config, "start": 0.0, "stop": 1.0})
    bound.set_state(step=1, num_inference_steps=4, timestep=torch.tensor(1))
    bound.prepare_inputs({})
    assert bound._count_prepared == 0
    bound.prepare_models(sd.unet)
    bound.cleanup_models(sd.unet)
    assert bound._count_prepared == 1


def test_pipelines_name_the_models_that_they_load_lora_for(sd, flux):
    assert lora.loadable_components(sd) == ("unet", "text_encoder")
    assert lora.loadable_components(flux) == ("transformer", "text_encoder")
    assert lora.loadable_components(diffusers.DDPMPipeline) == ()
