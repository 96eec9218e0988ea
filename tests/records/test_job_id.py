"""Ids of jobs stay what they were, so that sweeps that were begun by an older composer go on."""

from __future__ import annotations

import pytest

from composer.checks.compatibility import check
from composer.config.compose import compose_config
from composer.config.read import read
from composer.records.job_id import job_id

#: Job → its id. Where a default was changed, the former value is typed; keys that came later do what was done before.
IDS = {
    "prompt=x": "f4795c3d545ccc95fe1205fafe2e2946",
    "task=img2img prompt=x": "aac287786eb643e6387281dd3cc9176a",
    "task=inpaint prompt=x": "ec12a99299027aba2299229e9b0ed222",
    "task=depth2img prompt=x": "86bcbfe6ba95dbf8f469a270af1a56d5",
    "task=upscale prompt=x": "c7959a48ec4ac1a67ca1af2c7b84d4e1",
    "task=outpaint prompt=x guidance.scale=5 match_tones=false": "a92220cc436c996be630f779cf62346a",
    "task=variations strength=0.6": "297df6b7811360d2926f3fcbab6b4a3a",
    "task=unconditional model.variants.unconditional.source=embedded:unconditional": "ed9d7456570078518db7c2fa8d104487",
}


@pytest.mark.parametrize("words", IDS)
def test_an_id_is_what_it_was(words):
    assert job_id(check(read(compose_config(words.split())))) == IDS[words]
