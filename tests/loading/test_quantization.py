"""Weights quantised by the libraries that diffusers calls. Skipped where torchao or optimum-quanto are not
installed.
"""

from __future__ import annotations

import numpy as np
import pytest

import composer
from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.loading.precision import DtypePlan
from composer.loading.quantization import STORAGES, _is_installed
from composer.pipelines.build import build_pipeline
from composer.testing.conformance import same

pytestmark = pytest.mark.usefixtures("one_thread")
FEW = ("steps=4", "callbacks=[]")
#: Weights that change are rounded to one of 255 values a row.
MEAN = 3.0


@pytest.mark.parametrize("storage", ["torchao_int8", "quanto_int8"])
def test_images_are_close_and_the_next_run_is_as_before(storage):
    if not _is_installed(STORAGES[storage].package):
        pytest.skip(f"{STORAGES[storage].package} is not installed")
    plain, eight = composer.compose(*FEW), composer.compose(*FEW, f"precision={storage}")
    assert 0 < np.abs(np.asarray(plain.image, int) - np.asarray(eight.image, int)).mean() < MEAN
    assert same(composer.compose(*FEW), plain) and same(composer.compose(*FEW, f"precision={storage}"), eight)
    held = build_pipeline(check(read(compose_config([*FEW, f"precision={storage}"]))))
    kinds = {type(weight).__name__ for weight in held.family.denoiser.parameters()}
    assert kinds & {"Int8Tensor", "AffineQuantizedTensor", "WeightQBytesTensor"}, kinds


@pytest.mark.parametrize("storage", [name for name, value in STORAGES.items() if value.package])
def test_what_is_missing_is_named_before_weights_load(compose, storage):
    if _is_installed(STORAGES[storage].package) and STORAGES[storage].devices is None:
        pytest.skip("it is installed")
    done = compose(f"precision={storage}", *FEW)
    assert done.code == 2 and done.err.startswith(f"compose: precision.storage={storage}: ")
    assert "pip install 'diffusion-composer[" in done.err or "works on cuda alone, not on cpu" in done.err


def test_a_single_file_is_refused(monkeypatch):
    import torch

    from composer.errors import ComposerError
    from composer.loading import quantization

    monkeypatch.setattr(quantization, "_is_installed", lambda package: True)
    with pytest.raises(ComposerError, match="needs a checkpoint's folder"):
        quantization.check_storage("torchao_int8", torch.device("cpu"), single_file=True)
    quantization.check_storage("fp8", torch.device("cpu"), single_file=True)


def test_sizes_are_those_of_the_storage():
    import torch

    dtypes = DtypePlan(torch.bfloat16, stored=(("unet", "bnb_nf4"),))
    assert dtypes.size("unet") == 0.5 and dtypes.size("vae") == 2
