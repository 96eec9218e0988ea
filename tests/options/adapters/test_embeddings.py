"""Textual inversion is what diffusers makes of it, bit for bit, in every format, and leaves nothing behind."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiers import slow_but

from composer import compose
from composer.errors import ComposerError
from composer.testing import pipelines

pytestmark = pytest.mark.usefixtures("one_thread")
WIDTH, TOKEN = 32, "<ink>"
ENCODERS = {"sd": ("text_encoder",), "sdxl": ("text_encoder", "text_encoder_2")}
TOKENIZERS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}
KEYS = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}


def vectors(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def pair(count: int) -> dict[str, torch.Tensor]:
    return {"text_encoder": vectors(count, 1), "text_encoder_2": vectors(count, 2)}


#: Format → suffix, and what is saved for some vectors.
FORMATS = {
    "diffusers": (".safetensors", lambda of: {TOKEN: of}),
    "diffusers-1d": (".safetensors", lambda of: {TOKEN: of[0]}),
    "diffusers-bin": (".bin", lambda of: {TOKEN: of}),
    "a1111-safetensors": (".safetensors", lambda of: {"emb_params": of}),
    "a1111": (".pt", lambda of: {"string_to_token": {"*": 265}, "string_to_param": {"*": of}, "name": TOKEN, "step": 9,
                                 "sd_checkpoint": None, "sd_checkpoint_name": None}),
    "tensor": (".pt", lambda of: of),
}  # fmt: skip


def saved(path: Path, content: Any) -> Path:
    save_file(content, path) if path.suffix == ".safetensors" else torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("embeddings")
    written: dict[str, Path] = {}
    return lambda family: written.setdefault(family, pipelines.save(family, root / family))


def words(folder: Path, prompt: str, *more: str) -> list[str]:
    size = ["height=64", "width=64", "steps=2", "seed=7", "callbacks=[]"]
    return ["model=local", f"model.source={folder}", f"prompt={prompt}", *size, *more]


def image(folder: Path, prompt: str, *more: str) -> bytes:
    return compose(*words(folder, prompt, *more)).images[0].tobytes()


def classic(family: str, folder: Path, prompt: str, *loads: tuple[dict[str, torch.Tensor], str], **more: Any) -> bytes:
    """diffusers' own calls: each encoder gets its vectors."""
    pipe = type(pipelines.MAKERS[family]()).from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    for of, token in loads:
        for encoder in ENCODERS[family]:
            given = {"text_encoder": getattr(pipe, encoder), "tokenizer": getattr(pipe, TOKENIZERS[encoder])}
            pipe.load_textual_inversion({token: of[encoder]}, token=token, **given)
    generator = torch.Generator().manual_seed(7)
    return pipe(prompt, num_inference_steps=2, height=64, width=64, generator=generator, **more).images[0].tobytes()


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", slow_but(["diffusers", "a1111"], FORMATS))
def test_it_equals_diffusers_in_each_format(source, tmp_path, name, count):
    if name == "diffusers-1d" and count > 1:
        return
    suffix, content = FORMATS[name]
    file = saved(tmp_path / f"ink{suffix}", content(vectors(count)))
    token = TOKEN if name not in ("a1111-safetensors", "tensor") else "ink"
    prompt = f"a cat, {token}, red"
    before = image(source("sd"), prompt)
    ours = image(source("sd"), prompt, f"embedding={file}")
    assert ours == classic("sd", source("sd"), prompt, ({"text_encoder": vectors(count)}, token)) != before
    assert image(source("sd"), prompt) == before


@pytest.mark.parametrize("count", slow_but([2], [1, 2]))
def test_sdxl_has_vectors_for_both_encoders(source, tmp_path, count):
    file = saved(tmp_path / "ink.safetensors", {KEYS[encoder]: of for encoder, of in pair(count).items()})
    prompt = "ink, a cat"
    before = image(source("sdxl"), prompt)
    ours = image(source("sdxl"), prompt, f"embedding={file}")
    assert ours == classic("sdxl", source("sdxl"), prompt, (pair(count), "ink")) != before
    assert image(source("sdxl"), prompt) == before


