"""Which scheduler options are compared with which classic pipeline; `python tests/parity/matrix.py` makes the README's
table.
"""

from __future__ import annotations

BATCHES, SCALES, STRENGTHS = (1, 2), (1.0, 7.5), (0.3, 0.6, 1.0)
#: Stable Diffusion: all that its pipelines can run.
SD = (
    "default", "ddim", "ddpm", "pndm", "euler", "euler_karras", "euler_a", "heun", "dpm2", "dpm2_a", "dpmpp_2m",
    "dpmpp_2m_karras", "dpmpp_2m_sde", "dpmpp_2m_sde_karras", "dpmpp_3m", "dpmpp_2s", "dpmpp_sde", "unipc", "deis",
    "lms", "ipndm", "lcm", "tcd", "sa_solver",
)  # fmt: skip
#: Those that can start from an image: diffusers' IPNDM has no `add_noise`.
SD_FROM_IMAGE = tuple(option for option in SD if option != "ipndm")
#: The full product of strengths, batches and guidance is run over these, all but a sample of it as slow tests; the rest
#: once each.
SD_CORE = ("ddim", "euler", "euler_a", "dpmpp_2m", "heun", "unipc")
FLUX = (
    "default", "flow_euler", "flow_euler_karras", "flow_euler_beta", "flow_euler_exponential", "flow_euler_shift",
    "flow_dpmpp_2m", "flow_dpmpp_3m", "flow_unipc_3", "flow_dpmpp_2s", "flow_unipc", "flow_deis",
)  # fmt: skip
#: Those that add noise.
FLUX_NOISY = ("flow_euler_sde", "flow_lcm", "flow_dpmpp_2m_sde")
#: Those whose `set_timesteps` takes no sigmas or no mu, which FluxPipeline insists on passing.
FLUX_REFUSED = {"flow_heun": "sigmas", "flow_sa_solver": "mu"}
#: The classic pipelines that start from an image insist on `scale_noise` and on sigmas: only the Euler family has both.
FLUX_FROM_IMAGE = (
    "default", "flow_euler", "flow_euler_karras", "flow_euler_beta", "flow_euler_exponential", "flow_euler_shift",
)  # fmt: skip
FLUX_NOISY_FROM_IMAGE = ("flow_euler_sde", "flow_lcm")
#: Schedulers that neither scale their input nor start from more than unit noise: DDPMPipeline does neither.
DDPM = ("default", "ddpm", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m", "dpmpp_2s", "dpmpp_sde", "sa_solver", "lcm")
#: SDXL's pipelines run what Stable Diffusion's run.
SDXL, SDXL_FROM_IMAGE, SDXL_CORE = SD, SD_FROM_IMAGE, SD_CORE
#: Two stages: what the base began, the refiner must be able to go on with.
SDXL_REFINED = ("default", "euler", "ddim", "dpmpp_2m", "heun", "unipc", "euler_a", "dpmpp_2m_karras")
#: SD3's pipelines pass neither sigmas nor, where nothing asks for it, a shift, so they run more than Flux's.
SD3 = (
    "default", "flow_euler", "flow_euler_karras", "flow_euler_beta", "flow_euler_exponential", "flow_euler_shift",
    "flow_heun", "flow_dpmpp_2m", "flow_dpmpp_3m", "flow_dpmpp_2s", "flow_unipc", "flow_unipc_3", "flow_deis",
)  # fmt: skip
#: Those that add noise.
SD3_NOISY = ("flow_euler_sde", "flow_lcm", "flow_dpmpp_2m_sde", "flow_sa_solver")
#: The classic pipelines that start from an image insist on `scale_noise`, which the solvers shared with SD do not have.
SD3_FROM_IMAGE = (
    "default", "flow_euler", "flow_euler_karras", "flow_euler_beta", "flow_euler_exponential", "flow_euler_shift",
    "flow_heun",
)  # fmt: skip
SD3_NOISY_FROM_IMAGE = ("flow_euler_sde", "flow_lcm")
SD3_CORE = (
    "default",
    "flow_euler_karras",
    "flow_euler_beta",
    "flow_euler_exponential",
    "flow_euler_shift",
    "flow_heun",
)
#: With a shift that grows with the image the pipeline passes a `mu`, which these do not take.
SD3_REFUSED = {"flow_heun": "mu", "flow_sa_solver": "mu"}
