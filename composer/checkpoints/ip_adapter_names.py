"""Names of the tensors of IP-Adapters, in the words of each author. No torch."""

from __future__ import annotations

#: Beginning of a name → the part of an IP-Adapter that it belongs to; the last two are XLabs', for Flux.
_PARTS = {
    "image_proj": "image_proj",
    "ip_adapter": "ip_adapter",
    "ip_adapter_proj_model": "image_proj",
    "double_blocks": "ip_adapter",
}
_XLABS = {
    "ip_adapter_double_stream_k_proj": "to_k_ip",
    "ip_adapter_double_stream_v_proj": "to_v_ip",
    "processor.": "",
}


def diffusers_name(name: str) -> tuple[str | None, str]:
    """Translate the name of a tensor.

    Args:
        name: Its name in the file.

    Returns:
        ``image_proj`` or ``ip_adapter``, None for a tensor that is of neither, and the name in that part.
    """
    begin, _, rest = name.partition(".")
    if begin == "double_blocks":
        for theirs, ours in _XLABS.items():
            rest = rest.replace(theirs, ours)
    return _PARTS.get(begin), rest