def test_several_files_and_words_of_one_s_own(source, tmp_path):
    one = saved(tmp_path / "one.safetensors", {TOKEN: vectors(2)})
    two = saved(tmp_path / "two.pt", vectors(1, 5))
    prompt, negative = "a cat, <ink> <dusk>", "<dusk> blurry"
    ours = image(source("sd"), prompt, f"embedding={one}", f"embedding.b={two}", "embedding.b.word=<dusk>",
                 f"negative_prompt={negative}")  # fmt: skip
    loads = [({"text_encoder": vectors(2)}, TOKEN), ({"text_encoder": vectors(1, 5)}, "<dusk>")]
    assert ours == classic("sd", source("sd"), prompt, *loads, negative_prompt=negative)


def test_models_and_tokenizers_are_as_before_to_the_bit(source, tmp_path):
    from composer.checks.compatibility import check
    from composer.config.compose import compose_config
    from composer.config.read import read
    from composer.options.lifecycle import remove_options
    from composer.pipelines.build import build_pipeline

    file = saved(tmp_path / "ink.safetensors", {KEYS[encoder]: of for encoder, of in pair(3).items()})
    checked = check(read(compose_config(words(source("sdxl"), "ink", f"embedding={file}"))))
    pipeline = build_pipeline(checked)
    remove_options()
    before, config = state(pipeline.family.pipe), dict(pipeline.family.pipe.config)
    pipeline(checked.request)
    changed = state(pipeline.family.pipe)
    remove_options()
    after = state(pipeline.family.pipe)
    assert changed.keys() == before.keys() == after.keys() and dict(pipeline.family.pipe.config) == config
    assert sum(changed[key][0] is not before[key][0] for key in before) == 4  # two tables and two tokenizers
    for key, (thing, content) in before.items():
        assert after[key][0] is thing
        same = torch.equal(content, after[key][1]) if isinstance(content, torch.Tensor) else content == after[key][1]
        assert same, key


def state(pipe: Any) -> dict[str, tuple[Any, Any]]:
    """Every weight and its values, and every tokenizer and all of it as text."""
    entries = {}
    for name, component in pipe.components.items():
        if isinstance(component, torch.nn.Module):
            entries |= {
                f"{name}.{path}": (weight, weight.detach().clone()) for path, weight in component.named_parameters()
            }
            entries[f"{name}.config"] = (component.config, str(component.config))
        elif name.startswith("tokenizer"):
            entries[name] = (component, component.backend_tokenizer.to_str())
    return entries


def test_a_word_is_matched_in_full_and_in_any_case(source, tmp_path):
    """A word of letters is not found within a longer one, where diffusers would find it."""
    file = saved(tmp_path / "ink.pt", vectors(2))
    given = [f"embedding={file}"]
    assert image(source("sd"), "drinking, inky", *given) == image(source("sd"), "drinking, inky")
    assert image(source("sd"), "a cat, Ink", *given) == image(source("sd"), "a cat, ink", *given)


def test_weights_and_long_prompts_see_the_word_as_typed(source, tmp_path):
    file = saved(tmp_path / "ink.safetensors", {TOKEN: vectors(3)})
    plain = image(source("sd"), f"a cat, {TOKEN}", f"embedding={file}")
    weighted = [f"embedding={file}", "prompt_syntax=weights"]
    assert image(source("sd"), f"a cat, ({TOKEN}:1)", *weighted) == plain
    moved = image(source("sd"), f"a cat, ({TOKEN}:1.5)", *weighted)
    assert moved not in (plain, image(source("sd"), f"(a cat,:1.5) {TOKEN}", *weighted))
    # 3 vectors each: 30 words are 90 positions and more, which take two windows
    result = compose(*words(source("sd"), " ".join([TOKEN] * 30), f"embedding={file}"))
    assert any("15 are not" in note for note in result.notes), result.notes
    chunked = [f"embedding={file}", "prompt_overflow=chunk"]
    assert image(source("sd"), " ".join([TOKEN] * 30), *chunked) != image(
        source("sd"), " ".join([TOKEN] * 25), *chunked
    )


