"""The families of flow transformers and diffusers' pipelines that they are compared with; a new family is one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Guidance scales as composer counts them: off, and on.
SCALES = (1.0, 4.0)
#: The sigmas of numpy and of torch differ in their last bits for six steps; for four or five they do not.
SIDE, STEPS = 32, 6
#: Scheduler options that take sigmas; those of them that add noise.
EULER = ("flow_euler", "flow_euler_karras", "flow_euler_beta", "flow_euler_exponential", "flow_euler_shift")
EULER_NOISY = ("flow_euler_sde", "flow_lcm")
UNIPC = ("flow_unipc", "flow_unipc_3")
SOLVERS = ("flow_dpmpp_2m", "flow_dpmpp_3m", "flow_dpmpp_2s", *UNIPC, "flow_deis")
#: All that are compared, and those of them that add noise.
ALL, ALL_NOISY = (*EULER, "flow_heun", *SOLVERS), (*EULER_NOISY, "flow_dpmpp_2m_sde", "flow_sa_solver")
#: Why diffusers' pipelines can't run a scheduler: letter → what they raise, and the reason in words.
RAISES = {
    "s": (r"`set_timesteps` does not support custom|got an unexpected keyword argument 'sigmas'",
        "the pipeline passes sigmas, which this scheduler does not take"),
    "l": ("can't multiply sequence", "the pipeline passes its sigmas as a list, which UniPC multiplies"),
    "m": ("'mu'", "the pipeline passes a `mu`, which this scheduler does not take"),
    "n": ("scale_noise", "the pipeline adds noise by a `scale_noise`, which this scheduler does not have"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FlowCase:
    """One family.

    Attributes:
        zoo: Its tiny pipeline, by name in the zoo.
        family: Its name where the key is another.
        distilled: Whether the model takes the scale as an input.
        scale: composer's guidance scale → the arguments of diffusers' pipeline.
        pipelines: Pipelines of diffusers by composer's task, beside text2img.
        text2img: Whether the class of the tiny pipeline generates from text.
        slicing: Whether diffusers' VAE goes through a batch image by image, as composer's encoding does: a
            batch of convolutions has other last bits.
        takes_negative: Whether the pipelines take a negative prompt.
        more: Further arguments of the pipelines.
        schedulers: Scheduler options that the text2img pipeline can run beside its own, which add no noise. Those that
            begin with an image run `EULER`.
        noisy: Those that add noise.
        passes_generator: Whether the pipeline passes its generator to them.
        raises: Letter of `RAISES` for scheduler options that the pipelines of a task can't run; `s` for all others.
    """

    zoo: str
    family: str = ""
    distilled: bool = False
    scale: Callable[[float], dict[str, Any]] = lambda scale: {"guidance_scale": scale}
    pipelines: Mapping[str, str] = field(default_factory=dict)
    text2img: bool = True
    slicing: bool = False
    takes_negative: bool = True
    more: Mapping[str, Any] = field(default_factory=dict)
    schedulers: tuple[str, ...] = (*EULER, *UNIPC)
    noisy: tuple[str, ...] = EULER_NOISY
    passes_generator: bool = False
    raises: Mapping[tuple[str, ...], str] = field(default_factory=lambda: {UNIPC: "n"})

    def options(self, task: str) -> dict[str, str]:
        """Scheduler option → `=` or `g` where it is compared, see `matrix.py`, or a letter of `RAISES`."""
        from_noise = task == "text2img"
        equal, noisy = (self.schedulers, self.noisy) if from_noise else (EULER, EULER_NOISY)
        letters = {option: letter for options, letter in self.raises.items() for option in options}
        marks = {option: letters.get(option, "s") for option in (*ALL, *ALL_NOISY)}
        marks |= dict.fromkeys(equal, "=") | dict.fromkeys(noisy, "=" if self.passes_generator else "g")
        return marks

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that are compared."""
        return (*(["text2img"] * self.text2img), *self.pipelines)


def true_cfg(scale: float) -> dict[str, Any]:
    return {"true_cfg_scale": scale}


