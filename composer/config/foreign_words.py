"""Names of diffusers and related tools for what composer names otherwise, as far as no option file holds them.

`composer.config.spellings` reads these tables in addition to the option files. All names are normalized by `plain`, so
that `guidance-scale`, `guidanceScale` and `guidance_scale` are one entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


def _inverted(table: Mapping[str, str]) -> dict[str, str]:
    """Invert a table from composer's name to the names of other tools, which are separated by spaces."""
    return {word: ours for ours, words in table.items() for word in words.split()}


#: Key of composer ← keys of other tools.
KEYS = _inverted(
    {
        "steps": "numinferencesteps inferencesteps numsteps nsteps samplingsteps ddimsteps step",
        "guidance": "guidancescale cfg cfgscale truecfgscale unconditionalguidancescale",
        "guidance.rescale": "guidancerescale",
        "images": "numimagesperprompt numimages nsamples n count batchcount niter numoutputs numsamples",
        "seed": "manualseed generator randomseed noiseseed",
        "precision": "torchdtype dtype weightdtype",
        "scheduler": "sampler samplername samplingmethod samplerindex solver",
        "model": (
            "modelid pretrainedmodelnameorpath pretrainedmodel checkpoint ckpt ckptname modelpath repo repoid "
            "pipeline pipe pretrainedmodellinkorpath basemodel"
        ),
        "mask": "maskimage initmask",
        "image": "initimage inputimage imagepath initimg",
        "strength": "denoisingstrength denoise imagestrength",
        "depth": "depthmap",
        "references": "referenceimages inputimages",
        "last_image": "lastframe endimage endframe",
        "control_image": "controlimage",
        "control": "controlnet controlnetmodel controlmodel t2iadapter",
        "control.scale": "controlnetconditioningscale adapterconditioningscale controlweight controlnetscale",
        "control.start": "controlguidancestart",
        "control.end": "controlguidanceend adapterconditioningfactor",
        "control.mode": "controlmode",
        "control.preprocess": "preprocessor annotator controlnetpreprocessor",
        "frames": "numframes videolength",
        "fps": "framerate",
        "seconds": "audiolengthins audioendins audioduration duration",
        "prompt": "text caption positiveprompt positive p",
        "negative_prompt": "negative negprompt uncond negativeprompts",
        "width": "w imgwidth",
        "height": "h imgheight",
        "batch": "batchsize",
        "output.folder": "outdir outputdir outputpath savepath out o outpath",
        "output": "imageformat videoformat audioformat",
        "task": "mode pipelinetype job",
        "device": "gpu gpuid cuda todevice",
        "scheduler.eta": "eta",
        "lora": "loras loraweights lorapath loramodel loadloraweights lycoris adapter adapters adapterpath",
        "lora.scale": "lorascale loraweight loramultiplier adapterscale",
        "embedding": "embeddings textualinversion textualinversions ti learnedembeds loadtextualinversion",
        "ip_adapter": "ipadapter loadipadapter ipadapters imageprompt",
        "ip_adapter.image": "ipadapterimage",
        "ip_adapter.scale": "ipadapterscale setipadapterscale",
        "scheduler.timesteps": "timesteps",
        "scheduler.sigmas": "sigmas",
        "scheduler.use_karras_sigmas": "karras",
        "callbacks": "callback callbackonstepend",
        "model.components.vae": "vae",
        "model.components.unet": "unet",
        "model.components.transformer": "transformer",
        "model.components.text_encoder": "textencoder",
        "model.components.tokenizer": "tokenizer",
    }
)

