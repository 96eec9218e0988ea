"""Damaged, foreign and half-matching LoRA files: each is refused before weights load, with the reason, in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lora_files
import pytest
import torch

from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.errors import ComposerError
from composer.testing import pipelines

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def source(checkpoints):
    return checkpoints["sd"]


@pytest.fixture(scope="module")
def layers():
    return lora_files.layers_of(pipelines.sd())


def refusal(source: Path, *words: str) -> str:
    with pytest.raises(ComposerError) as error:
        check(read(compose_config(["model=local", f"model.source={source}", *words])))
    assert "\n" not in str(error.value)
    return str(error.value)


def renamed(tensors: Tensors, old: str, new: str) -> Tensors:
    return {key.replace(old, new): tensor for key, tensor in tensors.items()}


def without(tensors: Tensors, end: str) -> Tensors:
    """Tensors without the first one whose name ends so."""
    dropped = next(key for key in tensors if key.endswith(end))
    return {key: tensor for key, tensor in tensors.items() if key != dropped}


def changed(tensors: Tensors, end: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Tensors:
    """Tensors of which the first one whose name ends so is another."""
    key = next(key for key in tensors if key.endswith(end))
    return {**tensors, key: change(tensors[key])}


def of(family: str) -> Tensors:
    pipe = pipelines.MAKERS[family]()
    return lora_files.diffusers(lora_files.layers_of(pipe))


ONE = torch.ones(4)
#: Name → tensors, made of those of a good file, and words of the refusal.
WRONG: dict[str, tuple[Callable[[dict], Tensors], str]] = {
    "sdxl": (lambda layers: of("sdxl"), "is for another model"),
    "flux": (lambda layers: of("flux"), "is for another model: none of its layers is in this one"),
    "another depth": (
        lambda layers: renamed(lora_files.kohya(layers), "up_blocks_0_attentions_1", "up_blocks_0_attentions_7"),
        "8 of 32 layers are not in this one, such as lora_unet_up_blocks_0_attentions_7",
    ),
    "another width": (
        lambda layers: changed(lora_files.diffusers(layers), "to_k.lora_A.weight", lambda old: torch.ones(4, 48)),
        "changes 32 x 48 weights of unet.down_blocks",
    ),
    "no up": (lambda layers: without(lora_files.kohya(layers), "lora_up.weight"), "layers lack a tensor"),
    "no down": (lambda layers: without(lora_files.diffusers(layers), "lora_A.weight"), "layers lack a tensor"),
    "other ranks": (
        lambda layers: changed(lora_files.kohya(layers), "lora_up.weight", lambda old: torch.ones(old.shape[0], 3)),
        "factors of different ranks",
    ),
    "a vector": (
        lambda layers: changed(lora_files.kohya(layers), "lora_down.weight", lambda old: ONE), "layers lack a tensor",
    ),
    "alphas": (lambda layers: changed(lora_files.kohya(layers), "alpha", lambda old: ONE), "layers lack a tensor"),
    "half a LoHa": (lambda layers: without(lora_files.loha(layers), "hada_w2_b"), "layers lack a tensor"),
    "half a LoKr": (lambda layers: without(lora_files.lokr(layers), "lokr_w2"), "layers lack a tensor"),
    "OFT": (
        lambda layers: {**lora_files.kohya(layers), "lora_unet_mid.oft_blocks": ONE}, "holds 1 tensors of OFT, which",
    ),
    "an embedding": (
        lambda layers: {**lora_files.kohya(layers), "bundle_emb.ink.string_to_param.*": ONE}, "a bundled embedding",
    ),
    "norms": (lambda layers: {**lora_files.kohya(layers), "lora_unet_mid.w_norm": ONE}, "trained norms"),
    "a stray key": (lambda layers: {**lora_files.diffusers(layers), "epoch": ONE}, "would be left out: epoch"),
    "twice": (
        lambda layers: {**lora_files.diffusers(layers), **lora_files.kohya(layers)}, "changes unet.down_blocks",
    ),
    "text_encoder_2": (
        lambda layers: lora_files.diffusers({("text_encoder_2", path): layer for (_, path), layer in layers.items()}),
        "none of its layers is in this one",
    ),
    "PEFT's names of another depth": (
        lambda layers: {
            key.replace("unet.", "base_model.model.").replace("up_blocks.0", "up_blocks.5"): tensor
            for key, tensor in lora_files.diffusers(layers).items()
        },
        "of 32 layers are not in this one, such as base_model.model.up_blocks.5",
    ),
    "former names without up": (
        lambda layers: without(lora_files.old_diffusers(layers), "lora.up.weight"), "layers lack a tensor",
    ),
    "DoRA alone": (
        lambda layers: {key: tensor for key, tensor in lora_files.dora(layers).items() if "dora" in key},
        "layers lack a tensor",
    ),
    "LoHa of another width": (
        lambda layers: changed(lora_files.loha(layers), "hada_w1_b", lambda old: torch.ones(4, 7)),
        "x 7 weights of unet.",
    ),
    "LoHa of other ranks": (
        lambda layers: changed(lora_files.loha(layers), "hada_w1_b", lambda old: torch.ones(3, old.shape[1])),
        "factors of different ranks",
    ),
    "LoKr of another size": (
        lambda layers: changed(lora_files.lokr(layers), "lokr_w1", lambda old: torch.ones(3, 2)), "weights of unet.",
    ),
    "half a factored LoKr": (
        lambda layers: without(lora_files.lokr(layers, factored=True), "lokr_w2_b"), "layers lack a tensor",
    ),
    "LoCon with a core of another kind": (
        lambda layers: {**lora_files.kohya(layers), "lora_unet_mid_block_resnets_0_conv1.lora_mid.weight": ONE},
        "layers lack a tensor",
    ),
    "a difference of another width": (
        lambda layers: changed(lora_files.difference(layers), "diff", lambda old: torch.ones(5, 5)),
        "changes 5 x 5 weights of unet.",
    ),
    "GLoRA": (lambda layers: {**lora_files.kohya(layers), "lora_unet_mid.a1.weight": ONE}, "GLoRA"),
    "a model": (lambda layers: dict(pipelines.sd().unet.state_dict()), "is no LoRA: no tensor in it"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_would_be_used_in_part_is_refused(source, layers, tmp_path, name):
    make, words = WRONG[name]
    file = lora_files.save(make(layers), tmp_path / "x.safetensors")
    assert words in refusal(source, f"lora={file}")


def test_a_file_for_another_base_by_its_metadata(source, layers, tmp_path):
    for key, value in {"ss_base_model_version": "sdxl_base_v1-0", "modelspec.architecture": "Flux.1-dev/lora"}.items():
        file = lora_files.save(lora_files.kohya(layers), tmp_path / "x.safetensors", {key: value})
        assert "was trained on a" in refusal(source, f"lora={file}")


#: Name → content of a file that is no safetensors file, from that of a good one, and words of the refusal.
DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut short": (lambda good: good[: len(good) // 2], "it is cut short"),
    "empty": (lambda good: b"", "is empty"),
    "zeros": (lambda good: bytes(len(good)), "holds zeros"),
    "a web page": (lambda good: b"<!DOCTYPE html><html></html>", "is a web page"),
    "a pointer": (lambda good: b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
    "a pickle": (lambda good: b"PK\x03\x04" + good, "is a pickled file"),
    "a broken table": (lambda good: good[:8] + b"{]" + good[10:], "can't be read"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused(source, layers, tmp_path, name):
    change, words = DAMAGED[name]
    file = lora_files.save(lora_files.kohya(layers), tmp_path / "x.safetensors")
    file.write_bytes(change(file.read_bytes()))
    assert words in refusal(source, f"lora={file}")


#: Words of a command line, with FILE and FOLDER for a good file and its directory, and words of the refusal.
TYPED = {
    "lora=nothing.safetensors": "there is no such file",
    "lora=owner/nothing": "is not here nor in the hub's cache",
    "lora=https://example.org/x.safetensors": "is a web address",
    "lora=x.ckpt": "there is no such file",
    "lora=FOLDER": "holds several .safetensors files: name one",
    "lora=FILE lora.revision=main": "lora.revision=main: is for files at the hub",
    "lora=FILE lora.scal=1": "Did you mean scale?",
    "lora=FILE lora.scale=much": "lora.scale=much: must be a number",
    "lora=FILE lora.scale.unte=1": "lora.scale.unte=1: the file changes no unte (allowed: unet)",
    "lora=FILE lora.start=0.7 lora.end=0.5": "must be less than lora.end",
    "lora=FILE lora.end=2": "must be a number from 0 to 1",
    "lora.scale=0.5": "there is no LoRA that it is of",
    "lora=FILE lora.method=fuse": "(allowed: auto, peft, merge)",
    "lora=DORA lora.method=peft": "holds DoRA of LoRA",
}


@pytest.mark.parametrize("line", TYPED)
def test_what_is_typed_wrongly_is_refused(source, layers, tmp_path, line):
    file = lora_files.save(lora_files.kohya(layers), tmp_path / "good.safetensors")
    dora = lora_files.save(lora_files.dora(layers), tmp_path / "dora.safetensors")
    words = line.replace("FOLDER", str(tmp_path)).replace("FILE", str(file)).replace("DORA", str(dora)).split()
    assert TYPED[line] in refusal(source, *words)


def test_a_refusal_imports_no_torch(source, layers, tmp_path):
    file = lora_files.save({**lora_files.kohya(layers), "epoch": ONE}, tmp_path / "x.safetensors")
    code = (
        "import sys; from composer.cli.main import main\n"
        f"code = main(['model=local', 'model.source={source}', 'lora={file}'])\n"
        "print(code, [name for name in ('torch', 'diffusers', 'peft') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "2 []" and "would be left out: epoch" in done.stderr


def test_info_describes_a_file(compose, layers, tmp_path):
    metadata: dict[str, Any] = {
        "ss_base_model_version": "sd_v1",
        "ss_tag_frequency": {"set": {"cat": 3, "blueprint": 12}},
    }
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    lora_files.save(lora_files.dora(layers), tmp_path / "x.safetensors", texts)
    done = compose("info", "x.safetensors")
    assert done.code == 0 and not done.err
    for words in ("DoRA of LoRA", "sd_v1 (family sd)", "rank       4", "32 of denoiser", "blueprint, cat"):
        assert words in done.out
    facts = json.loads(compose("info", "x.safetensors", "--json").out)
    assert facts["family"] == "sd" and facts["trigger_words"] == ["blueprint", "cat"]
