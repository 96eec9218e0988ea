"""What diffusers and the tools around it call otherwise: the answer names composer's spelling."""

from __future__ import annotations

import shlex

import pytest

from composer.config.catalogue import catalogue
from composer.config.foreign_words import COMMANDS, KEYS, NO_COMMAND, PLUGINS, VALUES
from composer.config.overrides import prepare
from composer.config.search_path import conf_folders, packaged_conf
from composer.config.spellings import for_flag, for_key, for_option
from composer.errors import ComposerError, suggest

#: As typed → what the answer says to type.
OPTIONS = {
    "scheduler=DPMSolverMultistepScheduler": "scheduler=dpmpp_2m, or for a flow-matching model scheduler=flow_dpmpp_2m",
    "scheduler=diffusers.EulerDiscreteScheduler": "scheduler=euler",
    "scheduler=EulerAncestralDiscreteScheduler": "scheduler=euler_a",
    "scheduler=HeunDiscrete": "scheduler=heun",
    "scheduler=FlowMatchEulerDiscreteScheduler": "scheduler=flow_euler",
    "scheduler=EDMEulerScheduler": "scheduler=edm_euler",
    "scheduler=UniPCMultistep": "scheduler=unipc",
    "scheduler=DDIM": "scheduler=ddim",
    "scheduler=DPM++ 2M Karras": "scheduler=dpmpp_2m_karras",
    "scheduler=Euler a": "scheduler=euler_a",
    "scheduler=k_euler_ancestral": "scheduler=euler_a",
    "scheduler=uni_pc": "scheduler=unipc",
    "scheduler=plms": "scheduler=pndm",
    "scheduler=VQDiffusionScheduler": "`_target_: diffusers.VQDiffusionScheduler`",
    "scheduler=fp16": "precision=fp16",
    "model=stabilityai/stable-diffusion-xl-base-1.0": "model=sdxl",
    "model=stable-diffusion-v1-5": "model=sd15",
    "model=stable-diffusion-v1-5/stable-diffusion-v1-5": "model=sd15",
    "model=runwayml/stable-diffusion-v1-5": "model=sd15",
    "model=stabilityai/stable-diffusion-2-1": "model=sd21",
    "model=black-forest-labs/FLUX.1-dev": "model=flux_dev",
    "model=FLUX.1-schnell": "model=flux_schnell",
    "model=google/ddpm-cat-256": "model=ddpm_cat",
    "model=StableDiffusionXLPipeline": "model=sdxl",
    "model=StableDiffusion3Pipeline": "model=sd35_medium",
    "model=sd1.5": "model=sd15",
    "model=dreamlike-art/dreamlike-photoreal-2.0": "model=local model.source=dreamlike-art/dreamlike-photoreal-2.0",
    "model=https://huggingface.co/stabilityai/sdxl-turbo": "model=sdxl_turbo",
    "model=./mine.safetensors": "model=local model.source=./mine.safetensors",
    "precision=float16": "precision=fp16",
    "precision=torch.bfloat16": "precision=bf16",
    "precision=half": "precision=fp16",
    "precision=fp64": "precision=fp32",
    "precision=nf4": "precision=bnb_nf4",
    "device=gpu": "device=cuda",
    "device=metal": "device=mps",
    "device=0": "device=cuda:0",
    "device=gpu:1": "device=cuda:1",
    "task=txt2img": "task=text2img",
    "task=text-to-image": "task=text2img",
    "task=inpainting": "task=inpaint",
    "task=StableDiffusionPipeline": "task=text2img",
    "task=StableDiffusionInpaintPipeline": "task=inpaint",
    "task=AutoPipelineForImage2Image": "task=img2img",
    "task=StableDiffusionDepth2ImgPipeline": "task=depth2img",
    "memory=deepcache": "accel=[deepcache]",
    "memory=enable_model_cpu_offload": "memory=[model_offload]",
    "memory=compile": "accel=[compile]",
    "accel=vae_tiling": "memory=[vae_tiling]",
    "accel=enable_xformers_memory_efficient_attention": "memory=[xformers]",
    "accel=torch.compile": "accel=[compile]",
    "accel=nan_guard": "callbacks=[progress,nan_guard]",
    "callbacks=vae_slicing": "memory=[vae_slicing]",
    "callbacks=attention_maps": "pip install ./plugins/attention-maps",
    "callbacks=metrics_logger": "pip install ./plugins/metrics-logger",
    "callbacks=tensorboard": "pip install ./plugins/metrics-logger",
    "output=jpg": "output=jpeg",
    "output=mine/out.png": "output.folder=mine/out.png",
}
SETTINGS = {
    "num_inference_steps=20": "steps=20",
    "num-inference-steps=20": "steps=20",
    "guidance_scale=7.5": "guidance=7.5",
    "cfg_scale=7": "guidance=7",
    "num_images_per_prompt=4": "images=4",
    "generator=42": "seed=42",
    "manual_seed=42": "seed=42",
    "torch_dtype=torch.float16": "precision=fp16",
    "sampler=Euler a": "scheduler=euler_a",
    "model_id=stabilityai/stable-diffusion-xl-base-1.0": "model=sdxl",
    "pretrained_model_name_or_path=a/b": "model=local model.source=a/b",
    "mask_image=m.png": "mask=m.png",
    "init_image=a.png": "image=a.png",
    "denoising_strength=0.5": "strength=0.5",
    "negativePrompt=fog": "negative_prompt=fog",
    "W=512": "width=512",
    "size=640x512": "width=640 height=512",
    "batch_size=4": "batch=4",
    "output_dir=mine": "output.folder=mine",
    "gpu=1": "device=cuda:1",
    "vae=stabilityai/sd-vae-ft-mse": "model.components.vae=stabilityai/sd-vae-ft-mse",
    "use_karras_sigmas=true": "scheduler.use_karras_sigmas=true",
    "quality=90": "output.quality=90",
    "guidance_rescale=0.7": "guidance=cfg guidance.rescale=0.7",
    "deepcache=true": "accel=[deepcache]",
    "callback=[progress]": "Type callbacks=[progress].",
    "enable_vae_tiling=true": "memory=[vae_tiling]",
    "Steps=3": "steps=3",
    "scheduler.num_inference_steps=3": "steps=3",
    "lora_weights=f.safetensors": "lora=f.safetensors",
    "lora_scale=0.5": "lora.scale=0.5",
    "textual_inversion=f.bin": "embedding=f.bin",
    "controlnet=owner/canny": "control=owner/canny",
    "controlnet_conditioning_scale=0.5": "control.scale=0.5",
    "hypernetwork=x": "composer has no hypernetworks yet",
    "model.lora_weights=f.safetensors": "lora=f.safetensors",
    "timesteps=[999,500]": 'scheduler.timesteps="[999,500]"',
    "sigmas=[14,1]": 'scheduler.sigmas="[14,1]"',
    "ip_adapter_image=a.png": "ip_adapter.image=a.png",
    "mlflow=true": "pip install ./plugins/metrics-logger",
    "report_to=wandb": "pip install ./plugins/metrics-logger",
}
FLAGS = {
    "--steps 20": "steps=20",
    "--steps=20": "steps=20",
    "--prompt 'a cat'": 'prompt="a cat"',
    "--num-inference-steps 20": "steps=20",
    "--n_samples 4": "images=4",
    "--W=512": "width=512",
    "--fp16": "precision=fp16",
    "--xformers": "memory=[xformers]",
    "--medvram": "memory=[model_offload]",
    "--model sdxl": "model=sdxl",
    "--device gpu": "device=cuda",
    "--lora x.safetensors": "lora=x.safetensors",
}
WORDS = {
    "steps 20": "steps=20",
    "steps 20 seed 3": "steps=20 seed=3",
    "num_inference_steps 20": "steps=20",
    "'a cat'": 'prompt="a cat"',
    "a cat on a mat": 'prompt="a cat on a mat"',
    "prompt=a cat on a mat": 'prompt="a cat on a mat"',
    "prompt a cat on a mat": 'prompt="a cat on a mat"',
    "steps=3 'a cat'": 'prompt="a cat"',
    "version": "compose --version",
    "generate": "compose prompt=",
    "generate a cat": 'compose prompt="a cat"',
    "run scheduler=euler steps=3": "compose scheduler=euler steps=3",
    "models": "compose list model",
    "steps=3 list": "compose list",
    "img2img": "task=img2img",
    "euler": "scheduler=euler",
    "fp16": "precision=fp16",
    "deepcache": "accel=[deepcache]",
    "a.png": "task=img2img image=a.png",
    "sd.safetensors": "model=local model.source=sd.safetensors",
    "hypernetwork": "composer has no hypernetworks yet",
}


