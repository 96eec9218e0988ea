"""LoRA in sweeps, with other options, in records, from the hub, and on checkpoints that are named otherwise."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path

import lora_files
import pytest
import safetensors.torch
import torch
from lora_models import Model
from tiers import slow_but

from composer import compose
from composer.errors import ComposerError
from composer.options.lifecycle import clear_models
from composer.testing import pipelines

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["peft", "merge"])
def test_a_sweep_reads_each_file_once(models, compose, monkeypatch, tmp_path, method):
    """4 scales, 2 seeds, none and two files: the base is read once too, and the images are those of single runs."""
    from composer.loading import component_loader
    from composer.options.lifecycle import clear_models

    model: Model = models("sd")
    reads: list[str] = []
    read = safetensors.torch.load_file

    def counted(path, *args, **settings):
        reads.extend([Path(path).name] * (Path(path).parent == model.root))
        return read(path, *args, **settings)

    monkeypatch.setattr(safetensors.torch, "load_file", counted)
    clear_models()
    component_loader.loaded.clear()
    files, scales, seeds = ("null", str(model.one), str(model.two)), ("0", "0.3", "0.7", "1"), ("1", "2")
    words = [word for word in model.words() if not word.startswith("seed")]
    axes = [f"lora={','.join(files)}", f"lora.scale={','.join(scales)}", f"seed={','.join(seeds)}"]
    done = compose("-m", *words, *axes, f"lora.method={method}", "sweep.batch=1", "output.folder=sweep")
    assert done.code == 0, done.err
    assert sorted(reads) == sorted([model.one.name, model.two.name])
    assert component_loader.loaded == {str(model.source / name): 1 for name in ("unet", "vae", "text_encoder")}
    pixels = {}
    for path in sorted((tmp_path / "sweep").rglob("run.json")):
        record = json.loads(path.read_text())
        config = record["config"]
        pixels[str(config["lora"]["file"]), config["lora"]["scale"], config["seed"]] = record["pixels"]
    assert len(pixels) >= 1 + 2 * 4 * 2
    for (file, scale, seed), hashes in pixels.items():
        lora = [] if file == "None" else [f"lora={file}", f"lora.scale={scale}", f"lora.method={method}"]
        assert _pixels(*words, f"seed={seed}", *lora) == hashes, (file, scale, seed)
    page = (tmp_path / "sweep" / "index.html").read_text()
    assert "lora.scale" in page and "lora.file" not in page and "++lora" not in page


def _pixels(*words: str) -> list[str]:
    return compose(*words).record["pixels"]


#: Options that work beside a LoRA on a CPU → words that set them.
OPTIONS = {
    "attention_slicing": ["memory=[attention_slicing]"], "deepcache": ["accel=[deepcache]", "steps=6"],
    "channels_last": ["accel=[channels_last]"], "layerwise_casting": ["precision=fp8"],
    "bf16": ["precision=bf16", "precision.force=true"],
    "fused_qkv": ["accel=[fused_qkv]"], "pag": ["guidance=pag"],
    "vae_tiling": ["memory=[vae_tiling]", "height=128", "width=128"],
    "img2img": ["task=img2img"], "chunk": ["prompt_overflow=chunk"], "batch": ["images=3", "batch=2"],
}  # fmt: skip


@pytest.mark.parametrize("method", ["peft", "merge"])
@pytest.mark.parametrize("name", slow_but(["attention_slicing", "fused_qkv"], OPTIONS))
def test_a_b_a_with_other_options(models, name, method):
    """It has its effect beside the option, and is gone in the run after, whether the option stays or not."""
    model: Model = models("sd")
    words, lora = OPTIONS[name], [f"lora={model.one}", f"lora.method={method}"]
    try:
        plain = model.image(), model.image(*words)
    except ComposerError as error:
        pytest.skip(str(error))
    if name == "layerwise_casting" or (name, method) == ("fused_qkv", "peft"):
        with pytest.raises(ComposerError, match="lora"):
            model.image(*words, *lora)
    else:
        assert len({model.image(*words, *lora), model.image(*words, *lora, "lora.scale=0.5"), plain[1]}) == 3
        assert model.image(*words, *lora, "lora.scale=0") == plain[1]
    assert (model.image(), model.image(*words)) == plain
    assert model.image(*lora) != plain[0] == model.image()


@pytest.mark.parametrize("method", ["peft", "merge"])
def test_the_first_run_of_a_loaded_model_leaves_nothing_to_the_next(models, method):
    """transformers adds its hooks to a text encoder in the first run, here with LoRA attached, and marks the model."""
    model = models("sdxl")
    expected = model.image()
    clear_models()
    assert model.image(f"lora={model.one}", f"lora.method={method}") != expected
    assert model.image() == expected


def test_auto_merges_where_layers_beside_would_not_be_seen(models):
    model: Model = models("sd")
    result = compose(*model.words(f"lora={model.one}", "accel=[fused_qkv]"))
    assert result.record["lora"]["lora"]["method"] == "merge"


def test_the_embeddings_of_a_sweep_are_those_of_its_scale(models):
    """The text encoder is changed in place: scale 1 must not find the embeddings of scale 0."""
    from composer.sampling.embedding_cache import EmbeddingCache, use_embedding_cache

    model: Model = models("sd")
    lora = [f"lora={model.one}", "lora.scale.unet=0"]
    alone = [model.image(*lora, f"lora.scale={scale}") for scale in (0, 1)]
    with use_embedding_cache(EmbeddingCache()) as cache:
        assert [model.image(*lora, f"lora.scale={scale}") for scale in (0, 1)] == alone and alone[0] != alone[1]
        assert (cache.misses, cache.hits) == (2, 0)
        for scale in (0.2, 0.4):  # a file without the text encoder's layers leaves its embeddings as they are
            model.image(f"lora={model.two}", f"lora.scale={scale}")
        assert cache.misses == 2  # those without a change of the text encoder


def test_a_record_reruns_and_knows_the_content(models, compose, tmp_path):
    model: Model = models("sd")
    layers = lora_files.layers_of(pipelines.sd())
    lora_files.save(lora_files.kohya(layers), tmp_path / "x.safetensors")
    words = [word for word in model.words() if not word.startswith("callbacks")]
    assert compose(*words, "lora=x.safetensors", "lora.scale=0.7", "output.folder=out").code == 0
    again = compose("rerun", "out/000.png", "--trust")
    assert again.code == 0, again.err
    lora_files.save(lora_files.kohya(layers, seed=3), tmp_path / "x.safetensors")
    other = compose("rerun", "out/000.png", "--trust")
    assert other.code == 1 and re.search(r"lora lora sha256 was \w+… and is|lora lora sha256 was", other.err)


def test_ids_of_jobs_know_content_and_settings_but_no_path(models, tmp_path):
    from composer.checks.compatibility import check
    from composer.config.compose import compose_config
    from composer.config.read import read
    from composer.records.job_id import job_id

    model: Model = models("sd")
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(model.one.read_bytes())

    def identify(*words: str) -> str:
        return job_id(check(read(compose_config(model.words(*words)))))

    first = identify(f"lora={model.one}")
    assert identify(f"lora={copy}") == first and identify("lora=null", "lora.scale=2") == identify()
    settings = ("lora.scale=0.5", "lora.scale.unet=0.5", "lora.start=0.5", "lora.method=merge")
    ids = {identify(f"lora={model.one}", setting) for setting in settings}
    assert len({*ids, first, identify(), identify(f"lora={model.two}")}) == 7


def test_a_file_at_the_hub(models, tmp_path, monkeypatch):
    """From the hub's cache, by repository, subfolder and file, as huggingface_hub keeps it."""
    from huggingface_hub import constants, file_download

    model: Model = models("sd")
    snapshot = tmp_path / "models--owner--name" / "snapshots" / ("0" * 40)
    for name in ("pytorch_lora_weights.safetensors", "styles/ink.safetensors"):
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).write_bytes(model.one.read_bytes())
    refs = tmp_path / "models--owner--name" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0" * 40)
    for module in (constants, file_download.constants):
        monkeypatch.setattr(module, "HF_HUB_CACHE", str(tmp_path))
    expected = model.image(f"lora={model.one}")
    for source in (
        "owner/name",
        "owner/name/pytorch_lora_weights.safetensors",
        "owner/name/styles",
        "owner/name/styles/ink.safetensors",
    ):
        assert model.image(f"lora={source}") == expected, source