FLOW_FAMILIES = {
    "z_image": FlowCase(
        zoo="zimage",
        scale=lambda scale: {"guidance_scale": scale - 1},
        pipelines={"img2img": "ZImageImg2ImgPipeline", "inpaint": "ZImageInpaintPipeline"},
        schedulers=EULER,
        raises={UNIPC: "l"},
    ),
    "qwen_image": FlowCase(
        zoo="qwen",
        scale=true_cfg,
        pipelines={"img2img": "QwenImageImg2ImgPipeline", "inpaint": "QwenImageInpaintPipeline"},
    ),
    "flux2": FlowCase(
        zoo="klein",
        takes_negative=False,
        schedulers=(*EULER, *SOLVERS),
        noisy=(*EULER_NOISY, "flow_dpmpp_2m_sde"),
        raises={("flow_sa_solver",): "m"},
    ),  # its inpainting looks at the image as a reference too
    "flux2_dev": FlowCase(
        zoo="flux2",
        family="flux2",
        takes_negative=False,
        distilled=True,
        schedulers=(*EULER, *SOLVERS),
        noisy=(*EULER_NOISY, "flow_dpmpp_2m_sde"),
        raises={("flow_sa_solver",): "m"},
    ),
    "chroma": FlowCase(
        zoo="chroma",
        pipelines={"img2img": "ChromaImg2ImgPipeline"},  # its inpainting needs a guidance_embeds that Chroma lacks
        more={"max_sequence_length": 48},  # the limit of its tiny tokenizer, which composer keeps to
    ),
    "sana": FlowCase(
        zoo="sana",
        more={"use_resolution_binning": False},
        schedulers=ALL,
        noisy=ALL_NOISY,
        passes_generator=True,
    ),
    "lumina2": FlowCase(zoo="lumina2"),
    "flux_fill": FlowCase(
        zoo="fluxfill",
        family="flux",
        distilled=True,
        text2img=False,
        slicing=True,
        pipelines={"inpaint": "FluxFillPipeline"},
        takes_negative=False,
        more={"max_sequence_length": 48},
    ),
}


@dataclass(frozen=True, kw_only=True)
class EditCase:
    """A family whose models look at reference images.

    Attributes:
        zoo: Its tiny pipeline, by name in the zoo.
        family: Its name where the key is another.
        sides: Sides in pixels of each reference, one set of references a case.
        scale: composer's guidance scale → the arguments of diffusers' pipeline.
        more: Further arguments of the pipeline.
        size: Height and width of the result in pixels.
        batches: Batch sizes that the pipeline can run.
        schedulers: Scheduler options that are compared beside its own.
        noisy: Those that add noise.
    """

    zoo: str
    sides: tuple[tuple[int, ...], ...]
    family: str = ""
    scale: Callable[[float], dict[str, Any]] = lambda scale: {"guidance_scale": scale}
    more: Mapping[str, Any] = field(default_factory=dict)
    size: int = SIDE
    batches: tuple[int, ...] = (1, 2)
    schedulers: tuple[str, ...] = EULER
    noisy: tuple[str, ...] = EULER_NOISY

    def options(self) -> dict[str, str]:
        """Scheduler option → `=` or `g`; the others as for text2img."""
        return dict.fromkeys(self.schedulers, "=") | dict.fromkeys(self.noisy, "g")


EDITS = {
    "flux2": EditCase(zoo="klein", sides=((64,), (64, 96))),
    # diffusers runs one image at a time
    "qwen_image": EditCase(zoo="qwen_edit_plus", sides=((64,), (64, 96)), scale=true_cfg, size=64, batches=(1,)),
    "qwen_image_first": EditCase(
        zoo="qwen_edit", family="qwen_image", sides=((64,),), scale=true_cfg, size=64, batches=(1,)
    ),
    # its scaling to a megapixel is switched off on both sides
    "flux": EditCase(
        zoo="kontext",
        sides=((SIDE,),),
        scale=true_cfg,
        more={"max_area": SIDE * SIDE, "_auto_resize": False, "max_sequence_length": 48, "guidance_scale": 1.0},
    ),
}


#: Family → its pipeline of diffusers that edits under a mask; at full strength it starts from noise, as composer does.
MASKED = {"flux": "FluxKontextInpaintPipeline", "flux2": "Flux2KleinInpaintPipeline"}


