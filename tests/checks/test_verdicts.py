"""`compose check` and the run give the same verdict: the same exit code, and when a request is refused, the same line.

A request is a line of `REQUESTS`: words after `compose`, with sources of `sources.py` in braces, and part of the
message; None if it runs. `show` refuses in the same line.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiers import every, slow_but

CONFIG = "model.config={sd}"
#: Words, and part of the message; None for a request that runs.
FILES = [
    # folders
    ("model.source={sd}", None),
    ("model.source={fp16_unet}", "unet holds weights of the variant fp16 alone: model.variant=fp16"),
    ("model.source={fp16_unet} model.variant=fp16", None),
    ("model.source={fp16_all}", "holds weights of the variant fp16 alone: model.variant=fp16"),
    ("model.source={fp16_all} model.variant=fp16", None),
    (
        "model.source={fp16_all} model.variant=bf16",
        "model.variant=bf16: the checkpoint has no such variant (allowed: fp16)",
    ),
    ("model.source={sd} model.variant=fp16", "model.variant=fp16: the checkpoint has no variants: leave it out"),
    ("model.source={sharded}", None),
    ("model.source={shard_missing}", "diffusion_pytorch_model-00002-of-00002.safetensors is missing in unet"),
    ("model.source={misnamed}", "there is no diffusion_pytorch_model.safetensors in unet, only model.safetensors"),
    ("model.source={no_vae_weights}", "there is no .safetensors file in vae"),
    ("model.source={no_scheduler_json}", "there is no scheduler_config.json in scheduler"),
    ("model.source={no_unet_json}", "there is no config.json in unet"),
    ("model.source={no_tokenizer_json}", "there is no tokenizer_config.json in tokenizer"),
    ("model.source={no_index}", "there is no model_index.json in this folder"),
    ("model.source={index_of_a_list}", "model_index.json: can't be read: it holds no mapping"),
    (
        "model.source={modular}",
        "and StableDiffusionXLModularPipeline needs it: name each as model.components.scheduler=FOLDER",
    ),
    ("model.source={sd}/unet", "but a component alone (UNet2DConditionModel): name it as model.components.NAME=FOLDER"),
    ("model.source={settings_in_index}", None),
    ("model.source={foreign_library}", "its vae is to come from somewhere"),
    ("model.source={no_pipeline}", None),
    ("model.source={unknown_pipeline}", "diffusers has no pipeline NobodysPipeline; model.family=sd treats"),
    ("model.source={unknown_pipeline} model.family=sd", None),
    ("model.source={img2img_pipeline}", None),
    (
        "model.source={sd} model.family=flux",
        "model.family=flux: the checkpoint is none of this family (StableDiffusionPipeline)",
    ),
    ("model.source={lfs_unet}", "is a Git LFS pointer"),
    ("model.source={empty_text_encoder}", "is empty: download it again"),
    ("model.source={json_only}", "there is no .safetensors file in"),
    ("model.source={sag} steps=2", None),
    ("model.source={sd} model.family=hosted", None),
    (
        "model.source={sd} model.family=nonsense",
        "model.family=nonsense: is not known (allowed: auto, chroma, ddpm, flux",
    ),
    (
        "model.source={sd} model.config={sd}",
        "model.config={sd}: is for a single file, and sd is a folder: leave it out",
    ),
    ("model.source={no_such_class}", "can't be loaded: diffusers"),
    ("model.source={no_such_vae}", "has no NoSuchVae"),
    ("model.source={no_such_tokenizer}", "has no NoSuchTokenizer"),
    ("model.source={no_such_scheduler}", "model.components.scheduler=NoSuchScheduler: diffusers"),
    (
        "model.source={null_vae}",
        "model.components.vae: null_vae has none, and StableDiffusionPipeline needs it: name one",
    ),
    ("model.source={null_vae} model.components.vae={sd}", None),
    ("model.source={null_tokenizer}", "model.components.tokenizer: null_tokenizer has none"),
    (
        "model.source={no_vae_entry}",
        "model.components.vae: no_vae_entry has none, and StableDiffusionPipeline needs it: download it again",
    ),
    ("model.source={key_missing}", "conv_in.weight is missing in its files"),
    ("model.source={other_shapes}", "its weights are of other shapes than its config.json says"),
    ("model.source={other_hidden}", "its weights are of other shapes than its config.json says"),
    ("model.source={vae_of_sd3}", "its unet takes 4 channels and its VAE makes 16"),
    ("model.source={cut_vocabulary}", "tokenizer.json: can't be read"),
    ("model.source={cut_config}", "config.json: can't be read"),
    ("model.source={sd} model.components.unet={key_missing}", "model.components.unet="),
    (
        "model.source={sdxl} model.refiner={sdxl_refiner} steps=1",
        "model.refiner.start=0.8: leaves none of 1 iterations to the base model",
    ),
    ("model.source={sdxl} model.refiner={pointer}", "model.refiner="),
    ("model.source={sdxl} model.refiner=https://huggingface.co/a/b", "type its hub id, model.refiner=a/b"),
    ("model.source={sdcontrol} task=inpaint image=sample:scene mask=sample:mask", "task"),
    # single files
    (f"model.source={{single}} {CONFIG}", None),
    (f"model.source={{single}} {CONFIG} model.variant=fp16", "model.variant=fp16: a single file has no variants"),
    (
        f"model.source={{single}} {CONFIG} model.family=flux",
        "model.family=flux: single.safetensors is of the family sd",
    ),
    ("model.source={single} model.config={json_only}", None),
    (
        "model.source={single} model.config={flux}",
        "describes a model of the family flux, and single.safetensors is one of sd",
    ),
    ("model.source={single} model.config={single}", "model.config="),
    ("model.source={single} model.config={cut_config}", "/unet/config.json: can't be read"),
    ("model.source={single} model.config={no_scheduler_json}", "there is no scheduler_config.json in scheduler"),
    ("model.source={single}", "model.config: single.safetensors is a single file, which does not hold its scheduler"),
    (
        "model.source={single_v2}",
        "does not hold its scheduler, sizes and tokenizer, and stabilityai/stable-diffusion-2-1 can't be fetched",
    ),
    (f"model.source={{no_vae}} {CONFIG}", "model.components.vae: no_vae.safetensors holds no vae: name one"),
    (f"model.source={{no_vae}} {CONFIG} model.components.vae={{sd}}", None),
    (
        f"model.source={{no_text_encoder}} {CONFIG}",
        "model.components.text_encoder: no_text_encoder.safetensors holds no text_encoder",
    ),
    (f"model.source={{no_text_encoder}} {CONFIG} model.components.text_encoder={{sd}}", None),
    (
        f"model.source={{unet_alone}} {CONFIG}",
        "model.components.vae: unet_alone.safetensors holds no vae (nor text_encoder)",
    ),
    *(
        (f"model.source={{{name}}} {CONFIG}", "missing in its files")
        for name in ("no_unet_bias", "no_decoder_in", "no_clip_layer")
    ),
    (f"model.source={{narrow}} {CONFIG}", "its weights are of other shapes than its config.json says"),
    ("model.source={single} model.config={other_shapes}", "describes a unet of 64 channels of prompt_embeds"),
    ("model.source={single} model.config={other_hidden}", "its weights are of other shapes than its config.json says"),
    (
        f"model.source={{old_clip}} {CONFIG}",
        "model.components.text_encoder: old_clip.safetensors names its keys in an old way",
    ),
    (
        f"model.source={{single_inpaint}} {CONFIG}",
        "describes a unet of 4 input channels, and the file's has 9 (an inpainting model)",
    ),
    ("model.source={single_inpaint} model.config={sd_inpaint}", "use task=inpaint or outpaint"),
    ("model.source={single_inpaint} model.config={sd_inpaint} task=inpaint image=sample:scene mask=sample:mask", None),
    (f"model.source={{single}} {CONFIG} model.components.vae={{vae_file}}", None),
    ("model.source={sd} model.components.text_encoder={clip_file}", None),
    ("model.source={flux} model.components.text_encoder_2={t5_file}", None),
    (
        "model.source={flux} model.components.text_encoder_2={wide_t5_file}",
        "has 64 hidden states, and the text_encoder_2 that it replaces",
    ),
    (
        "model.source={flux} model.components.text_encoder_2={clip_file}",
        "holds no text_encoder_2: it is a text encoder alone",
    ),
    ("model.source={sd} model.components.vae={unet_file}", "holds no vae: it is a UNet alone"),
    ("model.source={sd} model.components.unet={unet_file}", None),
    ("model.source={sd} model.components.unet={cut}", "model.components.unet"),
    *(
        (f"model.source={{{suffix}}} {CONFIG} model.allow_pickle=true model.family=sd", None)
        for suffix in ("ckpt", "bin", "pt", "pth")
    ),
    ("model.source={ckpt}", "pickled weights can run code"),
    ("model.source={ckpt} model.allow_pickle=true", "a pickled file is not read before it is loaded: set its family"),
    # files that are something else
    (
        "model.source={flux_prefixed} model.config={flux}",
        "model.components.vae: flux_prefixed.safetensors holds no vae",
    ),
    ("model.source={chroma}", "is a single file of chroma"),
    ("model.source={wan}", "is a single file of wan"),
    ("model.source={ema_alone}", "holds EMA weights alone"),
    *((f"model.source={{{name}}}", "is a LoRA") for name in ("lora", "peft_lora", "processor_lora")),
    *((f"model.source={{{name}}}", "is an embedding") for name in ("embedding", "token")),
    ("model.source={ip_adapter}", "is an IP-Adapter"),
    ("model.source={controlnet}", "is a ControlNet"),
    (
        "model.source={vae_file}",
        "is a VAE alone: name a complete checkpoint, and this one as model.components.vae=FILE",
    ),
    ("model.source={unet_file}", "is a UNet alone"),
    ("model.source={clip_file}", "is a text encoder alone"),
    ("model.source={transformer_file}", "is a transformer alone"),
    ("model.source={longer}", "it is 512 bytes longer than its table says"),
    ("model.source={cut}", "it is cut short"),
    ("model.source={cut_in_table}", "it is cut short"),
    ("model.source={empty}", "is empty: download it again"),
    ("model.source={nulls}", "holds zeros where it should begin"),
    ("model.source={page}", "is a web page"),
    ("model.source={message}", "is a JSON text"),
    ("model.source={pointer}", "is a Git LFS pointer"),
    ("model.source={pickle}", "is a pickled file"),
    ("model.source={gguf}", "is a GGUF file"),
    ("model.source={archive}", "is a compressed archive"),
    ("model.source={cut_pickle} model.allow_pickle=true", "it is cut short"),
    ("model.source={page_ckpt} model.allow_pickle=true", "is a web page"),
    ("model.source={safe_ckpt} model.allow_pickle=true", "is a safetensors file: rename it"),
    ("model.source={image}", "a single file must be a .safetensors file"),
    ("model.source={sd} model.components.vae={pointer}", "model.components.vae={pointer}: is a Git LFS pointer"),
    ("model.source={sd} model.components.unet={empty}", "model.components.unet={empty}: is empty"),
    ("model.source={sd} model.components.vae={lfs_unet}/unet", "is a Git LFS pointer"),
    # what is pasted
    (
        "model.source=https://huggingface.co/nobody/a-model",
        "is a web address: type its hub id, model.source=nobody/a-model",
    ),
    ("model.source=https://huggingface.co/nobody/a-model/tree/main", "model.source=nobody/a-model"),
    ("model.source=huggingface.co/nobody/a-model", "model.source=nobody/a-model"),
    (
        "model.source=https://huggingface.co/nobody/a-model/blob/main/a.safetensors",
        "hf download nobody/a-model a.safetensors",
    ),
    (
        "model.source=https://huggingface.co/nobody/a-model/blob/main/a.ckpt?download=true",
        "hf download nobody/a-model a.ckpt",
    ),
    ("model.source=HTTPS://HuggingFace.co/nobody/a-model", "model.source=nobody/a-model"),
    ("model.source=https://huggingface.co/datasets/nobody/images", "is a web address: download the file"),
    ("model.source=https://example.org/a.safetensors", "is a web address: download the file"),
    ("model.source={sd} model.components.vae=https://huggingface.co/nobody/a-vae", "model.components.vae=nobody/a-vae"),
]
IMAGE, MASK, EDIT, CONTROL = (
    "task=img2img image=sample:scene",
    "task=inpaint image=sample:scene mask=sample:mask strength=1",
    "task=edit references={photo}",
    "task=control control_image=sample:scene",
)
#: Pipelines without a native family, and schedulers.
PIPELINES = [
    ("model.source={pipe_zimage} model.family=hosted", None),
    ("model.source={pipe_zimage} model.family=hosted guidance=none", None),
    ("model.source={pipe_zimage} model.family=hosted guidance=pag", "can't reach into hosted models"),
    (
        "model.source={pipe_zimage} model.family=hosted guidance=interval guidance.scale=1",
        "combines two branches, and ZImagePipeline evaluates one",
    ),
    ("model.source={pipe_zimage} model.family=hosted scheduler=flow_unipc", "UniPCMultistepScheduler can't lay out"),
    ("model.source={pipe_zimage} model.family=hosted scheduler=flow_heun", "which takes none: use scheduler=default"),
    ("model.source={pipe_zimage} model.family=hosted scheduler=flow_euler_shift", None),
    (f"model.source={{pipe_zimage}} model.family=hosted {IMAGE}", None),
    (f"model.source={{pipe_zimage}} model.family=hosted {MASK}", None),
    (
        f"model.source={{pipe_zimage}} model.family=hosted {EDIT}",
        "ZImagePipeline does not do it: use task=text2img or img2img or inpaint",
    ),
    ("model.source={pipe_qwen} model.family=hosted guidance=3", None),
    ("model.source={pipe_qwen} model.family=hosted arguments.max_sequence_length=64", None),
    (
        "model.source={pipe_qwen} model.family=hosted arguments.max_sequence_length=long",
        "arguments.max_sequence_length=long: must be an integer",
    ),
    (
        "model.source={pipe_qwen} model.family=hosted arguments.max_sequence_lenght=64",
        "there is no such setting. Did you mean max_sequence_length",
    ),
    ("model.source={pipe_qwen} model.family=hosted arguments.num_inference_steps=3", "has a key of its own: steps=3"),
    ("model.source={sd} arguments.clip_skip=1", "arguments.clip_skip=1: is for hosted pipelines"),
    ("model.source={pipe_qwen} model.family=hosted guidance=distilled", "this model takes no scale as an input"),
    (f"model.source={{pipe_qwen}} model.family=hosted {IMAGE} images=2", None),
    (f"model.source={{pipe_klein}} model.family=hosted {EDIT}", None),
    (f"model.source={{pipe_klein}} model.family=hosted {EDIT} images=2", None),
    (f"model.source={{pipe_klein}} model.family=hosted {EDIT} images=2 batch=2", None),
    (
        f"model.source={{pipe_klein}} model.family=hosted {IMAGE}",
        "Flux2KleinPipeline does not do it: use task=text2img or inpaint or edit",
    ),
    (f"model.source={{pipe_klein}} model.family=hosted {MASK}", None),
    ("model.source={pipe_klein} model.family=hosted negative_prompt=fog", "negative_prompt=fog: "),
    ("model.source={pipe_kontext} model.family=hosted task=edit references=sample:scene images=2 batch=2", "batch: "),
    ("model.source={pipe_wan} model.family=hosted", "WanPipeline does not do it: use task=text2video"),
    ("model.source={pipe_wan}", "makes clips, such as Wan or LTX-Video: use task=text2video"),
    ("model.source={pipe_wan} task=image2video", "wants a model that makes clips that begin with an image"),
    ("model.source={pipe_wan} task=text2video", None),
    ("model.source={pipe_wan_5b}", "use task=text2video, and also image2video"),
    ("model.source={pipe_wan_5b} task=image2video", None),
    (
        "model.source={pipe_wan_5b} task=image2video last_image=sample:scene",
        "takes the first frame alone: leave it out",
    ),
    ("model.source={pipe_wan_image2video} task=text2video", "use task=image2video"),
    ("model.source={pipe_wan_image2video} task=image2video images=2", None),
    (
        "model.source={pipe_wan_image2video} task=image2video last_image=sample:scene",
        "last_image=sample:scene: this model takes the first frame alone: leave it out",
    ),
    ("model.source={pipe_wan_first_last} task=image2video", "last_image: this model wants the last frame too"),
    ("model.source={pipe_wan_first_last} task=image2video last_image=sample:scene", None),
    (
        "model.source={pipe_wan_first_last} task=image2video last_image=sample:scene frames=1",
        "frames=1: must be 5 or more, with a first and a last frame",
    ),
    (
        "model.source={pipe_wan_first_last} model.family=hosted task=image2video last_image=sample:scene height=32 "
        "width=32",
        None,
    ),
    ("model.source={pipe_svd} task=image2video last_image=sample:scene", "takes no last_image"),
    ("model.source={pipe_wan_image_two_experts} task=image2video arguments.guidance_scale_2=3", None),
    ("model.source={pipe_wan_image_two_experts} task=image2video last_image=sample:scene", None),
    ("model.source={pipe_wan} task=text2video arguments.guidance_scale_2=3", "is for models with a transformer_2"),
    ("model.source={pipe_wan_two_experts} task=text2video arguments.guidance_scale_2=3", None),
    (
        "model.source={pipe_wan_two_experts} task=text2video arguments.guidance_scale_2=-1",
        "must be a number, 0 or more",
    ),
    (
        "model.source={pipe_wan_two_experts} task=text2video guidance=none arguments.guidance_scale_2=3",
        "without guidance",
    ),
    ("model.source={pipe_wan_two_experts} task=text2video arguments.other=3", "(allowed: guidance_scale_2)"),
    ("model.source={pipe_wan} task=text2video frames=6", "frames=6: "),
    (
        "model.source={pipe_ltx} task=text2video arguments.decode_timestep=0.05",
        "is for models whose vae has timestep_conditioning: leave it out",
    ),
    (
        "model.source={ltx_denoising_vae} task=text2video frames=9 steps=2 arguments.decode_timestep=0.05 "
        "arguments.decode_noise_scale=0.025",
        None,
    ),
    ("model.source={ltx_denoising_vae} task=text2video arguments.decode_timestep=2", "from 0 to 1"),
    (
        "model.source={ltx_denoising_vae} task=text2video arguments.image_cond_noise_scale=0.1",
        "(allowed: decode_noise_scale, decode_timestep)",
    ),
    ("model.source={pipe_video}", "TextToVideoSDPipeline does not do it"),
    ("model.source={pipe_chroma} model.family=hosted", None),
    ("model.source={pipe_lumina2} model.family=hosted", None),
    ("model.source={pipe_sdcontrol}", "StableDiffusionControlNetPipeline does not do it: use task=control"),
    (f"model.source={{pipe_sdcontrol}} {CONTROL}", None),
    ("model.source={pipe_fluxfill}", "takes a mask besides (an inpainting model): use task=inpaint or outpaint"),
    (f"model.source={{pipe_fluxfill}} {MASK}", None),
    ("model.source={pipe_fluxfill} task=outpaint margins=16", None),
    ("model.source={pipe_fluxfill} model.family=hosted", "FluxFillPipeline does not do it: use task=inpaint"),
    (f"model.source={{pipe_klein}} {EDIT} mask=sample:mask", None),
    (f"model.source={{pipe_kontext}} {EDIT} mask=sample:mask blur=4 keep_unmasked=false", None),
    (f"model.source={{pipe_qwen_edit}} {EDIT} mask=sample:mask invert_mask=true", None),
    (
        f"model.source={{pipe_klein}} {EDIT} blur=4",
        "blur=4: is about a mask, and there is none: add mask=FILE, or leave it out",
    ),
    (f"model.source={{pipe_klein}} {EDIT} mask=missing.png", "mask=missing.png: "),
    (
        f"model.source={{pipe_klein}} model.family=hosted {EDIT} mask=sample:mask",
        "Flux2KleinPipeline edits the image everywhere: leave it out, or use a model of the families flux and flux2",
    ),
    (
        "model.source={pipe_kontext} task=edit references=[sample:scene,sample:detail]",
        "FluxKontextPipeline looks at one image: name one, or use a model of Flux2KleinPipeline or Flux2Pipeline or "
        "Qwen",
    ),
    (
        "model.source={pipe_qwen_edit} task=edit references=[sample:scene,sample:detail]",
        "QwenImageEditPipeline looks at one image",
    ),
    ("model.source={pipe_qwen_edit_plus} task=edit references=[sample:scene,sample:detail]", None),
    ("model.source={pipe_fluxcontrol}", "FluxControlPipeline does not do it: use task=control"),
    (f"model.source={{pipe_fluxcontrol}} {CONTROL}", None),
    (f"model.source={{sd}} {EDIT}", "wants a model that edits images"),
    (f"model.source={{sd}} {CONTROL}", "wants a model that has a ControlNet"),
    ("model.source={sd} task=text2video", "wants a model that makes clips"),
    ("model.source={sd} task=text2audio", "wants a model that makes sounds"),
    ("model.source={sd} scheduler=euler scheduler.timesteps=[901,401] steps=2", None),
    (
        "model.source={sd} scheduler=ddim scheduler.timesteps=[901,401] steps=2",
        "DDIMScheduler takes no list of timesteps",
    ),
    ("model.source={sd} scheduler=lcm scheduler.timestep_spacing=trailing", "changes nothing with LCMScheduler"),
    (
        "model.source={sd} scheduler=ddim scheduler.rescale_betas_zero_snr=true scheduler.timestep_spacing=trailing",
        "is not finite",
    ),
]
REQUESTS = [
    ("model=local steps=1 height=64 width=64 callbacks=[] " + words, message) for words, message in (*FILES, *PIPELINES)
]


def kind(message: str | None) -> str | None:
    """What a refusal says, without the names in it."""
    return message and " ".join(re.sub(r"\S*[^a-z ,'-]\S*", "", message).split()[:2])


def standard() -> list[tuple[str, str | None]]:
    """The first refusal of each kind, and every sixth request that runs."""
    refused = list({kind(message): (words, message) for words, message in reversed(REQUESTS) if message}.values())
    return [*refused, *[item for item in REQUESTS if item[1] is None][::6]]


@pytest.mark.parametrize(("words", "message"), slow_but(standard(), REQUESTS))
def test_check_and_run_give_the_same_verdict(compose, sources, words, message):
    words, message = [word.format_map(sources) for word in words.split()], message and message.format_map(sources)
    checked, ran = compose("check", *words), compose(*words, "output.folder=out")
    assert (checked.code, ran.code) == ((0, 0) if message is None else (2, 2)), checked.err + ran.err
    if message is not None:
        assert message in ran.err and checked.err == ran.err and ran.err.count("\n") == 1, checked.err + ran.err
        assert not Path("out").exists()


#: Some that are refused for files, and all that are for a pipeline's class or a scheduler's.
SHOWN = [*[item for item in FILES if item[1]][::6], *[item for item in PIPELINES if item[1]]]


@pytest.mark.parametrize(("words", "message"), every(3, SHOWN))
def test_show_refuses_in_the_same_line(compose, sources, words, message):
    words = ["model=local", "steps=1", *(word.format_map(sources) for word in words.split())]
    message = message.format_map(sources)
    shown = compose("show", *words)
    assert shown.code == 2 and shown.err == compose("check", *words).err and message in shown.err, shown.err
