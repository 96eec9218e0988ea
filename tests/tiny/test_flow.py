"""The layout of the flow model: klein's own pipeline and composer make the same of it, whatever its weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, Flux2KleinPipeline
from PIL import Image

import composer
from composer.checkpoints.find import find_checkpoint
from composer.checkpoints.sources import EMBEDDED
from composer.config.compose import compose_config
from composer.config.read import read
from composer.config.spec import ModelSpec
from composer.errors import ComposerError
from composer.tiny import flow_networks, flow_stage
from composer.tiny.captions import vocabulary
from composer.tiny.data import captions, scenes
from composer.tiny.edit_pairs import edits
from composer.tiny.flow_text_stage import instructions
from composer.tiny.flow_tokenizer import LENGTH, build_tokenizer, encode, save_tokenizer
from composer.tiny.instructions import vocabulary as instruction_words
from composer.tiny.render import render

TOKENIZER = build_tokenizer()
TEXTS = ["A Red sphere on grass", "make the cone blue"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A checkpoint as the trainer saves it, with random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("flow")
    vae = flow_networks.vae(AutoencoderKL.from_pretrained(EMBEDDED / "text2img" / "vae", torch_dtype=torch.float32))
    flow_stage.normalize(vae, torch.randn(10, 64, 16) * torch.linspace(0.5, 2, 16))
    encoder = flow_networks.deepen(flow_networks.text_encoder(TOKENIZER), TOKENIZER)
    flow_networks.save(flow_networks.transformer(), encoder, vae, TOKENIZER, folder)
    return folder


@pytest.fixture(scope="module")
def pipe(folder) -> Flux2KleinPipeline:
    pipe = Flux2KleinPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "scene.png"
    Image.fromarray(render(scenes(1, 3)[0], 128).image).save(path)
    return path


def pixels(images) -> np.ndarray:
    return np.stack([np.asarray(image) for image in images])


def words(folder: Path, *more: str) -> list[str]:
    return [f"model.source={folder}", "model.size=128", "callbacks=[]", "steps=2", "precision=fp32", *more]


def test_text2img_equals_the_pipeline_of_diffusers(folder, pipe):
    ours = composer.compose(*words(folder), prompt="A red sphere", guidance=4.0, seed=3).images
    generator = torch.Generator().manual_seed(3)
    theirs = pipe(
        prompt="A red sphere", height=128, width=128, num_inference_steps=2, guidance_scale=4.0, generator=generator,
        max_sequence_length=LENGTH,
    ).images  # fmt: skip
    assert pixels(ours).shape == (1, 128, 128, 3) and (pixels(ours) == pixels(theirs)).all()


def test_an_edit_equals_the_pipeline_of_diffusers(folder, pipe, reference):
    prompt = "make the sphere green"
    ours = composer.compose(
        *words(folder, "task=edit"), prompt=prompt, references=[str(reference)], guidance=4.0, seed=3
    ).images
    generator = torch.Generator().manual_seed(3)
    theirs = pipe(
        prompt=prompt, image=[Image.open(reference)], num_inference_steps=2, guidance_scale=4.0, generator=generator,
        max_sequence_length=LENGTH,
    ).images  # fmt: skip
    assert pixels(ours).shape == (1, 128, 128, 3) and (pixels(ours) == pixels(theirs)).all()


@pytest.mark.parametrize(("size", "expected"), [(None, 1024), (64, 64)])
def test_the_size_is_the_pipelines_unless_the_option_says_it(folder, size, expected):
    """klein's files do not say what they were trained at."""
    assert find_checkpoint(ModelSpec(name="mine", source=str(folder), size=size)).size == (expected, expected)


def test_a_size_that_the_model_does_not_generate_is_refused(folder):
    with pytest.raises(ComposerError, match=r"model\.size=100: must be a multiple of 16 pixels"):
        composer.compose(f"model.source={folder}", "model.size=100", prompt="a red cone")
    with pytest.raises(ComposerError, match=r"model\.size=64: .* has a size of its own: set height and width"):
        composer.compose(f"model.source={folder}", "model.size=64", "model.family=hosted", prompt="a red cone")


