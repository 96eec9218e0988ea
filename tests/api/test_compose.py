from __future__ import annotations

import pytest
from hydra.core.global_hydra import GlobalHydra

import composer
from composer.config.compose import compose_config
from composer.config.python_values import overrides_of


def test_values_are_python_and_text_is_text(checkpoints):
    result = composer.compose(
        "model=local",
        f"model.source={checkpoints['sd']}",
        "callbacks=[]",
        prompt="a cat, ${x} 'sitting'",
        negative_prompt=None,
        seed=7,
        steps=2,
        guidance=2.5,
    )
    assert result.seeds == (7,) and result.image.size == (64, 64)
    assert result.record["images"] == [{"seed": 7, "prompt": "a cat, ${x} 'sitting'", "negative_prompt": None}]
    assert result.record["guidance"] == {"class": "ClassifierFree", "scale": 2.5, "rescale": 0.0, "embedded": 1.0}


def test_a_list_of_prompts_is_one_batch(checkpoints):
    result = composer.compose(
        "model=local", f"model.source={checkpoints['sd']}", prompt=["a, b", "@c", "null"], steps=1, images=2
    )
    assert [image["prompt"] for image in result.record["images"]] == ["a, b", "a, b", "@c", "@c", "null", "null"]
    assert result.seeds == (0, 1, 2, 3, 4, 5) and result.grid.size == (64 * 3 + 4, 64 * 2 + 2)


def test_nothing_is_written(tmp_path, monkeypatch, checkpoints):
    monkeypatch.chdir(tmp_path)
    result = composer.compose("model=local", f"model.source={checkpoints['sd']}", steps=1)
    assert not list(tmp_path.iterdir())
    assert [path.name for path in result.save("out")] == ["000.png"]


def test_a_refusal_is_one_exception(checkpoints):
    with pytest.raises(composer.ComposerError, match=r"stepz=3: there is no such key\. Did you mean steps"):
        composer.compose("stepz=3")


def test_someone_else_s_hydra_is_left_as_it_was():
    import hydra

    with hydra.initialize(config_path=None, version_base="1.3"):
        theirs = GlobalHydra.instance().hydra
        compose_config([])
        assert GlobalHydra.instance().hydra is theirs


def test_the_scheduler_is_fresh_and_from_the_checkpoint_every_time(checkpoints):
    """Swapping through another scheduler must not leak its settings."""
    common = ["model=local", f"model.source={checkpoints['sd']}", "callbacks=[]"]
    first = composer.compose(*common, "scheduler=ddim", steps=3)
    composer.compose(*common, "scheduler=dpmpp_2m_sde", "scheduler.timestep_spacing=trailing", steps=3)
    again = composer.compose(*common, "scheduler=ddim", steps=3)
    assert first.image.tobytes() == again.image.tobytes() and first.record["scheduler"] == again.record["scheduler"]


def test_images_can_be_given_as_they_are(tmp_path):
    first = composer.compose("callbacks=[]", steps=2).image
    from_python = composer.compose("task=img2img", "callbacks=[]", image=first, steps=4, strength=0.5)
    assert from_python.image.size == first.size
    assert from_python.record["config"]["image"] == "(an image given from Python as image)"
    first.save(tmp_path / "a.png")
    from_file = composer.compose("task=img2img", "callbacks=[]", image=tmp_path / "a.png", steps=4, strength=0.5)
    assert from_file.image.tobytes() == from_python.image.tobytes()
    two = composer.compose(
        "task=img2img", "callbacks=[]", image=[first, first], prompt=["a", "b"], steps=4, strength=0.5
    )
    assert len(two.images) == 2


@pytest.mark.parametrize(
    ("words", "values", "message"),
    [
        (["guidance=6.0", "stpes=3"], {}, "stpes=3: there is no such key. Did you mean steps"),
        (["guidance=6.0"], {"stpes": 3}, "stpes=3: there is no such key. Did you mean steps"),
        (["prompt=a, (b)", "stpes=3"], {}, "stpes=3: there is no such key."),
        (["scheduler=eulr", "guidance=3"], {}, "scheduler=eulr: there is no such option."),
        (["+scheduler=euler"], {}, "scheduler=euler: is chosen without a +"),
        ([], {"guidance": {"scal": 3}}, "guidance.scal=3: there is no such key"),
        ([], {"model": {"components": [{"a": 1}]}}, "model.components={'a': 1}: settings in a list"),
        (["hydra.callbacks.a=1"], {}, "hydra.callbacks.a=1: Hydra's callbacks are not called here"),
    ],
    ids=str,
)
def test_command_and_call_refuse_in_the_same_words(compose, words, values, message):
    with pytest.raises(composer.ComposerError) as caught:
        composer.compose(*words, **values)
    assert str(caught.value).startswith(message)
    if not values:
        assert compose(*words).err == f"compose: {caught.value}\n"


def test_settings_by_their_names_are_taken():
    config = compose_config(
        [*overrides_of({"guidance": {"scale": 3}, "model": {"components": {}}, "scheduler": "euler"})]
    )
    assert config.guidance.scale == 3 and config.chosen.scheduler == "euler"