#: Group → option of composer ← options of other tools.
VALUES = {
    "precision": _inverted(
        {
            "fp16": "float16 half 16 f16",
            "fp32": "float32 full single 32 f32 float no float64 fp64 double",
            "bf16": "bfloat16",
            "torchao_int8": "8bit int8",
            "bnb_int8": "loadin8bit",
            "bnb_nf4": "4bit nf4 int4 loadin4bit",
            "fp8": "float8 float8e4m3fn fp8e4m3fn",
        }
    ),
    "device": _inverted(
        {
            "cuda": "gpu nvidia rocm hip",
            "mps": "metal apple m1",
            "cpu": "processor",
        }
    ),
    "task": _inverted(
        {
            "text2img": "txt2img t2i texttoimage text2image textimage",
            "img2img": "i2i imagetoimage image2image",
            "inpaint": "inpainting fill",
            "outpaint": "outpainting",
            "depth2img": "depthtoimage depth2image depth",
            "variations": "variation imagevariation",
            "upscale": "superresolution upscaling latentupscale hiresfix",
            "unconditional": "unconditionalimagegeneration",
            "edit": "editing imageedit instruct",
            "control": "controlnet",
            "text2video": "txt2vid t2v texttovideo video",
            "image2video": "img2vid i2v imagetovideo",
            "text2audio": "txt2audio t2a texttoaudio audio",
        }
    ),
    "scheduler": _inverted(
        {
            "pndm": "plms",
            "unipc": "unipcbh2",
            "dpmpp_2s": "dpmpp2sancestral",
            "dpmpp_2m": "dpmsolver dpmpp dpm dpmsolverpp",
            "dpmpp_2m_karras": "karras",
            "flow_euler": "flowmatch flowmatcheuler",
        }
    ),
    "model": _inverted(
        {
            "sd15": "sd sd1 sdv15 stablediffusion stablediffusion15 stablediffusionv15 runwayml/stablediffusionv15",
            "sd15_inpaint": "runwayml/stablediffusioninpainting",
            "sd21": "sd2 stablediffusion2 stablediffusion21",
            "sdxl": "xl sdxlbase sdxl10 stablediffusionxl",
            "sd35_medium": "sd3 sd35 stablediffusion3",
            "flux_dev": "flux flux1",
            "flux_schnell": "schnell",
            "ddpm_cat": "ddpm",
        }
    ),
    "output": _inverted(
        {
            "jpeg": "jpg",
        }
    ),
    "memory": _inverted(
        {
            "model_offload": "enablemodelcpuoffload cpuoffload medvram offload",
            "sequential_offload": "enablesequentialcpuoffload lowvram",
            "group_offload": "enablegroupoffload",
            "vae_tiling": "enablevaetiling tiling",
            "vae_slicing": "enablevaeslicing",
            "attention_slicing": "enableattentionslicing",
            "xformers": "enablexformersmemoryefficientattention",
            "layerwise_casting": "enablelayerwisecasting",
        }
    ),
    "accel": _inverted(
        {
            "compile": "torchcompile",
            "fused_qkv": "fuseqkvprojections",
            "channels_last": "torchchannelslast memoryformat",
            "attention": "setattentionbackend sdpa flashattention sage",
            "taylorseer": "teacache",
            "first_block_cache": "fbcache",
            "onnx": "onnxruntime",
            "tome": "tomesd",
            "pyramid_attention_broadcast": "pab",
        }
    ),
}

_MERGED = "a checkpoint with it merged in runs as model=local model.source=…"
_ENCODERS = "prompt and negative_prompt go to all text encoders"

#: (Missing feature, alternative) → names of the feature.
_NOT_YET = {
    ("hypernetworks", _MERGED): "hypernetwork",
    ("clip_skip", "leave it out"): "clipskip",
    ("FreeU", "leave it out"): "freeu enablefreeu",
    ("prompts for single text encoders", _ENCODERS): "prompt2 negativeprompt2",
}
NOT_YET = {word: what for what, words in _NOT_YET.items() for word in words.split()}

#: Words typed as a command: generating needs none; others are flags, or commands of another name.
NO_COMMAND = (
    *_inverted({"": "generate run generate sample infer predict create make start render compose imagine paint"}),
)
COMMANDS = _inverted(
    {
        "compose --version": "version",
        "compose list model": "models",
        "compose list scheduler": "schedulers samplers",
        "compose list task": "tasks",
        "compose list": "options ls",
        "compose -m scheduler=euler,ddim": "sweep multirun",
        "compose show": "inspect describe",
        "compose check": "validate dryrun",
        "compose doctor": "env diagnose",
        "compose resume DIR": "continue",
        "compose info FILE": "metadata",
        "compose rerun FILE": "reproduce again",
        "compose --help": "usage",
        "compose plugins": "pluginlist",
        "compose train lora data=FOLDER": "training dreambooth finetune",
        "pip install PACKAGE": "install",
        "compose cache clear": "clear clean",
    }
)

#: Options of the packages in `plugins/` → the directory of the package.
PLUGINS = {
    "attention_maps": "attention-maps", "regional_prompt": "regional-prompt",
    **dict.fromkeys(("metrics_logger", "tensorboard", "mlflow", "wandb"), "metrics-logger"),
}  # fmt: skip


def not_yet(word: str) -> str:
    """Explain that a feature is missing.

    Args:
        word: A key or value of a command line.

    Returns:
        A sentence that names the feature and an alternative; empty if the word names no missing feature.
    """
    if plain(word) not in NOT_YET:
        return ""
    what, instead = NOT_YET[plain(word)]
    return f"composer has no {what} yet: {instead}."


def plain(word: str) -> str:
    """Normalize a word: remove case, dashes, dots, quotes and the module names `torch` and `diffusers`.

    Args:
        word: Any text.

    Returns:
        Lower-case letters, digits and slashes.

    Example:
        >>> plain("DPM++ 2M-Karras"), plain("torch.float16"), plain("numInferenceSteps")
        ('dpmpp2mkarras', 'float16', 'numinferencesteps')
    """
    word = word.strip(" '\"").removeprefix("torch.").removeprefix("diffusers.").lower().replace("++", "pp")
    return re.sub(r"[^a-z0-9/]", "", word)