def test_a_size_of_the_option_goes_with_its_source(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    option = tmp_path / "conf" / "model" / "small.yaml"
    option.parent.mkdir(parents=True)
    (tmp_path / "conf" / ".composer").touch()
    option.write_text(f"defaults: [_base, _self_]\nname: small\nsource: {folder}\nsize: 32\n")
    assert read(compose_config(["model=small"])).model.size == 32
    assert read(compose_config(["model=small", "model.source=a/b"])).model.size is None


def test_the_trainer_encodes_prompts_as_the_pipeline_does(pipe):
    ids = encode(pipe.tokenizer, TEXTS)
    shallow = flow_networks.text_encoder(TOKENIZER)
    deep = flow_networks.deepen(shallow, TOKENIZER)
    theirs = Flux2KleinPipeline._get_qwen3_prompt_embeds(deep, pipe.tokenizer, TEXTS, max_sequence_length=LENGTH)
    with torch.no_grad():
        assert torch.equal(flow_networks.embed(shallow, ids, TOKENIZER.pad_token_id), theirs)


def test_the_trainer_normalizes_latents_as_the_pipeline_does(pipe, tmp_path):
    """To fp16, in which the trainer keeps them."""
    image = render(scenes(1, 3)[0], 128).image
    encoded = flow_stage.tokens(pipe.vae, image[None], tmp_path / "tokens.pt", torch.device("cpu"))
    theirs, _ = pipe.prepare_image_latents(
        [pipe.image_processor.preprocess(Image.fromarray(image))], 1, None, torch.device("cpu"), torch.float32
    )
    # bf16 autocast of the trainer's encoder: 8 bits of mantissa through some twenty layers
    assert torch.allclose(flow_stage.normalized(pipe.vae, encoded).float(), theirs, atol=0.1)


def test_the_trainer_predicts_as_the_pipeline_does(pipe):
    noisy, reference, hidden = torch.randn(2, 64, 16), torch.randn(2, 64, 16), torch.randn(2, 8, 192)
    t = torch.tensor([0.3, 0.9])
    with torch.no_grad():
        both = flow_stage.predict(pipe.transformer, noisy, reference, t, hidden)
        with flow_stage.PlainAttention():
            plain = flow_stage.predict(pipe.transformer, noisy, reference, t, hidden)
        theirs = pipe.transformer(
            hidden_states=torch.cat([noisy, reference], 1), timestep=t, encoder_hidden_states=hidden,
            img_ids=torch.cat([
                pipe._prepare_latent_ids(torch.zeros(1, 16, 8, 8)), pipe._prepare_image_ids([torch.zeros(1, 16, 8, 8)])
            ], dim=1),
            txt_ids=pipe._prepare_text_ids(hidden), return_dict=False,
        )[0][:, :64]  # fmt: skip
    assert torch.equal(both, theirs)
    assert torch.allclose(plain, both, atol=1e-4)  # added in another order


def test_every_word_of_the_grammars_is_one_token():
    phrases = [*vocabulary(), *instruction_words()]
    words = {word for phrase in phrases for word in phrase.lower().split() if word.isalpha()}
    assert len(words) > 150 and not [word for word in words if len(TOKENIZER(f" {word}")["input_ids"]) != 1]


def test_no_text_is_cut_and_case_does_not_matter():
    described = [text for ways in captions(scenes(300, 5, "any"), 5) for text, _ in ways]
    instructed = [text for ways in instructions(edits(300, 5, "any"), 5, 4) for text, _ in ways]
    lengths = (encode(TOKENIZER, described + instructed) != TOKENIZER.pad_token_id).sum(1)
    assert 25 < int(lengths.max()) < LENGTH
    assert torch.equal(*encode(TOKENIZER, ["A Red Sphere", "a red sphere"]).split(1))


def test_what_is_saved_is_what_is_loaded(tmp_path):
    texts = [*TEXTS, "ünïcødé 東京 🎉", ""]
    assert torch.equal(encode(save_tokenizer(tmp_path), texts), encode(TOKENIZER, texts))


def test_the_checkpoint_fits_and_names_no_machine(folder):
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 12e6
    for path in folder.rglob("*.json"):
        assert "/tmp" not in path.read_text("utf-8") and "_name_or_path" not in json.loads(path.read_text("utf-8"))


def test_timesteps_are_stratified_and_mostly_early():
    torch.manual_seed(0)
    t = flow_stage.timesteps(1000)
    assert (t > 0).all() and (t < 1).all() and (t.diff() >= 0).all()
    assert 0.65 < float(t.median()) < 0.8