@pytest.mark.slow
def test_sdxl_files_in_the_original_names_of_its_layers(models, tmp_path):
    """kohya's files for SDXL count blocks through, as its authors do; placed by header, equal to diffusers."""
    model: Model = models("sdxl")
    blocks = {
        f"{way}_blocks_{block}_{kind}_{layer}_": f"{old}_blocks_{number}_{part}_"
        for way, old in (("down", "input"), ("up", "output"))
        for block, layer in product(range(3), range(3))
        for part, kind in enumerate(("resnets", "attentions"))
        for number in [block * (pipe_layers() + 1) + layer + (way == "down")]
    } | {"mid_block_attentions_0_": "middle_block_1_"}
    tensors = {}
    for key, tensor in lora_files.kohya(lora_files.layers_of(model.fresh())).items():
        new = next((old for ours, old in blocks.items() if f"lora_unet_{ours}" in key), None)
        ours = next((ours for ours in blocks if f"lora_unet_{ours}" in key), "")
        tensors[key.replace(ours, new) if new else key] = tensor
    assert all("blocks_" in key or "middle_block" in key for key in tensors) and not any(
        "down_blocks" in key for key in tensors
    )
    file = lora_files.save(tensors, tmp_path / "sgm.safetensors")
    plain = lora_files.save(lora_files.kohya(lora_files.layers_of(model.fresh())), tmp_path / "plain.safetensors")
    assert model.image(f"lora={file}", "lora.scale=0.7") == model.classic((file, 0.7)) != model.image()
    assert model.image(f"lora={file}", "lora.method=merge") == model.image(f"lora={plain}", "lora.method=merge")