REFUSED = {
    "another width": (".safetensors", {TOKEN: torch.zeros(1, 48)}, "sd",
        "have 48 channels, and those of text_encoder 32"),
    "one encoder of two": (".safetensors", {TOKEN: torch.zeros(1, 32)}, "sdxl",
        "has vectors for one text encoder (32), and"),
    "two encoders of one": (".safetensors", {"clip_l": torch.zeros(1, 32), "clip_g": torch.zeros(1, 32)}, "sd",
        "for another model"),
    "other numbers": (".safetensors", {"clip_l": torch.zeros(1, 32), "clip_g": torch.zeros(2, 32)}, "sdxl",
        "a different number of vectors"),
    "a LoRA": (".safetensors", {"a.lora_A.weight": torch.zeros(2, 3), "a.lora_B.weight": torch.zeros(3, 2)}, "sd",
        "holds no vectors"),
    "a known word": (".safetensors", {"a": torch.zeros(1, 32)}, "sd", "is a token that the model knows already"),
    "spaces": (".safetensors", {"two words": torch.zeros(1, 32)}, "sd", "has spaces"),
    "no tensors": (".pt", {"name": "x"}, "sd", "holds no vectors"),
    "none": (".bin", {TOKEN: torch.zeros(0, 32)}, "sd", "holds no vectors"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_read_is_refused_before_weights_load(source, tmp_path, monkeypatch, name):
    suffix, content, family, reason = REFUSED[name]
    file = saved(tmp_path / f"ink{suffix}", content)
    refuse(monkeypatch, source(family), f"embedding.x={file}", "embedding.x", reason)


def refuse(monkeypatch, folder: Path, word: str, key: str, reason: str) -> None:
    monkeypatch.setattr("composer.pipelines.build.load", None)  # calling it would be another error
    with pytest.raises(ComposerError) as error:
        compose(*words(folder, f"a {TOKEN}", word))
    assert error.value.key.startswith(key) and reason in error.value.reason, error.value


class Hostile:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


@pytest.mark.parametrize("kind", ["code", "cut", "no pickle", "other suffix"])
def test_a_hostile_or_damaged_file_runs_nothing(source, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ("ink.txt" if kind == "other suffix" else "ink.pt")
    torch.save({TOKEN: vectors(1)}, file)
    content = {"code": pickle.dumps(Hostile()), "cut": file.read_bytes()[:-200], "no pickle": b"hello"}
    file.write_bytes(content.get(kind, file.read_bytes()))
    reason = {"code": "only running its code would read", "cut": "damaged", "no pickle": "damaged"}
    refuse(monkeypatch, source("sd"), f"embedding={file}", "embedding", reason.get(kind, "an embedding is a"))
    assert not (tmp_path / "executed").exists()


def test_settings_are_refused_by_name(source, tmp_path, monkeypatch):
    file = saved(tmp_path / "ink.safetensors", {TOKEN: vectors(1)})
    refuse(monkeypatch, source("sd"), "embedding.wrd=<x>", "embedding.wrd", "Did you mean word?")
    refuse(monkeypatch, source("sd"), "embedding.word=<x>", "embedding.word", "name its file")
    refuse(monkeypatch, source("sd"), "embedding=missing/file.pt", "embedding", "")
    with pytest.raises(ComposerError, match="two embeddings have this word"):
        compose(*words(source("sd"), "x", f"embedding.a={file}", f"embedding.b={file}"))


def test_an_unused_word_gets_one_note_and_the_record_knows_the_content(source, tmp_path):
    file = saved(tmp_path / "ink.safetensors", {TOKEN: vectors(2)})
    result = compose(*words(source("sd"), "a cat", f"embedding={file}"))
    assert [note for note in result.notes if "embedding" in note] == [
        "embedding: <ink> is in no prompt, so its file does nothing"
    ]
    recorded = result.record["embedding"]["embedding"]
    assert (recorded["word"], recorded["vectors"], len(recorded["sha256"])) == (TOKEN, 2, 64)
    assert not [note for note in compose(*words(source("sd"), TOKEN, f"embedding={file}")).notes if "embedding" in note]


def test_a_sweep_and_a_rerun(source, tmp_path, compose):
    one, two = (saved(tmp_path / f"{name}.safetensors", {TOKEN: vectors(1, seed)}) for seed, name in enumerate("ab"))
    typed = [word for word in words(source("sd"), f"a {TOKEN}") if not word.startswith("callbacks")]
    done = compose("-m", *typed, f"embedding=null,{one},{two}", "output.folder=out")
    assert done.code == 0, done.err
    images = sorted((tmp_path / "out").rglob("*.png"))
    pixels = {path.read_bytes() for path in images if path.stem == "000"}
    assert len(pixels) == 3
    again = compose("rerun", str(sorted((tmp_path / "out").rglob("000.png"))[-1]), "--trust")
    assert again.code == 0 and "bit for bit" in again.out + again.err, (again.out, again.err)
