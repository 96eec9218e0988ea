"""Every option of accel and memory on every family: it runs, or is refused by name before weights load, and `check`
says the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from option_matrix import FAMILIES, OPTIONS, line, plain, row, run, settings, verdict
from tiers import slow_but

from composer.errors import ComposerError

pytestmark = pytest.mark.usefixtures("one_thread")
PAGE = Path(__file__).resolve().parents[2] / "docs/quality/options.md"
#: Compiling takes minutes; `accel/test_compile.py` does it.
CELLS = [(family, group, name) for family in FAMILIES for group, name in OPTIONS if name != "compile"]
#: How far pixels may be from those without the option, of 255: additions are done in another order. The others compute
#: less, in fewer bits, or in tiles whose seams are blended.
NEAR = ("attention", "channels_last", "fused_qkv", "attention_slicing", "vae_slicing")


@pytest.mark.parametrize(("family", "group", "name"), slow_but([("ltx", "accel", "fused_qkv")], CELLS))
def test_an_option_runs_or_is_refused_in_the_words_of_check(family, group, name):
    refusal = verdict(family, group, name)
    if refusal:
        with pytest.raises(ComposerError) as caught:
            run(family, group, name)
        assert str(caught.value) == refusal and refusal.startswith((f"{group}={name}", f"{group}.{name}"))
        return
    sizes = tuple(word for word in settings(family, name) if "." not in word)  # sizes, which the plain run has too
    before = plain(family, sizes)
    pixels = run(family, group, name)
    assert pixels.shape == before.shape
    if name in NEAR:
        assert np.abs(pixels - before).max() <= 1
    plain.cache_clear()
    assert np.array_equal(plain(family, sizes), before), "it left something behind"


@pytest.mark.parametrize("family", slow_but([], FAMILIES))
def test_the_published_table_is_what_check_says(family):
    assert line(family, row(family)) in PAGE.read_text("utf-8")
