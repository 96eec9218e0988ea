"""Every moment on every pipeline class of the zoo; `python tests/pipelines/hosted/breadth.py` prints the table."""

from __future__ import annotations

import pytest
from pipelines.hosted.breadth import EDITS, survey
from zoo import ZOO

from composer import ComposerError

#: Of these, one of each kind is surveyed for each merge.
REPRESENTATIVE = ("sd_inpaint", "klein_references", "zimage", "sana_sprint", "kandinsky22_combined")
#: Those whose latents are numbers of tokens.
INTEGERS = ("amused",)
#: Those that step copies of their scheduler.
COPYING = ("skyreels_forcing",)


def entries():
    for name, entry in ZOO.items():
        if name in COPYING:
            continue
        marks = [] if name in REPRESENTATIVE else [pytest.mark.slow]
        marks += [] if entry.available else [pytest.mark.skip(reason=f"needs {entry.needs}")]
        yield pytest.param(name, marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize("name", COPYING)
def test_pipelines_that_step_with_copies_of_their_scheduler_are_refused(name):
    with pytest.raises(ComposerError, match="steps with copies of its scheduler, which callbacks can't follow"):
        survey(ZOO[name])


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", entries())
def test_callbacks_on(name):
    seen = survey(ZOO[name])
    assert seen.looking, "a run with callbacks that only look gives another result than a plain call"
    assert seen.callback in (True, None), "after_step gets other latents than diffusers' own callback"
    assert seen.afterwards, "a plain call gives another result than before"
    for effect in (*(seen.edits[edit] for edit in EDITS), seen.guidance, seen.stop, seen.decode_last):
        assert effect is True or isinstance(effect, str), f"neither an effect nor a refusal: {seen}"
    integers = name in INTEGERS
    assert (seen.edits["after_step"] is True) is not integers and (seen.decode_last is True or integers)
    assert seen.findings.stages
