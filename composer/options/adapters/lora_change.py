"""What a LoRA file makes of a layer's weights, by format: one formula each.

https://github.com/KohakuBlueleaf/LyCORIS/blob/main/docs/Algo-Details.md, https://arxiv.org/abs/2402.09353 (DoRA).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def changed_weight(weight: Tensor, factors: Mapping[str, Tensor], scaling: float, scale: float) -> Tensor:
    """Compute a layer's weights with the change of a file.

    Args:
        weight: The layer's weights, of any floating dtype.
        factors: Role → tensor of the file.
        scaling: Factor that belongs to the file: alpha divided by the rank.
        scale: Factor of the change; with 0 the weights are returned as they are.

    Returns:
        New weights in the dtype of ``weight``; computed in fp32.
    """
    original = weight.float()
    delta = weight_change({role: tensor.float() for role, tensor in factors.items()}).reshape(weight.shape) * scaling
    if "dora" in factors:
        delta = _rescaled(original + delta, factors["dora"].float()) - original
    return (original + scale * delta).to(weight.dtype)


def weight_change(factors: Mapping[str, Tensor]) -> Tensor:
    """Multiply the factors of a change out.

    Args:
        factors: Role → tensor in fp32.

    Returns:
        The change, whose elements are in the order of the layer's weights.
    """
    if "down" in factors:
        return _low_rank(factors)
    if "hada_w1_a" in factors:
        return _hadamard(factors)
    if "diff" in factors:
        return factors["diff"]
    one, two = _kronecker_factor(factors, "w1"), _kronecker_factor(factors, "w2")
    return torch.kron(one, two.flatten(1))


def _low_rank(factors: Mapping[str, Tensor]) -> Tensor:
    up, down = factors["up"].flatten(1), factors["down"]
    if "mid" in factors:
        return torch.einsum("oa,abkl,bi->oikl", up, factors["mid"], down.flatten(1))
    return up @ down.flatten(1)


def _hadamard(factors: Mapping[str, Tensor]) -> Tensor:
    if "hada_t1" in factors:
        products = (_tucker(factors[f"hada_t{n}"], factors[f"hada_w{n}_a"], factors[f"hada_w{n}_b"]) for n in (1, 2))
    else:
        products = (factors[f"hada_w{n}_a"] @ factors[f"hada_w{n}_b"].flatten(1) for n in (1, 2))
    first, second = products
    return first * second


def _kronecker_factor(factors: Mapping[str, Tensor], name: str) -> Tensor:
    if f"lokr_{name}" in factors:
        return factors[f"lokr_{name}"]
    left, right = factors[f"lokr_{name}_a"], factors[f"lokr_{name}_b"]
    if name == "w2" and "lokr_t2" in factors:
        return _tucker(factors["lokr_t2"], left, right)
    return left @ right.flatten(1)


def _tucker(core: Tensor, out: Tensor, into: Tensor) -> Tensor:
    """Weights of a convolution from its Tucker decomposition: core (r, r, k, k), out (r, O), into (r, I)."""
    return torch.einsum("ijkl,ip,jr->prkl", core, out, into)


def _rescaled(weight: Tensor, magnitude: Tensor) -> Tensor:
    """Weights with the learnt lengths of their rows, or of their columns where the file has one for each of those."""
    matrix = weight.flatten(1)
    by_row = magnitude.shape[0] == matrix.shape[0] or magnitude.dim() == 1
    if by_row:
        return weight * (magnitude.flatten() / matrix.norm(dim=1)).reshape(-1, *[1] * (weight.dim() - 1))
    inner = weight.transpose(0, 1).flatten(1)  # a length for each input channel
    return weight * (magnitude.flatten() / inner.norm(dim=1)).reshape(1, -1, *[1] * (weight.dim() - 2))
