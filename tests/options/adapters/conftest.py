from __future__ import annotations

import control_models as control
import pytest
from lora_models import Model

from composer.options.lifecycle import clear_models


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root, written = tmp_path_factory.mktemp("lora"), {}

    def model(family: str) -> Model:
        if family not in written:
            written[family] = Model(family, root)
        return written[family]

    yield model
    clear_models()


@pytest.fixture(scope="module")
def control_models(tmp_path_factory):
    root, written = tmp_path_factory.mktemp("control"), {}

    def model(kind: str) -> control.Model:
        if kind not in written:
            written[kind] = control.Model(kind, root)
        return written[kind]

    yield model
    clear_models()
