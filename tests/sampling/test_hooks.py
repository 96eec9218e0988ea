"""The order of calls, what becomes of a hostile callback, and what is refused before anything is loaded."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import pytest
import torch
from PIL import Image

import composer
from composer import StepCallback, StopDenoising
from composer.callbacks.progress import Progress
from composer.checks.compatibility import check
from composer.checks.requirements import check_requirements
from composer.cli.single_run import finished
from composer.config.compose import compose_config
from composer.config.read import read
from composer.errors import CallbackError, ComposerError, LeftBehind
from composer.pipelines.build import build_pipeline
from composer.testing.conformance import same
from composer.testing.runs import run

pytestmark = pytest.mark.usefixtures("one_thread")


class Diary(StepCallback):
    """Writes down every call."""

    def __init__(self, name: str, pages: list[str], stop_at: int | None = None) -> None:
        self.name, self.pages, self.stop_at = name, pages, stop_at

    def note(self, moment: str, *where) -> None:
        self.pages.append(" ".join(map(str, (self.name, moment, *where))))

    @contextmanager
    def around(self, run):
        self.note("enters")
        yield
        self.note("leaves")

    def before_step(self, step):
        self.note("before", step.index)

    def after_predict(self, step, prediction):
        self.note("predicted", step.index)

    def after_step(self, step, latents):
        self.note("stepped", step.index)
        if step.index == self.stop_at:
            raise StopDenoising

    def after_decode(self, run, images):
        self.note("decoded")


def expected(names: str, iterations: int, stopped_by: str | None = None) -> list[str]:
    """The complete list; the callback that stops the last iteration keeps the later ones from its `stepped`."""
    pages = [f"{name} enters" for name in names]
    for index in range(iterations):
        for moment in ("before", "predicted", "stepped"):
            reached = names
            if moment == "stepped" and stopped_by and index == iterations - 1:
                reached = names[: names.index(stopped_by) + 1]
            pages += [f"{name} {moment} {index}" for name in reached]
    return [*pages, *(f"{name} decoded" for name in names), *(f"{name} leaves" for name in reversed(names))]


@pytest.mark.parametrize("names", ["a", "ab"])
@pytest.mark.parametrize(
    ("family", "task", "heun", "iterations"),
    [
        ("sd", "text2img", False, 4),
        ("sd", "inpaint", False, 2),
        ("ddpm", "unconditional", False, 4),
        ("sd", "text2img", True, 7),
    ],
)
def test_the_order_of_all_calls(family, task, heun, iterations, names):
    pages: list[str] = []
    run(family, {name: Diary(name, pages) for name in names}, task=task, heun=heun)
    assert pages == expected(names, iterations)


@pytest.mark.parametrize("stopper", ["a", "b"])
def test_the_order_of_all_calls_with_an_early_stop(stopper):
    pages: list[str] = []
    run("sd", {name: Diary(name, pages, stop_at=1 if name == stopper else None) for name in "ab"})
    assert pages == expected("ab", 2, stopped_by=stopper)


# --- the hostile set
# ----------------------------------------------------------------------------------------------------


def fault(*_):
    raise RuntimeError("on purpose")


@contextmanager
def fails_on_leaving(self, run):
    yield
    fault()


def stop_with(latents):
    raise StopDenoising(latents)


def conditioning_times(factor):
    def before_step(self, step):
        positive = step.conditioning.positive
        return replace(
            step, conditioning=replace(step.conditioning, positive=replace(positive, hidden=positive.hidden * factor))
        )

    return before_step


def keeps_the_run(self, run):
    self.run = run
    return nullcontext()


def trains(self, step):
    if step.index == 0:
        self.run.modules["unet"].train(not self.run.modules["unet"].training)


def hooks_the_unet(self, step):
    if step.index == 0:
        self.run.modules["unet"].mid_block.register_forward_hook(lambda module, args, output: output * 2)


def replaces_processors(self, step):
    from diffusers.models.attention_processor import AttnProcessor

    self.run.modules["unet"].set_attn_processor(AttnProcessor())


def replaces_forward(self, step):
    unet = self.run.modules["unet"]
    if "forward" not in unet.__dict__:
        plain = unet.forward
        unet.forward = lambda *args, **kwargs: plain(*args, **kwargs)


HOSTILE = {
    "raises in around": {"around": fault},
    "raises on leaving": {"around": fails_on_leaving},
    "raises in before_step": {"before_step": fault},
    "raises in after_predict": {"after_predict": fault},
    "raises in after_step": {"after_step": fault},
    "raises in after_decode": {"after_decode": fault},
    "wrong shape": {"after_step": lambda self, step, latents: latents[..., 1:]},
    "wrong dtype": {"after_predict": lambda self, step, prediction: prediction.half()},
    "nan": {"after_step": lambda self, step, latents: latents * torch.nan},
    "a list": {"after_predict": lambda self, step, prediction: [prediction]},
    "no images": {"after_decode": lambda self, run, images: []},
    "gray images": {"after_decode": lambda self, run, images: [image.convert("L") for image in images]},
    "pixels for images": {"after_decode": lambda self, run, images: [image.tobytes() for image in images]},
    "writes in place": {"after_step": lambda self, step, latents: latents.add_(1)},
    "writes in place in silence": {"after_predict": lambda self, step, prediction: (prediction.zero_(), None)[1]},
    "writes into the step": {"before_step": lambda self, step: (step.latents.zero_(), None)[1]},
    "sys.exit": {"after_step": lambda self, step, latents: sys.exit(0)},
    "nan conditioning": {"before_step": conditioning_times(torch.nan)},
    "nan guidance": {"before_step": lambda self, step: replace(step, guidance_scale=float("nan"))},
    "nan at the stop": {"after_step": lambda self, step, latents: stop_with(latents * torch.nan)},
}


#: What is left on the models for the next run: method → part of the message. All of them keep the run at hand.
LEAVES = {
    "a hook": (hooks_the_unet, "a hook (tests.sampling.test_hooks.hooks_the_unet.<locals>.<lambda>) on unet.mid_block"),
    "a processor": (
        replaces_processors,
        "another attention processor (diffusers.models.attention_processor.AttnProcessor) on unet.",
    ),
    "a forward": (
        replaces_forward,
        "another forward (tests.sampling.test_hooks.replaces_forward.<locals>.<lambda>) on unet",
    ),
    "a mode": (trains, " mode on unet"),
}


def hostile(kind: str) -> StepCallback:
    return type("Hostile", (StepCallback,), HOSTILE[kind])()


def litterer(kind: str) -> StepCallback:
    return type("Litterer", (StepCallback,), {"around": keeps_the_run, "before_step": LEAVES[kind][0]})()


@pytest.fixture(scope="module")
def restore_after_run():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield run("sd", {})
    torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_callback_ends_the_run_by_name_and_leaves_nothing_behind(kind, restore_after_run):
    with pytest.raises(CallbackError, match=r"callbacks.hostile: failed in ") as caught:
        run("sd", {"hostile": hostile(kind)})
    assert "\n" not in str(caught.value)
    assert same(run("sd", {}), restore_after_run), "the next run generates something else"


def test_the_list_of_images_is_the_callbacks_own(restore_after_run):
    assert same(
        run(
            "sd", {"tidy": type("Tidy", (StepCallback,), {"after_decode": lambda self, run, images: images.clear()})()}
        ),
        restore_after_run,
    )


@pytest.mark.parametrize("kind", LEAVES)
def test_what_is_left_on_the_models_is_named_and_taken_away(kind, restore_after_run):
    with pytest.raises(CallbackError, match=r"callbacks.litterer: left on the models: ") as caught:
        run("sd", {"progress": Progress(), "litterer": litterer(kind)})
    assert LEAVES[kind][1] in str(caught.value) and "\n" not in str(caught.value)
    assert same(run("sd", {}), restore_after_run), "the next run generates something else"
    skipped = run("sd", {"litterer": litterer(kind)}, skip_on_error=frozenset({"litterer"}))
    assert [LEAVES[kind][1] in note for note in skipped.notes] == [True]
    assert same(run("sd", {}), restore_after_run)


def test_models_are_put_back_after_a_failure_too(restore_after_run):
    with pytest.raises(CallbackError, match="on purpose"):
        run("sd", {"litterer": litterer("a hook"), "hostile": hostile("raises in after_step")})
    assert same(run("sd", {}), restore_after_run)


def test_weights_that_were_written_over_are_loaded_anew(compose):
    """They can't be put back, so the next run must not find them."""

    class Wrecker(StepCallback):
        def around(self, run):
            run.modules["unet"].conv_out.weight.mul_(0)
            return nullcontext()

    spec = read(compose_config(["steps=2"]))
    plain = build_pipeline(check(spec))(check(spec).request)
    with pytest.raises(CallbackError, match="weights written over in unet"):
        replace(build_pipeline(check(spec)), callbacks={"wrecker": Wrecker()})(check(spec).request)
    assert same(build_pipeline(check(spec))(check(spec).request), plain)


