from __future__ import annotations

import pytest

from composer import StepCallback
from composer.errors import ComposerError
from composer.spec import Target
from composer.targets import build, resolve

HOSTILE = (
    "os.system", "builtins.eval", "builtins.exec", "builtins.__import__", "pathlib.Path.write_text", "subprocess.run", "runpy.run_path",
    "pickle.loads", "torch.load", "torch.hub.load", "numpy.load", "shutil.rmtree", "functools.partial", "operator.methodcaller",
    "logging.config.dictConfig", "composer.record.os.system", "composer.cli.main", "composer.cli.Path", "diffusers.utils.os.system",
    "diffusers.DiffusionPipeline.from_pretrained", "composer.nowhere.X", "x", "",
)  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE)
def test_only_classes_of_our_packages_are_resolved(path):
    with pytest.raises(ComposerError, match="_target_="):
        resolve("callbacks.x", Target(path=path), StepCallback)


def test_the_kind_counts():
    with pytest.raises(ComposerError, match="is not a StepCallback"):
        resolve("callbacks.x", Target(path="diffusers.DDIMScheduler"), StepCallback)


def test_a_misspelt_keyword_gets_a_suggestion():
    from composer.guidance import Guidance

    with pytest.raises(ComposerError, match=r"guidance\.scael=3: there is no such setting\. Did you mean scale"):
        build("guidance", Target(path="composer.guidance.ClassifierFree", keywords={"scael": 3}), Guidance)
