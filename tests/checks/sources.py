"""Checkpoints and files to ask for, good and bad: each is made once a session, when a request first names it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import original_layout
import torch
import zoo
from diffusers import ControlNetModel, FluxKontextPipeline, StableDiffusionControlNetPipeline
from safetensors.torch import load_file, save_file
from zoo.ltx import ltx

from composer.checkpoints.single_file_keys import UNET_INPUT, known_keys
from composer.testing import pipelines

UNET, VAE, TEXT = (
    Path(name) for name in ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model")
)
ROTATED = "double_blocks.0.img_attn.norm.key_norm.scale"


class Sources(dict):
    """Name → location; `checkpoints` are the tiny ones of all families, under their own names."""

    def __init__(self, checkpoints: dict[str, Path], root: Path) -> None:
        super().__init__(checkpoints)
        self.root = root

    def __missing__(self, name: str) -> Path:
        self[name] = MAKERS[name](self, self.root / name)
        return self[name]

    def keys_of(self, name: str = "single") -> dict[str, torch.Tensor]:
        return load_file(self[name])


def copy(damage: Callable[[Path], object], family: str = "sd") -> Callable[[Sources, Path], Path]:
    """A checkpoint of a family with something done to it."""

    def make(sources: Sources, location: Path) -> Path:
        shutil.copytree(sources[family], location)
        damage(location)
        return location

    return make


def pipeline(make: Callable[[], object]) -> Callable[[Sources, Path], Path]:
    def saved(sources: Sources, location: Path) -> Path:
        make().save_pretrained(location)
        return location

    return saved


def file(
    tensors: Callable[[Sources], dict[str, torch.Tensor]], suffix: str = ".safetensors"
) -> Callable[[Sources, Path], Path]:
    """A file of tensors, saved as its suffix says."""

    def make(sources: Sources, location: Path) -> Path:
        location, results = (
            location.with_suffix(suffix),
            {key: tensor.contiguous() for key, tensor in tensors(sources).items()},
        )
        save_file(results, location) if suffix == ".safetensors" else torch.save({"state_dict": results}, location)
        return location

    return make


def data(content: Callable[[Sources], bytes], suffix: str = ".safetensors") -> Callable[[Sources, Path], Path]:
    def make(sources: Sources, location: Path) -> Path:
        location.with_suffix(suffix).write_bytes(content(sources))
        return location.with_suffix(suffix)

    return make


def moved(old: str, new: str) -> Callable[[Path], object]:
    return lambda folder: (folder / old).rename(folder / new)


def as_variant(*parts: Path) -> Callable[[Path], object]:
    """Call the weights of some components as fp16 files are called."""
    return lambda folder: [
        (folder / f"{part}.safetensors").rename(folder / f"{part}.fp16.safetensors") for part in parts
    ]


def edited(path: str, **more: object) -> Callable[[Path], object]:
    """A json file with other values; None takes a key away."""

    def damage(folder: Path) -> None:
        result = {**json.loads((folder / path).read_text()), **more}
        (folder / path).write_text(json.dumps({key: value for key, value in result.items() if value is not ...}))

    return damage


def in_shards(folder: Path) -> None:
    """The UNet's weights in two files with an index, as large models are saved."""
    complete = folder / f"{UNET}.safetensors"
    tensors = load_file(complete)
    names = sorted(tensors)
    halves = {f"{UNET.name}-0000{n}-of-00002.safetensors": half for n, half in enumerate((names[::2], names[1::2]), 1)}
    for name, half in halves.items():
        save_file({key: tensors[key] for key in half}, complete.parent / name, {"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": {key: name for name, half in halves.items() for key in half}}
    (folder / f"{UNET}.safetensors.index.json").write_text(json.dumps(index))
    complete.unlink()


def a_shard_less(folder: Path) -> None:
    in_shards(folder)
    (folder / f"{UNET}-00002-of-00002.safetensors").unlink()


def without_key(part: str, name: str) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        file = next((folder / part).glob("*.safetensors"))
        save_file({key: tensor for key, tensor in load_file(file).items() if key != name}, file, {"format": "pt"})

    return damage


def cut_in_half(path: str) -> Callable[[Path], object]:
    return lambda folder: (folder / path).write_bytes(
        (folder / path).read_bytes()[: (folder / path).stat().st_size // 2]
    )


def modular(sources: Sources, location: Path) -> Path:
    location.mkdir()
    (location / "modular_model_index.json").write_text('{"_class_name": "StableDiffusionXLModularPipeline"}')
    return location


def without(*starts: str) -> Callable[[Sources], dict[str, torch.Tensor]]:
    return lambda sources: {key: tensor for key, tensor in sources.keys_of().items() if not key.startswith(starts)}


def respelt(old: str, new: str) -> Callable[[Sources], dict[str, torch.Tensor]]:
    return lambda sources: {key.replace(old, new): tensor for key, tensor in sources.keys_of().items()}


def single(make: Callable[[], object]) -> Callable[[Sources, Path], Path]:
    return lambda sources, location: original_layout.save(make(), location.with_suffix(".safetensors"))


def controlled() -> object:
    base = pipelines.sd()
    parts = base.components | {"controlnet": ControlNetModel.from_unet(base.unet)}
    return StableDiffusionControlNetPipeline(**parts, requires_safety_checker=False)


def zeros(*keys: str, shape: tuple[int, ...] = (4, 4)) -> Callable[[Sources], dict[str, torch.Tensor]]:
    return lambda sources: {key: torch.zeros(shape) for key in keys}


def photo(sources: Sources, location: Path) -> Path:
    """An image of 64 x 64 pixels."""
    file = location.with_suffix(".png")
    zoo.inputs.photo()().save(file)
    return file


MAKERS: dict[str, Callable[[Sources, Path], Path]] = {
    # folders
    "fp16_unet": copy(as_variant(UNET)),
    "fp16_all": copy(as_variant(UNET, VAE, TEXT)),
    "sharded": copy(in_shards),
    "shard_missing": copy(a_shard_less),
    "misnamed": copy(moved(f"{UNET}.safetensors", "unet/model.safetensors")),
    "no_vae_weights": copy(lambda folder: (folder / f"{VAE}.safetensors").unlink()),
    "no_scheduler_json": copy(moved("scheduler/scheduler_config.json", "scheduler/config.json")),
    "no_unet_json": copy(lambda folder: (folder / "unet/config.json").unlink()),
    "no_tokenizer_json": copy(lambda folder: (folder / "tokenizer/tokenizer_config.json").unlink()),
    "no_index": copy(lambda folder: (folder / "model_index.json").unlink()),
    "index_of_a_list": copy(lambda folder: (folder / "model_index.json").write_text("[]")),
    "settings_in_index": copy(
        edited("model_index.json", ramping_coefficients=[0.0, 0.2, 0.5], pair=[0.5, 1.0], name=None)
    ),
    "foreign_library": copy(edited("model_index.json", vae=["somewhere", "AutoencoderKL"])),
    "sag": copy(edited("model_index.json", _class_name="StableDiffusionSAGPipeline")),
    "no_pipeline": copy(edited("model_index.json", _class_name=...)),
    "unknown_pipeline": copy(edited("model_index.json", _class_name="NobodysPipeline")),
    "img2img_pipeline": copy(edited("model_index.json", _class_name="StableDiffusionImg2ImgPipeline")),
    "lfs_unet": copy(lambda folder: (folder / f"{UNET}.safetensors").write_bytes(POINTER)),
    "empty_text_encoder": copy(lambda folder: (folder / f"{TEXT}.safetensors").write_bytes(b"")),
    "json_only": copy(lambda folder: [weights.unlink() for weights in folder.rglob("*.safetensors")]),
    "no_such_class": copy(
        edited("model_index.json", unet=["diffusers", "NoSuchModel"], _class_name="StableDiffusionPipeline")
    ),
    "no_such_vae": copy(edited("model_index.json", vae=["diffusers", "NoSuchVae"])),
    "no_such_tokenizer": copy(edited("model_index.json", tokenizer=["transformers", "NoSuchTokenizer"])),
    "no_such_scheduler": copy(edited("model_index.json", scheduler=["diffusers", "NoSuchScheduler"])),
    "null_vae": copy(edited("model_index.json", vae=[None, None])),
    "null_tokenizer": copy(edited("model_index.json", tokenizer=[None, None])),
    "no_vae_entry": copy(edited("model_index.json", vae=...)),
    "key_missing": copy(without_key("unet", "conv_in.weight")),
    "other_shapes": copy(edited("unet/config.json", cross_attention_dim=64)),
    "other_hidden": copy(edited("text_encoder/config.json", hidden_size=48)),
    "vae_of_sd3": copy(edited("vae/config.json", latent_channels=16)),
    "cut_vocabulary": copy(cut_in_half("tokenizer/tokenizer.json")),
    "cut_config": copy(cut_in_half("unet/config.json")),
    "modular": modular,
    "kontext": pipeline(lambda: FluxKontextPipeline(**pipelines.flux().components)),
    "sdcontrol": pipeline(controlled),
    # single files
    "single": single(pipelines.sd),
    "single_v2": file(zeros(UNET_INPUT, *known_keys()["v2"], shape=(640, 1024))),
    "single_inpaint": single(lambda: pipelines.sd(in_channels=9)),
    "no_vae": file(without("first_stage_model.")),
    "no_text_encoder": file(without("cond_stage_model.")),
    "no_unet_bias": file(without("model.diffusion_model.input_blocks.0.0.bias")),
    "no_decoder_in": file(without("first_stage_model.decoder.conv_in")),
    "no_clip_layer": file(without("cond_stage_model.transformer.text_model.encoder.layers.0.")),
    "narrow": file(
        lambda sources: {**sources.keys_of(), "model.diffusion_model.out.2.weight": torch.zeros(4, 8, 3, 3)}
    ),
    "old_clip": file(respelt("cond_stage_model.transformer.text_model.", "cond_stage_model.transformer.")),
    "unet_alone": file(without("first_stage_model.", "cond_stage_model.")),
    "ema_alone": file(
        lambda sources: {f"model_ema.{key.replace('.', '')}": value for key, value in sources.keys_of().items()}
    ),
    "flux_prefixed": file(zeros(f"model.diffusion_model.{ROTATED}")),
    "chroma": file(zeros("distilled_guidance_layer.in_proj.bias", ROTATED)),
    "wan": file(zeros("head.modulation", "blocks.0.self_attn.q.weight")),
    **{suffix[1:]: file(lambda sources: sources.keys_of(), suffix) for suffix in (".ckpt", ".bin", ".pt", ".pth")},
    # files that are something else
    "lora": file(zeros("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight")),
    "processor_lora": file(zeros("unet.mid_block.attentions.0.attn1.processor.to_q_lora.down.weight")),
    "peft_lora": file(zeros("unet.down_blocks.0.attentions.0.to_q.lora_A.weight")),
    "embedding": file(zeros("emb_params")),
    "token": file(zeros("<a-cat>", shape=(32,))),
    "ip_adapter": file(zeros("image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight")),
    "controlnet": file(zeros("control_model.time_embed.0.weight", "control_model.input_blocks.0.0.weight")),
    "vae_file": file(lambda sources: load_file(sources["sd"] / f"{VAE}.safetensors")),
    "unet_file": file(lambda sources: load_file(sources["sd"] / f"{UNET}.safetensors")),
    "clip_file": file(lambda sources: load_file(sources["sd"] / f"{TEXT}.safetensors")),
    "t5_file": file(lambda sources: load_file(sources["flux"] / "text_encoder_2/model.safetensors")),
    "wide_t5_file": file(lambda sources: load_file(sources["sd3"] / "text_encoder_3/model.safetensors")),
    "transformer_file": file(
        lambda sources: load_file(sources["flux"] / "transformer/diffusion_pytorch_model.safetensors")
    ),
    "longer": data(lambda sources: sources["single"].read_bytes() + b"\0" * 512),
    "cut": data(lambda sources: sources["single"].read_bytes()[:-1000]),
    "cut_in_table": data(lambda sources: sources["single"].read_bytes()[:400]),
    "empty": data(lambda sources: b""),
    "nulls": data(lambda sources: b"\0" * 4096),
    "page": data(lambda sources: b"<!DOCTYPE html><html><head><title>Sign in</title>"),
    "message": data(lambda sources: b'{"error": "Access to this model is restricted"}'),
    "pointer": data(lambda sources: POINTER),
    "pickle": data(lambda sources: sources["ckpt"].read_bytes()),
    "gguf": data(lambda sources: b"GGUF\x03\0\0\0" + b"\0" * 64),
    "archive": data(lambda sources: b"\x1f\x8b\x08" + b"\0" * 64),
    "cut_pickle": data(lambda sources: sources["ckpt"].read_bytes()[:-2000], ".ckpt"),
    "page_ckpt": data(lambda sources: b"<html>", ".ckpt"),
    "safe_ckpt": data(lambda sources: sources["single"].read_bytes(), ".ckpt"),
    "photo": photo,
    "image": data(lambda sources: b"\x89PNG\r\n\x1a\n" + b"\0" * 64, ".png"),
}
MAKERS["ltx_denoising_vae"] = pipeline(lambda: ltx(timestep_conditioning=True))
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 4265380512\n"
MAKERS |= {f"pipe_{name}": lambda sources, location, name=name: zoo.save(name, location) for name in zoo.ZOO}