def test_one_that_sleeps_only_takes_its_time(restore_after_run):
    class Sleeps(StepCallback):
        def after_step(self, step, latents):
            time.sleep(0.01)

    slow = run("sd", {"sleeps": Sleeps()})
    assert same(slow, restore_after_run) and slow.seconds > 0.04


@pytest.mark.parametrize("kind", [kind for kind in HOSTILE if not kind.startswith("writes")])
def test_one_that_is_skipped_when_it_fails_does_not_change_the_image(kind, restore_after_run):
    result = run("sd", {"hostile": hostile(kind)}, skip_on_error=frozenset({"hostile"}))
    assert same(result, restore_after_run)
    assert (
        len(result.notes) == 1 and "left out for the rest of the run: callbacks.hostile: failed in" in result.notes[0]
    )


def test_inplace_changes_end_the_run_even_if_failures_are_skipped():
    """What was written over is gone: there is nothing to go on with."""
    with pytest.raises(CallbackError, match="wrote into a tensor"):
        run("sd", {"hostile": hostile("writes in place in silence")}, skip_on_error=frozenset({"hostile"}))


def test_ctrl_c_is_no_callbacks_fault():
    class Interrupts(StepCallback):
        def after_step(self, step, latents):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("sd", {"it": Interrupts()}, skip_on_error=frozenset({"it"}))


