# composer on CPUs, or on GPUs with CUDA. Build and use it:
#   docker build -t composer .
#   docker build -t composer --build-arg BASE=pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime .    (any image with Python 3.10+)
# Tags: https://hub.docker.com/r/pytorch/pytorch/tags, PyTorch's own images. One with the torch of constraints.txt keeps it, instead of a second one;
# older drivers take 2.13.0-cuda12.6-cudnn9-runtime. The project has not built or run the image on CUDA.
#   docker run --rm --gpus all -v "$PWD/outputs:/home/composer/outputs" composer prompt="a red cone" device=cuda
#   docker run --rm -v "$PWD/outputs:/home/composer/outputs" composer prompt="a red cone, on sand" seed=3
# The service, at http://127.0.0.1:8700 of this machine:
#   docker run --rm -p 127.0.0.1:8700:8700 -v "$PWD/outputs:/home/composer/outputs" composer serve --host 0.0.0.0
ARG BASE=python:3.11-slim
FROM ${BASE}

# Python of Ubuntu, in PyTorch's images, is managed by the system (PEP 668); here nothing else uses it.
ENV PIP_NO_CACHE_DIR=1 PIP_BREAK_SYSTEM_PACKAGES=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
# Optional: the index of PyTorch's CPU wheels (https://pytorch.org/get-started), which are a tenth of the default's size.
ARG TORCH_INDEX=""
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY composer composer
COPY conf conf
RUN if [ -n "$TORCH_INDEX" ]; then pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)"; fi \
 && pip install -c constraints.txt '.[serve]'

RUN useradd --create-home composer
USER composer
WORKDIR /home/composer
# The build fails unless composer can generate an image without a network.
RUN HF_HUB_OFFLINE=1 compose steps=2 output.folder=/tmp/check && rm -r /tmp/check && mkdir outputs

ENTRYPOINT ["compose"]
