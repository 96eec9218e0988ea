"""composer's own guidance passes the kit, and each of its tests fails a guidance that it is there for."""

from __future__ import annotations

from pathlib import Path

import pytest

from composer.sampling.guidance import ClassifierFree, Guidance, Interval, Unguided
from composer.testing.conformance import GuidanceTests

pytestmark = pytest.mark.usefixtures("one_thread")
CONF = Path(__file__).resolve().parents[2] / "conf" / "guidance"


class TestClassifierFree(GuidanceTests):
    families = ("sd", "sd3")
    option = CONF / "cfg.yaml"

    def make(self):
        return ClassifierFree(4.0)


class TestUnguided(GuidanceTests):
    option = CONF / "none.yaml"

    def make(self):
        return Unguided()


@pytest.mark.slow
class TestInterval(GuidanceTests):
    option = CONF / "interval.yaml"

    def make(self):
        return Interval(4.0, first=0.3)


class Remembers(ClassifierFree):
    count = 0

    def __call__(self, step, branches):
        type(self).count += 1
        return super().__call__(step, branches) * (1 + self.count / 50)


class Overwrites(ClassifierFree):
    def __call__(self, step, branches):
        return branches.positive.mul_(1.1)


class Mixes(ClassifierFree):
    def __call__(self, step, branches):
        guided = super().__call__(step, branches)
        return guided - 0.5 * guided.mean(dim=0, keepdim=True)


class Silent(Guidance):
    do_classifier_free_guidance = True


class Smaller(Guidance):
    def __call__(self, step, branches):
        return branches.positive[..., :-1]


@pytest.mark.parametrize(
    ("cls", "test"),
    [
        (Remembers, "test_it_runs_and_repeats"),
        (Mixes, "test_images_of_a_batch_are_those_of_single_runs"),
        (Silent, "test_negative_prompts_count_where_it_needs_them"),
        (Overwrites, "test_it_combines_predictions_of_a_step"),
        (Unguided, "test_the_option_file_has_settings_of_the_constructor"),
    ],
)
def test_faulty_guidance_is_found(cls, test):
    kit = type("Kit", (TestClassifierFree,), {"families": ("sd",), "make": lambda self: cls()})()
    with pytest.raises(AssertionError):
        getattr(kit, test)()
