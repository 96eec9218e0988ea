"""A family is as it was made: neither a run nor a callback leaves anything there that another could find."""

from __future__ import annotations

import pytest

from composer import StepCallback, compose
from composer.checkpoints.find import find_checkpoint
from composer.config.spec import ModelSpec
from composer.families.lookup import family_class
from composer.testing import pipelines
from composer.testing.runs import SIZES, tiny

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ("upcast", "chunked", "device", "settings", "pipe", "anything")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", SIZES)
def test_nothing_can_be_set_on_a_family(checkpoints, family, name):
    built = family_class(find_checkpoint(ModelSpec(name="local", source=str(checkpoints[family]))))(tiny(family))
    before = dict(vars(built))
    with pytest.raises(AttributeError, match=f"{name} can't be set"):
        setattr(built, name, True)
    with pytest.raises(AttributeError):
        delattr(built, name)
    assert vars(built) == before


class DecodesOne(StepCallback):
    """Decodes the first latents of the batch alone, when all images are there."""

    def before_step(self, step) -> None:
        self.latents = step.latents

    def after_decode(self, run, images) -> None:
        assert len(run.decode(self.latents[:1])) == 1


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A checkpoint whose safety checker flags whatever it sees."""
    pipe = pipelines.sd(safety_checker=True)
    pipe.safety_checker.concept_embeds_weights.data.fill_(-2)
    folder = tmp_path_factory.mktemp("guarded")
    pipe.save_pretrained(folder)
    return [f"model.source={folder}", "model=local", "steps=2", "images=2", "callbacks=[]"]


@pytest.mark.parametrize("family", ["auto", "hosted"])
def test_flagged_images_are_named_by_both_pipelines(guarded, family):
    assert compose(*guarded, f"model.family={family}").flagged == (0, 1)


def test_flags_are_of_the_run_and_not_of_a_callback(guarded):
    assert compose(*guarded[:-1], callbacks=[DecodesOne()]).flagged == (0, 1)