def pipe_layers() -> int:
    return pipelines.sdxl().unet.config.layers_per_block


def test_flux_files_in_the_original_names_of_its_layers(models, tmp_path):
    """kohya's files for Flux join query, key and value, which only diffusers' conversion takes apart."""
    model: Model = models("flux")
    width = model.fresh().transformer.inner_dim
    torch.manual_seed(0)
    shapes = {
        "double_blocks_0_img_attn_qkv": (3 * width, width), "double_blocks_0_txt_attn_qkv": (3 * width, width),
        "double_blocks_0_img_attn_proj": (width, width), "single_blocks_0_linear2": (width, 5 * width),
    }  # fmt: skip
    tensors = {}
    for name, (out, into) in shapes.items():
        tensors[f"lora_unet_{name}.lora_down.weight"] = torch.randn(4, into) * 0.2
        tensors[f"lora_unet_{name}.lora_up.weight"] = torch.randn(out, 4) * 0.2
        tensors[f"lora_unet_{name}.alpha"] = torch.tensor(2.0)
    file = lora_files.save(tensors, tmp_path / "flux.safetensors")
    before = model.image()
    assert model.image(f"lora={file}", "lora.scale=0.7") == model.classic((file, 0.7)) != before == model.image()
    stray = {
        **tensors,
        **{key.replace("img_attn_proj", "img_atn_proj"): value.clone() for key, value in tensors.items()},
    }
    file = lora_files.save(stray, tmp_path / "stray.safetensors")
    with pytest.raises(ComposerError, match=r"lora=stray\.safetensors: (can't be applied|diffusers would leave out)"):
        model.image(f"lora={file}")
    assert model.image() == before


def test_a_hosted_pipeline_takes_it_too(models):
    model: Model = models("sd")
    words, lora = ["model.family=hosted"], [f"lora={model.one}", "lora.scale=0.7"]
    before = model.image(*words)
    assert model.image(*words, *lora) == model.image(*lora) != before == model.image(*words)


#: Options that make a program of the denoiser; their results are near to torch's, whose operations they fuse.
PROGRAMS = ["compile", "onnx", "openvino"]


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_has_the_lora_of_its_run(models, name):
    """Each scale has its own result, near to that without the program; none and 0 are as before."""
    import numpy as np

    model: Model = models("sd")
    words, lora = [f"accel=[{name}]"], [f"lora={model.two}"]

    def pixels(*more: str) -> np.ndarray:
        return np.frombuffer(model.image(*more), np.uint8).astype(int)

    eager = {scale: pixels(*lora, f"lora.scale={scale}") for scale in (0, 0.5, 1)}
    plain = pixels(*words)
    for scale in (1, 0.5, 0):
        result = pixels(*words, *lora, f"lora.scale={scale}")
        assert abs(result - eager[scale]).max() <= 2, (scale, "fused operations round differently, twice a step")
        assert scale == 0 or abs(result - plain).max() > 2, (scale, "it has no effect")
    assert (pixels(*words) == plain).all() and (pixels() == eager[0]).all()
    if name != "compile":  # whose programs are made of PEFT's layers too
        with pytest.raises(ComposerError, match=rf"lora\.method=peft: can't be together with accel={name}"):
            model.image(*words, *lora, "lora.method=peft")