@pytest.mark.parametrize("word", OPTIONS)
def test_an_option_of_elsewhere_leads_here(word):
    advice = for_option(*word.split("=", 1))
    assert OPTIONS[word] in advice and advice.endswith(".")


@pytest.mark.parametrize("word", SETTINGS)
def test_a_key_of_elsewhere_leads_here(word):
    assert SETTINGS[word] in for_key(*word.split("=", 1))


@pytest.mark.parametrize("line", FLAGS)
def test_a_flag_of_elsewhere_leads_here(line):
    word, *after = shlex.split(line)
    assert FLAGS[line] in for_flag(word, after[0] if after else None)


@pytest.mark.parametrize("line", WORDS)
def test_words_that_are_no_setting_lead_to_one(line):
    with pytest.raises(ComposerError) as error:
        prepare(shlex.split(line))
    assert WORDS[line] in str(error.value) and "is no command and no key=value" in str(error.value)


#: One of each kind through the complete command line, single and swept.
TYPED = [
    *(
        "scheduler=DPMSolverMultistepScheduler",
        "memory=[deepcache]",
        "precision=float16",
        "num_inference_steps=20",
        "lora_weights=f.safetensors",
    ),
    *(
        "check num_inference_steps=20",
        "--steps 20",
        "steps 20",
        "'a cat'",
        "generate a cat",
        "version",
        "show task=txt2img",
    ),
    *("plan -m steps=1,2 'a cat'", "model=stable-diffusion-v1-5"),
]