@dataclass(frozen=True, kw_only=True)
class VideoCase:
    """A family of clips.

    Attributes:
        zoo: Its tiny pipeline, by name in the zoo or in `test_videos.py`.
        family: Its name where the key is another.
        pipeline: The pipeline of diffusers where it is not the class of the tiny one.
        given: Keys of the images that a clip begins and ends with; with them the task is image2video, else text2video.
        replaced: Latent frames at the start that diffusers' loop computes to no purpose and replaces after its last
            step; composer's latents hold the given ones.
        listed: Whether the pipeline takes these images as a list with one for each clip.
        arguments: Further arguments of both.
        batches: Batch sizes that the pipeline can run.
        schedulers: Scheduler options that the pipeline can run beside its own, which add no noise.
        noisy: Those that add noise.
        raises: Letter of `RAISES`, or of `OTHER_VALUES`, for scheduler options that are not equal; empty for models
            whose loop is that of another column, which are compared with their own scheduler alone.
    """

    zoo: str
    family: str = ""
    pipeline: str = ""
    given: tuple[str, ...] = ()
    replaced: int = 0
    listed: bool = False
    arguments: Mapping[str, float] = field(default_factory=dict)
    batches: tuple[int, ...] = (1, 2)
    schedulers: tuple[str, ...] = ()
    noisy: tuple[str, ...] = ()
    raises: Mapping[tuple[str, ...], str] = field(default_factory=dict)

    def options(self) -> dict[str, str]:
        """Scheduler option → `=`, `g`, or the letter of a reason."""
        letters = {option: letter for options, letter in self.raises.items() for option in options}
        return letters | dict.fromkeys(self.schedulers, "=") | dict.fromkeys(self.noisy, "g")


#: The letter of noise that is of another shape.
OTHER_VALUES = "f"
LTX_RAISES = {("flow_heun", *SOLVERS[:3], "flow_deis", "flow_dpmpp_2m_sde", "flow_sa_solver"): "s"}
SECOND_SCALE = {"guidance_scale_2": 3.0}
#: Those that the model cards of LTX-Video's later VAEs use.
DECODING = {"decode_timestep": 0.05, "decode_noise_scale": 0.025}
VIDEOS = {
    "wan": VideoCase(zoo="wan", schedulers=ALL, noisy=ALL_NOISY),
    "wan22": VideoCase(zoo="wan_two_experts", family="wan"),
    "wan22_scales": VideoCase(zoo="wan_two_experts", family="wan", arguments=SECOND_SCALE),
    "wan22_5b": VideoCase(zoo="wan_5b", family="wan", schedulers=ALL, noisy=ALL_NOISY),
    "wan first": VideoCase(zoo="wan_image2video", family="wan", given=("image",), schedulers=ALL,
        noisy=ALL_NOISY),
    "wan first and last": VideoCase(zoo="wan_first_last", family="wan", given=("image", "last_image")),
    "wan22 first": VideoCase(zoo="wan_image_two_experts", family="wan", given=("image",), arguments=SECOND_SCALE),
    "wan22 first and last": VideoCase(zoo="wan_image_two_experts", family="wan", given=("image", "last_image")),
    "ltx": VideoCase(zoo="ltx", schedulers=(*EULER, *UNIPC), noisy=EULER_NOISY, raises=LTX_RAISES),
    # its pipeline steps the later frames alone, for which it samples noise of their shape
    "ltx first": VideoCase(
        zoo="ltx", family="ltx", pipeline="LTXImageToVideoPipeline", given=("image",), listed=True,
        schedulers=(*EULER, *UNIPC), raises=LTX_RAISES | {EULER_NOISY: OTHER_VALUES},
    ),
    "ltx_denoising_vae": VideoCase(zoo="ltx_denoising_vae", family="ltx", arguments=DECODING),
    # noise of the size of the timestep is the default
    "ltx_denoising_vae first": VideoCase(
        zoo="ltx_denoising_vae", family="ltx", pipeline="LTXImageToVideoPipeline", given=("image",), listed=True,
        arguments={"decode_timestep": 0.05}, batches=(1,),  # its torch.randn takes no list of generators
    ),
    "wan22_5b first": VideoCase(
        zoo="wan_5b", family="wan", pipeline="WanImageToVideoPipeline", given=("image",), replaced=1
    ),
}  # fmt: skip
