"""Tools that read or write words, compared with transformers' own classes called by hand on tiny random models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import word_models
from PIL import Image

import composer
from composer.config.search_path import packaged_conf
from composer.errors import ComposerError
from composer.images.reading import read_image
from composer.loading.kept_models import clear
from composer.loading.writing import DESCRIBE, ENHANCE
from composer.testing.conformance import ToolTests
from composer.tools.mask_words import MaskWords
from composer.tools.texts import Caption, Enhance

CONF = packaged_conf() / "tool"
IMAGE = read_image("image", "sample:scene").resize((48, 40))


NAMES = ("clipseg", "owlv2", "grounding_dino", "blip", "llava", "llama")


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    folders = {name: getattr(word_models, name)(root / name) for name in NAMES}
    return {name: str(folder) for name, folder in folders.items()} | {
        "continuing": str(word_models.llama(root / "continuing", template=None))
    }


class OfModels(ToolTests):
    @pytest.fixture(autouse=True)
    def _models(self, models):
        self.models = models


class TestMaskWords(OfModels):
    option = CONF / "mask_words.yaml"

    def make(self):
        return MaskWords(source=self.models["clipseg"])


class TestMaskBoxes(OfModels):
    def make(self):
        return MaskWords(source=self.models["owlv2"], threshold=0.5, grow=1)


class TestCaption(OfModels):
    option = CONF / "caption.yaml"

    def make(self):
        return Caption(source=self.models["blip"], tokens=8)


class TestEnhance(OfModels):
    option = CONF / "enhance.yaml"

    def make(self):
        return Enhance(source=self.models["llama"], tokens=8, temperature=1.0, seed=3)


@torch.no_grad()
def test_segmentation_is_what_transformers_makes(models):
    from transformers import AutoProcessor, CLIPSegForImageSegmentation

    processor = AutoProcessor.from_pretrained(models["clipseg"])
    model = CLIPSegForImageSegmentation.from_pretrained(models["clipseg"]).eval()
    expected = np.zeros((40, 48), bool)
    for phrase in ("a cone", "a blue cube"):
        logits = model(**processor(text=[phrase], images=[IMAGE], return_tensors="pt")).logits.reshape(1, 1, 32, 32)
        large = torch.nn.functional.interpolate(logits, (40, 48), mode="bilinear")[0, 0]
        expected |= (large.sigmoid() >= 0.5).numpy()
    tool = MaskWords(source=models["clipseg"], threshold=0.5)
    mask = np.asarray(tool.run({"image": IMAGE, "prompt": "a cone, a blue cube"}, "cpu"))
    assert 0 < expected.mean() < 1 and np.mean((mask == 255) != expected) < 0.01  # two at once round differently


@pytest.mark.parametrize("name", ["owlv2", "grounding_dino"])
@torch.no_grad()
def test_boxes_are_what_transformers_finds(models, name):
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    processor = AutoProcessor.from_pretrained(models[name])
    model = AutoModelForZeroShotObjectDetection.from_pretrained(models[name]).eval()
    inputs = processor(text=[["a cone"]], images=IMAGE, return_tensors="pt")
    outputs = model(**inputs)
    threshold = float(outputs.logits.sigmoid().amax(-1).flatten().sort().values[-4])  # the best boxes
    more = {"input_ids": inputs["input_ids"], "text_threshold": threshold} if name == "grounding_dino" else {}
    (boxes,) = processor.post_process_grounded_object_detection(
        outputs, threshold=threshold, target_sizes=[(40, 48)], **more
    )
    expected = np.zeros((40, 48), bool)
    for left, top, right, bottom in boxes["boxes"].round().int().clamp(min=0).tolist():
        expected[top:bottom, left:right] = True
    mask = MaskWords(source=models[name], threshold=threshold).run({"image": IMAGE, "prompt": "A cone"}, "cpu")
    assert len(boxes["boxes"]) >= 1 and expected.any() and np.array_equal(np.asarray(mask) == 255, expected)
    nothing = MaskWords(source=models[name], threshold=1.0).run({"image": IMAGE, "prompt": "a cone"}, "cpu")
    assert not np.asarray(nothing).any()


@torch.no_grad()
def test_a_caption_is_what_transformers_writes(models):
    from transformers import AutoProcessor, BlipForConditionalGeneration

    processor = AutoProcessor.from_pretrained(models["blip"])
    model = BlipForConditionalGeneration.from_pretrained(models["blip"]).eval()
    for instruction, text in ((None, {}), ("a photo", {"text": "a photo"})):
        tokens = model.generate(**processor(images=IMAGE, return_tensors="pt", **text), max_new_tokens=8)
        expected = processor.decode(tokens[0], skip_special_tokens=True)
        tool = Caption(source=models["blip"], tokens=8, instruction=instruction)
        assert tool.run({"image": IMAGE}, "cpu") == " ".join(expected.split()) != ""


@torch.no_grad()
def test_an_instruction_is_followed_as_transformers_does(models):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(models["llava"])
    model = AutoModelForImageTextToText.from_pretrained(models["llava"]).eval()
    texts = []
    for instruction in (None, "Which colours?"):
        text = f"<image>{instruction or DESCRIBE}</s>"
        inputs = processor(images=IMAGE, text=text, return_tensors="pt")
        tokens = model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        texts.append(" ".join(processor.decode(tokens, skip_special_tokens=True).split()))
        tool = Caption(source=models["llava"], tokens=8, instruction=instruction)
        assert tool.run({"image": IMAGE}, "cpu") == texts[-1] != ""
    assert texts[0] != texts[1]


@torch.no_grad()
def test_a_prompt_is_what_transformers_writes(models):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for name, chat in (("llama", True), ("continuing", False)):
        tokenizer = AutoTokenizer.from_pretrained(models[name])
        model = AutoModelForCausalLM.from_pretrained(models[name]).eval()
        text = f"system: {ENHANCE}</s>user: a red cone</s>" if chat else "a red cone"
        inputs = tokenizer(text, return_tensors="pt", add_special_tokens=not chat)
        start = inputs["input_ids"].shape[1] if chat else 0
        for temperature, chosen in ((0.0, {"do_sample": False}), (0.8, {"do_sample": True, "temperature": 0.8})):
            torch.manual_seed(7)
            tokens = model.generate(**inputs, max_new_tokens=8, **chosen)
            expected = tokenizer.decode(tokens[0, start:], skip_special_tokens=True)
            torch.manual_seed(1)
            before = torch.get_rng_state()
            tool = Enhance(source=models[name], tokens=8, temperature=temperature, seed=7)
            assert tool.run({"prompt": "a red cone"}, "cpu") == " ".join(expected.split()) != ""
            assert torch.equal(torch.get_rng_state(), before)


def test_a_model_is_loaded_once_and_never_changed(models):
    clear()
    first, other = Enhance(source=models["llama"]), Enhance(source=models["llama"], temperature=1.0)
    loaded = first.load("cpu")[1]
    assert loaded is other.load("cpu")[1] is Enhance(source=models["llama"]).load("cpu")[1]
    before = [weight.clone() for weight in loaded.parameters()], loaded.generation_config.to_dict()
    texts = [tool.run({"prompt": "a cube"}, "cpu") for tool in (first, other, first)]
    assert texts[0] == texts[2] != texts[1] and before[1] == loaded.generation_config.to_dict()
    assert all(map(torch.equal, before[0], loaded.parameters()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda models: Caption(source=models["llama"]), r"tool\.source=.*is a LlamaForCausalLM, which it can't use"),
        (lambda models: Enhance(source=models["clipseg"]), r"tool\.source=.*is a CLIPSegForImageSegmentation"),
        (lambda models: MaskWords(), r"tool\.source: a model is needed.*CIDAS/clipseg"),
        (
            lambda models: Enhance(source=models["continuing"], instruction="Rhyme."),
            r"tool\.instruction=Rhyme\.: is for models with a chat template",
        ),
    ],
)
def test_what_has_no_effect_is_refused_before_a_run(models, make, message):
    with pytest.raises(ComposerError, match=message):
        make(models).check()


def test_words_go_from_step_to_step(models, tmp_path):
    """A caption becomes a prompt, and the words of a mask; a check knows all of it before a step runs."""
    size = "height: 64, width: 64, steps: 2"
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "words.yaml").write_text(
        f"# Words.\nsteps:\n  base: {{task: text2img, {size}}}\n"
        f"  words: {{tool: caption, image: 'step:base', tokens: 6, source: '{models['blip']}'}}\n"
        f"  more: {{tool: enhance, prompt: 'step:words', tokens: 6, source: '{models['llama']}'}}\n"
        f"  marked: {{tool: mask_words, image: 'step:base', prompt: 'step:more', threshold: 0.5,"
        f" source: '{models['clipseg']}'}}\n"
        f"  last: {{task: text2img, prompt: 'step:more', {size}}}\n"
    )
    words = ("recipe=words", "recipe.reuse=false")
    assert composer.check(*words, config_dir=str(tmp_path)) == ()  # nor is a note about words that are not there yet
    result = composer.compose(*words, config_dir=str(tmp_path))
    texts = {name: result.steps[name].texts[0] for name in ("words", "more")}
    assert texts["words"] == Caption(source=models["blip"], tokens=6).run({"image": result.steps["base"].image}, "cpu")
    assert texts["more"] == Enhance(source=models["llama"], tokens=6).run({"prompt": texts["words"]}, "cpu")
    assert result.record["images"][0]["prompt"] == texts["more"] and isinstance(
        result.steps["marked"].image, Image.Image
    )
    for word, message in (
        ("more.prompt=null", r"more\.prompt: a text is needed"),
        ("more.prompt=step:base", r"more\.prompt=step:base: that step makes images, and this takes texts"),
        ("marked.image=step:words", r"marked\.image=step:words: that step makes texts, and this takes images"),
    ):
        with pytest.raises(ComposerError, match=message):
            composer.check(*words, word, config_dir=str(tmp_path))