@pytest.mark.parametrize("line", TYPED)
def test_the_command_says_it_in_one_line(compose, tmp_path, line):
    words = shlex.split(line)
    done = compose(*words)
    known = {**OPTIONS, **SETTINGS, **FLAGS, **WORDS, "memory=[deepcache]": OPTIONS["memory=deepcache"]}
    expected = next(message for typed, message in known.items() if typed in line or shlex.split(typed) == words)
    assert done.code == 2 and expected in done.err and done.err.count("\n") == 1 and done.err.startswith("compose: ")
    assert not done.out and not list(tmp_path.iterdir())


def test_a_key_of_elsewhere_added_with_plus(compose):
    assert "Did you mean steps?" in compose("+num_inference_steps=3").err
    assert "composer has no hypernetworks yet" in compose("+hypernetwork=f.safetensors").err
    assert "this task does not take it. (allowed" in compose("+nothing_like_it=3").err


def test_an_option_of_a_plugin_that_is_left_out_says_so(monkeypatch, tmp_path):
    from composer.config import plugins, spellings

    (tmp_path / "callbacks").mkdir()
    (tmp_path / "callbacks" / "glow.yaml").write_text("glow: {}\n")
    plugin = plugins.Plugin("glow", "composer-glow", "1.0", "composer_glow", tmp_path)
    monkeypatch.setattr(plugins, "everything", lambda: (plugin,))
    monkeypatch.setattr(spellings, "everything", lambda: (plugin,))
    monkeypatch.setenv("COMPOSER_PLUGINS", "")
    assert "It comes with composer-glow 1.0, which COMPOSER_PLUGINS leaves out." in for_option(
        "callbacks", "glow", conf_folders()
    )


def test_what_an_installed_plugin_does_is_not_called_missing(tmp_path):
    (tmp_path / "callbacks").mkdir()
    (tmp_path / "callbacks" / "metrics_logger.yaml").write_text("metrics_logger: {}\n")
    folders = [*conf_folders(), tmp_path]
    for advice in (for_option("callbacks", "mlflow", folders), for_key("report_to", "tensorboard", folders)):
        assert advice == "Type callbacks=[progress,metrics_logger]."


def test_the_tables_name_only_what_there_is():
    known = catalogue(conf_folders())
    for group, table in VALUES.items():
        assert set(table.values()) <= set(known[group]), group
    assert {target.split(".")[0] for target in KEYS.values()} <= {
        *known, "steps", "images", "seed", "mask", "image", "strength", "depth", "prompt", "negative_prompt", "width",
        "height", "batch", "lora", "embedding", "control", "ip_adapter", "references", "last_image",
        "control_image", "control_scale", "frames", "fps", "seconds",
    }  # fmt: skip
    assert not set(NO_COMMAND) & set(COMMANDS)


def test_every_class_of_an_option_leads_to_one():
    known = catalogue([packaged_conf()])
    for name, content in known["scheduler"].items():
        if content["_target_"]:
            cls = content["_target_"].rpartition(".")[2]
            first = for_option("scheduler", cls).split()[1].rstrip(".,")
            assert known["scheduler"][first.partition("=")[2]]["_target_"] == content["_target_"], name


def test_every_source_of_a_model_leads_to_it():
    for name, content in catalogue([packaged_conf()])["model"].items():
        if "/" in content["source"]:
            assert for_option("model", content["source"]) == f"Type model={name}."


def test_the_plugins_that_are_named_are_in_the_source_folder():
    folder = packaged_conf().parent / "plugins"
    for name in PLUGINS.values():
        option = name.replace("-", "_")
        assert (folder / name / f"composer_{option}" / "conf" / "callbacks" / f"{option}.yaml").is_file()


def test_a_suggestion_names_each_word_once():
    assert suggest("tasks", ["task", "task", "mask"]).count("task") == 1
