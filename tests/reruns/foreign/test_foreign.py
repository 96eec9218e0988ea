"""Records of other tools are mapped to overrides; what is not mapped is named, and nothing in them is executed."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from composer.reruns.foreign.mapping import read_foreign

A1111 = """a (red:1.2) cone, "big" <lora:ink:0.8>
second line
Negative prompt: blurry, (ugly)
Steps: 12, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 18446744073709551615, Size: 64x96, Model hash: 6ce0161689, \
Model: v1-5-pruned, Clip skip: 2, Lora hashes: "ink: 1234, b: 5", Version: v1.9.3"""
FORGE = """a cat
Steps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 3.5, Seed: 5, Size: 896x1152, \
Model hash: c161224931, Model: flux1-dev-bnb-nf4, Version: f2.0.1v1.10.1"""
SDNEXT = """a cat
Negative prompt: dog
Steps: 20, Size: 512x512, Sampler: Euler a, Seed: 7, CFG scale: 6, App: SD.Next, \
Version: 2a3ac9e, Model: dreamshaper_8"""
IMG2IMG = (
    "a cat\nSteps: 20, Sampler: DDIM, CFG scale: 7, Seed: 1, Size: 512x512, Denoising strength: 0.5, Version: v1.9.3"
)


def comfy(sampler: dict, **more: dict) -> str:
    nodes = {
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": 15,
                "steps": 9,
                "cfg": 8,
                "sampler_name": "dpmpp_2m",
                "scheduler": "karras",
                "denoise": 1,
                "model": ["10", 0],
                "positive": ["6", 0],
                "negative": ["7", 0],
                "latent_image": ["5", 0],
                **sampler,
            },
        },
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 96, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a (red:1.2) [big] cone", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}, "is_changed": [float("nan")]},
        "10": {
            "class_type": "LoraLoader",
            "inputs": {
                "lora_name": "ink.safetensors",
                "strength_model": 0.7,
                "strength_clip": 1,
                "model": ["4", 0],
                "clip": ["4", 1],
            },
        },
        **more,
    }
    return json.dumps(nodes)


#: SDXL's two passes: the first begins from noise, and takes its seed from a node that holds it.
HIRES = comfy(
    {"seed": ["20", 0]},
    **{
        "20": {"class_type": "PrimitiveInt", "inputs": {"value": 99}},
        "30": {
            "class_type": "KSampler",
            "inputs": {
                "seed": 1,
                "steps": 5,
                "cfg": 8,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 0.5,
                "model": ["4", 0],
                "positive": ["6", 0],
                "negative": ["7", 0],
                "latent_image": ["31", 0],
            },
        },
        "31": {"class_type": "LatentUpscale", "inputs": {"samples": ["3", 0], "width": 128, "height": 192}},
    },
)
FLUX = json.dumps(
    {
        "13": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {
                "noise": ["25", 0],
                "guider": ["22", 0],
                "sampler": ["16", 0],
                "sigmas": ["17", 0],
                "latent_image": ["27", 0],
            },
        },
        "25": {"class_type": "RandomNoise", "inputs": {"noise_seed": 77}},
        "22": {"class_type": "BasicGuider", "inputs": {"model": ["12", 0], "conditioning": ["26", 0]}},
        "26": {"class_type": "FluxGuidance", "inputs": {"guidance": 3.5, "conditioning": ["6", 0]}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["11", 0]}},
        "16": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
        "17": {
            "class_type": "BasicScheduler",
            "inputs": {"scheduler": "simple", "steps": 20, "denoise": 1, "model": ["12", 0]},
        },
        "12": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux1-dev.safetensors", "weight_dtype": "default"}},
        "11": {"class_type": "DualCLIPLoader", "inputs": {}},
        "27": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 1024, "height": 768, "batch_size": 1}},
    }
)
INVOKE = json.dumps(
    {
        "app_version": "5.4.2",
        "generation_mode": "sdxl_txt2img",
        "positive_prompt": "a (cat)1.2",
        "negative_prompt": "",
        "width": 64,
        "height": 96,
        "seed": 356120443,
        "rand_device": "cpu",
        "cfg_scale": 7.5,
        "steps": 30,
        "scheduler": "dpmpp_2m_sde_k",
        "clip_skip": 0,
        "model": {"key": "k", "hash": "h", "name": "juggernaut", "base": "sdxl", "type": "main"},
        "loras": [{"model": {"name": "ink"}, "weight": 0.6}],
        "vae": {"name": "fix"},
        "controlnets": [],
    }
)
SWARM = json.dumps(
    {
        "sui_image_params": {
            "prompt": "a man mid-sprint",
            "model": "Flux/flux1-dev-fp8",
            "seed": 123998,
            "steps": 25,
            "cfgscale": 1.0,
            "aspectratio": "Custom",
            "width": 512,
            "height": 768,
            "sampler": "euler",
            "scheduler": "simple",
            "negativeprompt": "",
            "swarm_version": "0.9.1.1",
            "vae": "ae.sft",
            "loras": ["ink"],
            "loraweights": ["0.4"],
            "date": "2024-08-09",
        }
    }
)

#: Texts → tool, overrides, model, and names of what is not mapped.
CASES = {
    "a1111": (
        {"parameters": A1111},
        "AUTOMATIC1111's web UI",
        {
            "prompt": "'a (red:1.2) cone, \"big\"\nsecond line'",
            "negative_prompt": "'blurry, (ugly)'",
            "steps": "12",
            "seed": "18446744073709551615",
            "width": "64",
            "height": "96",
            "guidance": "6.5",
            "scheduler": "dpmpp_2m",
            "scheduler.use_karras_sigmas": "true",
            "prompt_syntax": "weights",
        },
        "v1-5-pruned",
        {"lora ink", "Clip skip"},
    ),
    "forge": (
        {"parameters": FORGE},
        "Forge",
        {
            "prompt": "'a cat'",
            "steps": "20",
            "seed": "5",
            "width": "896",
            "height": "1152",
            "guidance": "3.5",
            "scheduler": "flow_euler",
        },
        "flux1-dev-bnb-nf4",
        {"noise schedule"},
    ),
    "sdnext": (
        {"parameters": SDNEXT},
        "SD.Next",
        {
            "prompt": "'a cat'",
            "negative_prompt": "'dog'",
            "steps": "20",
            "seed": "7",
            "width": "512",
            "height": "512",
            "guidance": "6",
            "scheduler": "euler_a",
        },
        "dreamshaper_8",
        set(),
    ),
    "img2img": (
        {"parameters": IMG2IMG},
        "AUTOMATIC1111's web UI",
        {
            "prompt": "'a cat'",
            "steps": "20",
            "seed": "1",
            "width": "512",
            "height": "512",
            "guidance": "7",
            "scheduler": "ddim",
        },
        None,
        {"Denoising strength"},
    ),
    "comfyui": (
        {"prompt": comfy({}), "workflow": '{"nodes": []}'},
        "ComfyUI",
        {
            "prompt": r"'a (red:1.2) \[big\] cone'",
            "negative_prompt": "'blurry'",
            "steps": "9",
            "seed": "15",
            "width": "64",
            "height": "96",
            "guidance": "8",
            "scheduler": "dpmpp_2m",
            "scheduler.use_karras_sigmas": "true",
            "prompt_syntax": "weights",
        },
        "v1-5.safetensors",
        {"lora ink.safetensors"},
    ),
    "comfyui hires": (
        {"prompt": HIRES},
        "ComfyUI",
        {
            "prompt": r"'a (red:1.2) \[big\] cone'",
            "negative_prompt": "'blurry'",
            "steps": "9",
            "seed": "99",
            "width": "64",
            "height": "96",
            "guidance": "8",
            "scheduler": "dpmpp_2m",
            "scheduler.use_karras_sigmas": "true",
            "prompt_syntax": "weights",
        },
        "v1-5.safetensors",
        {"lora ink.safetensors", "further samplers", "node LatentUpscale"},
    ),
    "comfyui flux": (
        {"prompt": FLUX},
        "ComfyUI",
        {
            "prompt": "'a cat'",
            "steps": "20",
            "seed": "77",
            "width": "1024",
            "height": "768",
            "guidance": "3.5",
            "scheduler": "flow_euler",
        },
        "flux1-dev.safetensors",
        {"noise schedule"},
    ),
    "invokeai": (
        {"invokeai_metadata": INVOKE},
        "InvokeAI",
        {
            "prompt": "'a (cat)1.2'",
            "steps": "30",
            "seed": "356120443",
            "width": "64",
            "height": "96",
            "guidance": "7.5",
            "scheduler": "dpmpp_2m_sde",
            "scheduler.use_karras_sigmas": "true",
        },
        "juggernaut",
        {"lora ink", "vae"},
    ),
    "swarmui": (
        {"parameters": SWARM},
        "SwarmUI",
        {
            "prompt": "'a man mid-sprint'",
            "steps": "25",
            "seed": "123998",
            "width": "512",
            "height": "768",
            "guidance": "1",
            "scheduler": "flow_euler",
        },
        "Flux/flux1-dev-fp8",
        {"lora ink", "vae", "noise schedule"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_record_is_mapped_and_what_is_not_is_named(name):
    texts, tool, overrides, model, unmapped = CASES[name]
    record = read_foreign(texts)
    assert record is not None
    assert (record.tool, dict(record.overrides), record.model) == (tool, overrides, model)
    assert set(record.unmapped) == unmapped


def written(path: Path, texts: dict[str, str]) -> Path:
    chunks = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        chunks.add_itxt(key, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=chunks)
    return path


@pytest.mark.parametrize("name", ["a1111", "comfyui", "invokeai"])
def test_rerun_generates_by_it_with_a_model_that_the_user_names(compose, tmp_path, name):
    texts, tool, overrides, model, unmapped = CASES[name]
    image = written(tmp_path / "x.png", texts)
    refused = compose("rerun", str(image))
    assert refused.code == 2 and refused.err.count("\n") == 1
    assert tool in refused.err and model in refused.err and "model=" in refused.err
    done = compose("rerun", str(image), "model=tiny", "steps=2", "output.folder=out")
    assert done.code == 0, done.err
    assert all(f"not mapped: {what}" in done.err for what in unmapped)
    config = json.loads(Path("out/run.json").read_text())["config"]
    assert config["steps"] == 2 and str(config["seed"]) == overrides["seed"] and config["height"] == 96
    assert config["guidance"]["scale"] == float(overrides["guidance"])
    shown = compose("info", str(image))
    assert shown.code == 0 and "in composer's words" in shown.out and "compose model=… " in shown.out


#: Prompts that composer's command line or Hydra would otherwise read as more than text.
TEXTS = [
    "@/etc/hostname",
    "${oc.env:HOME}",
    "a','b",
    "choice(a,b)",
    "combinations({a|b})",
    "\\",
    "'",
    "=",
    "~model",
    "_target_: x",
    "null",
    "{a|b} __x__",
    "%(x)s `id` $(id)",
    "üñ 猫\n\n\ttab",
    "[a,b]",
    "???\u2028x",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_prompt_stays_text(compose, tmp_path, text):
    image = written(
        tmp_path / "x.png",
        {
            "prompt": json.dumps(
                {
                    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 1, "positive": ["6", 0]}},
                    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": text}},
                }
            )
        },
    )
    done = compose("rerun", str(image), "model=tiny", "output.folder=out")
    assert done.code == 0, done.err
    assert json.loads(Path("out/run.json").read_text())["images"][0]["prompt"] == text.strip()


def node(**inputs) -> dict:
    return {"class_type": "KSampler", "inputs": inputs}


HOSTILE = {
    "deep json": {"prompt": "[" * 100_000},
    "deep object": {"prompt": '{"a":' * 50_000},
    "number": {"prompt": "1" * 10_000},
    "not json": {"invokeai_metadata": "{"},
    "list": {"prompt": "[]"},
    "empty": {"parameters": ""},
    "no sampler": {"prompt": '{"1": {"class_type": "Evil", "inputs": {}}}'},
    "circle": {
        "prompt": json.dumps({"1": node(model=["1", 0], positive=["1", 0], latent_image=["1", 0], seed=["1", 0])})
    },
    "kinds": {
        "prompt": json.dumps(
            {"1": node(model=3, positive={}, seed=[], steps="x" * 5000, cfg=True, sampler_name=[1]), "2": 5}
        )
    },
    "numbers": {"prompt": '{"1": {"class_type": "KSampler", "inputs": {"seed": -1, "steps": 1e400, "cfg": NaN}}}'},
    "large": {
        "parameters": "a\nSteps: 99999999999999999999, Seed: -5, CFG scale: 1e999, Size: 999999x1, Sampler: "
        + "x" * 10_000
    },
    "many": {"prompt": json.dumps({str(i): node(seed=i, model=[str(i + 1), 0]) for i in range(3000)})},
    "quotes": {"parameters": 'a\nSteps: 1, X: "' + "\\" * 50_000},
    "commas": {"parameters": "a\nSteps: 1" + ", a" * 300_000},
    "colons": {"parameters": "a\nSteps: 1, " + "a:" * 300_000},
    "networks": {"parameters": "<lora:" * 50_000 + "\nSteps: 1"},
    "swarm": {"parameters": '{"sui_image_params": []}'},
    "invoke": {"invokeai_metadata": '{"loras": 3, "model": [], "scheduler": {}, "steps": {}, "positive_prompt": 4}'},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_records_neither_fail_nor_take_long(name):
    begin = time.process_time()
    record = read_foreign(HOSTILE[name])
    assert time.process_time() - begin < 5
    for key, value in (record.overrides if record else {}).items():
        assert key in (
            "prompt",
            "negative_prompt",
            "steps",
            "seed",
            "width",
            "height",
            "guidance",
            "scheduler",
            "prompt_syntax",
        )
        assert value.startswith("'") or len(value) < 40
    assert all(len(note) < 300 for note in (record.notes() if record else ()))


def test_names_of_files_and_classes_are_never_looked_up(compose, tmp_path, monkeypatch):
    """A graph that names paths and modules: they are shown, and the files are not opened."""
    graph = json.loads(comfy({}))
    graph["4"]["inputs"]["ckpt_name"] = "../../secret.safetensors"
    graph["99"] = {"class_type": "os.system", "inputs": {"command": "touch executed"}}
    image = written(tmp_path / "x.png", {"prompt": json.dumps(graph)})
    before = set(sys.modules)
    done = compose("rerun", str(image), "model=tiny", "steps=1", "output.folder=out")
    assert done.code == 0 and "not mapped: node os.system" in done.err and not Path("executed").exists()
    assert not any("secret" in name for name in set(sys.modules) - before)
    assert "secret" not in Path("out/run.json").read_text()


def test_the_user_s_own_words_replace_those_of_the_record(compose, tmp_path):
    image = written(tmp_path / "x.png", CASES["comfyui"][0])
    words = ["model=tiny", "scheduler=ddim", "prompt=a cone", "seed=4", "guidance=2", "steps=1", "output.folder=out"]
    done = compose("rerun", str(image), *words)
    assert done.code == 0, done.err
    record = json.loads(Path("out/run.json").read_text())
    assert (record["options"]["scheduler"], record["images"][0]["prompt"], record["images"][0]["seed"]) == (
        "ddim",
        "a cone",
        4,
    )