# --- what is refused before anything is loaded
# ----------------------------------------------------------------------------


def needs(*names: str, families: frozenset[str] | None = None) -> StepCallback:
    return type("Needy", (StepCallback,), {"needs": frozenset(names), "families": families})()


@pytest.mark.parametrize(
    ("overrides", "callback", "message"),
    [
        ([], needs("mask"), "callbacks.needy: needs mask, which text2img does not have"),
        (["task=inpaint"], needs("depth"), "needs depth, which inpaint does not have"),
        ([], needs("callbacks.trace"), "callbacks.needy: needs callbacks.trace before it: name both, in this order"),
        (["task=unconditional"], needs("encode"), "needs encode, and ddpm takes no prompt"),
        ([], needs("latent"), "needs latent, which no run has. Did you mean latents"),
        ([], needs(families=frozenset({"flux"})), "is for other models than sd (allowed: flux)"),
    ],
)
def test_needs_that_can_not_be_met(overrides, callback, message):
    checked = check(read(compose_config(overrides)))
    with pytest.raises(ComposerError) as caught:
        check_requirements({"needy": callback}, checked.task, checked.checkpoint, checked.spec.task.name)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("task", "names"), [("text2img", ("sigma", "encode")), ("inpaint", ("mask",)), ("depth2img", ("depth",))]
)
def test_needs_that_can_be_met(task, names):
    checked = check(read(compose_config([f"task={task}"])))
    assert check_requirements({"needy": needs(*names)}, checked.task, checked.checkpoint) is None


def test_a_prompt_switch_without_prompts_is_refused_on_the_command_line(compose):
    done = compose("task=unconditional", "callbacks=[prompt_switch]", "callbacks.prompt_switch.prompt=x")
    assert done.code == 2 and "callbacks.prompt_switch: needs encode, and ddpm takes no prompt" in done.err


def test_on_error_is_a_setting_of_every_callback(compose):
    done = compose(
        "callbacks=[progress,nan_guard]", "callbacks.nan_guard.on_error=skip", "steps=1", "hydra.run.dir=out"
    )
    assert done.code == 0, done.err
    done = compose("callbacks.progress.on_error=ignore")
    assert (
        done.code == 2 and "callbacks.progress.on_error=ignore: is not known" in done.err and "fail, skip" in done.err
    )
    spec = read(compose_config(["callbacks=[progress,trace]", "callbacks.trace.on_error=skip"]))
    assert spec.skip_on_error == {"trace"} and build_pipeline(check(spec)).skip_on_error == {"trace"}


def test_images_are_saved_before_a_leftover_is_reported(restore_after_run, tmp_path):
    hook = {
        "before_step": lambda self, step: (
            self.run.modules["unet"].register_forward_hook(lambda *arguments: None),
            None,
        )[1]
    }
    iter_leaves = type("Leaves", (StepCallback,), {"around": keeps_the_run, **hook})()
    with pytest.raises(LeftBehind) as caught:
        run("sd", {"leaves": iter_leaves})
    assert same(caught.value.result, restore_after_run)
    words = ["steps=2", "images=2", "batch=1", "guidance=none"]
    with pytest.raises(LeftBehind, match="left on the models: a hook"):
        finished(lambda: composer.compose(*words, callbacks=[iter_leaves]), tmp_path / "out")
    plain = composer.compose(*words)
    saved = [Image.open(tmp_path / "out" / f"{i:03}.png").tobytes() for i in range(2)]
    assert saved == [image.tobytes() for image in plain.images] and (tmp_path / "out" / "run.json").is_file()
