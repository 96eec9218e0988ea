"""Every callback of composer's, and the three of plugins/, on every family: it runs, or is refused by name before
weights load.
"""

from __future__ import annotations

import pytest
from callback_matrix import BUILT_IN, FAMILIES, PLUGINS, RUNS, outcomes
from tiers import slow_but

#: Callback → families that are refused, by what the refusal says.
REFUSED = {
    "prompt_switch": {"ddpm": "needs encode, and ddpm takes no prompt"},
    "regional_prompt": {"ddpm": "needs encode, and ddpm takes no prompt"},
    "attention_maps": {family: "is for other models than" for family in FAMILIES if family not in ("sd", "sdxl")},
    "metrics_logger": {},
}
CLIPS = [family for family, (_, words) in FAMILIES.items() if any("2video" in word for word in words)]
for _name in PLUGINS:
    REFUSED[_name] |= dict.fromkeys(CLIPS, "works on images (its `media`), and ")


@pytest.mark.parametrize("family", slow_but(["ltx image2video"], FAMILIES))
def test_a_callback_runs_or_is_refused_by_name(family, tmp_path):
    results = outcomes(family, tmp_path / "run")
    assert results.keys() == {*BUILT_IN, *PLUGINS}
    for callback, line in results.items():
        expected = REFUSED.get(callback, {}).get(family)
        if expected is None:
            assert line == RUNS, (callback, line)
        else:
            assert line.startswith("callbacks.") and expected in line, (callback, line)
