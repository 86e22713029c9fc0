"""Which autoencoder a state dict holds: names of its tensors, its configuration, the model."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, AutoencoderTiny

State = dict[str, Tensor]
PREFIXES = ("first_stage_model.", "vae.", "")
# not part of the autoencoder: MedVAE's projection head, a discriminator and its loss
DROPPED = re.compile(r"(channel_ds|channel_proj|loss)\.")
MEND = "give a folder with config.json and the weights"
GROUPS = 32  # of every published model's normalisation; no tensor tells
RENAMES = (  # CompVis, then diffusers before 0.17, to diffusers now
    (r"^(en|de)coder\.mid\.block_1\.", r"\1coder.mid_block.resnets.0."),
    (r"^(en|de)coder\.mid\.block_2\.", r"\1coder.mid_block.resnets.1."),
    (r"^(en|de)coder\.mid\.attn_1\.", r"\1coder.mid_block.attentions.0."),
    (r"\.attentions\.0\.norm\.", ".attentions.0.group_norm."),
    (r"\.attentions\.0\.([qkv])\.", r".attentions.0.to_\1."),
    (r"\.attentions\.0\.proj_out\.", ".attentions.0.to_out.0."),
    (r"^encoder\.down\.(\d+)\.block\.", r"encoder.down_blocks.\1.resnets."),
    (r"^encoder\.down\.(\d+)\.downsample\.", r"encoder.down_blocks.\1.downsamplers.0."),
    (r"^(en|de)coder\.norm_out\.", r"\1coder.conv_norm_out."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"\.attentions\.0\.query\.", ".attentions.0.to_q."),
    (r"\.attentions\.0\.key\.", ".attentions.0.to_k."),
    (r"\.attentions\.0\.value\.", ".attentions.0.to_v."),
    (r"\.attentions\.0\.proj_attn\.", ".attentions.0.to_out.0."),
)


def merge_lora(state: Mapping[str, Tensor]) -> State:
    r"""Add low-rank updates to their kernels: :math:`W + B A`, scale 1.

    ``X.conv.weight``, ``X.lora_up.weight`` B of ``(out, r, 1, 1)`` and ``X.lora_down.weight`` A of
    ``(r, in, k, k)`` become ``X.weight``; other keys stay as they are (the convolutions of
    down- and upsampling are called ``.conv.`` too).

    Examples
    --------
    >>> import torch
    >>> kernel, up, down = (torch.full((1, 1, 1, 1), value) for value in (1.0, 2.0, 3.0))
    >>> layer = {"q.conv.weight": kernel, "q.lora_up.weight": up, "q.lora_down.weight": down}
    >>> merge_lora(layer)["q.weight"].item()
    7.0
    """
    ends = {way: f"lora_{way}.weight" for way in ("up", "down")}
    layers = {key.removesuffix(end) for end in ends.values() for key in state if key.endswith(end)}
    merged = {}
    for key, value in state.items():
        name, _, last = key.rpartition(".")
        layer = name.rpartition(".")[0] + "."
        if layer in layers and key.endswith(tuple(ends.values())):
            continue
        if layer in layers and name.endswith(".conv"):
            if last == "weight":
                value = value.float() + _low_rank(state, layer, tuple(value.shape))
            merged[layer + last] = value
        else:
            merged[key] = value
    return merged


def _low_rank(state: Mapping[str, Tensor], layer: str, shape: tuple[int, ...]) -> Tensor:
    """Return the update B A of one layer's kernel."""
    parts = []
    for way in ("up", "down"):
        if (key := f"{layer}lora_{way}.weight") not in state:
            raise ValueError(f"no {key} beside its other half")
        parts.append(state[key].float().flatten(1))
    up, down = parts
    if (up.shape[0], down.shape[1]) != (shape[0], math.prod(shape[1:])) or up.shape[1] != len(down):
        raise ValueError(f"{layer}lora: {tuple(up.shape)} by {tuple(down.shape)} for {shape}")
    return (up @ down).reshape(shape)


def _autoencoder_part(state: Mapping[str, Tensor]) -> State:
    """Keep the autoencoder's tensors of a checkpoint, their names without a prefix."""
    prefix = next(p for p in PREFIXES if not p or any(k.startswith(f"{p}encoder.") for k in state))
    inside = {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
    return {key: value for key, value in inside.items() if not DROPPED.match(key)}


def _renamed(state: Mapping[str, Tensor]) -> State:
    """Give tensors diffusers' names and shapes; CompVis counts the decoder's levels from the top."""
    levels = {int(match[1]) for key in state if (match := re.match(r"decoder\.up\.(\d+)\.", key))}
    top = max(levels, default=0)
    found = {}
    for key, value in state.items():
        for old, new in RENAMES:
            key = re.sub(old, new, key)
        if match := re.match(r"decoder\.up\.(\d+)\.(block|upsample)\.(.+)", key):
            part = "resnets" if match[2] == "block" else "upsamplers.0"
            key = f"decoder.up_blocks.{top - int(match[1])}.{part}.{match[3]}"
        if value.ndim == 4 and re.search(r"\.attentions\.0\.to_.*weight$", key):
            value = value.flatten(1)  # a kernel of 1 x 1
        found[key] = value
    return found


def config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Infer the arguments of diffusers' AutoencoderKL from a state dict with its names.

    Where one of two kernels that tell the same is not there the other is asked, so that
    `load_strictly` comes to list all that is missing.

    Raises
    ------
    ValueError
        Where a tensor that the answer needs is not there, or a width is no multiple of 32.
    """

    def side(axis: int, *keys: str) -> int:
        found = next((state[key] for key in keys if key in state and state[key].ndim == 4), None)
        if found is None:
            raise ValueError(
                f"neither {' nor '.join(keys)} among its {len(state)} tensors "
                f"({', '.join(sorted(state)[:3])} ...): not a known layout; {MEND}"
            )
        return int(found.shape[axis])

    def count(pattern: str) -> int:
        return len({match[1] for key in state if (match := re.match(pattern, key))})

    levels = count(r"encoder\.down_blocks\.(\d+)\.")
    if not levels:
        raise ValueError(f"no encoder among its {len(state)} tensors: not a known layout; {MEND}")
    blocks = [f"encoder.down_blocks.{level}.resnets.0" for level in range(levels)]
    widths = tuple(side(0, f"{name}.conv2.weight", f"{name}.conv1.weight") for name in blocks)
    inner, outer = "encoder.conv_in.weight", "decoder.conv_out.weight"
    if any(width % GROUPS for width in widths):
        raise ValueError(
            f"widths {widths}: its {GROUPS} groups of normalisation do not fit; {MEND}"
        )
    latent = "post_quant_conv.weight", "decoder.conv_in.weight"
    twice = "quant_conv.weight"  # mean and variance
    there = any(key in state for key in latent)
    latent_channels = side(1, *latent) if there else side(0, twice, *latent) // 2
    return {
        "in_channels": side(1, inner) if inner in state else side(0, outer, inner),
        "out_channels": side(0, outer) if outer in state else side(1, inner, outer),
        "latent_channels": latent_channels,
        "block_out_channels": widths,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "layers_per_block": count(r"encoder\.down_blocks\.0\.resnets\.(\d+)\."),
        "norm_num_groups": GROUPS,
        "mid_block_add_attention": "encoder.mid_block.attentions.0.to_q.weight" in state,
    }


def load_strictly(model: Any, state: Mapping[str, Tensor]) -> None:
    """Fill a model with float32 copies of a state dict that has just its keys and shapes.

    Raises
    ------
    ValueError
        One line with the keys that are missing, unexpected, of another shape, or not finite.
    """
    wanted = model.state_dict()
    shapes = [key for key in wanted.keys() & state.keys() if wanted[key].shape != state[key].shape]
    problems = {
        "missing": wanted.keys() - state.keys(),
        "unexpected": state.keys() - wanted.keys(),
        "of another shape": shapes,
    }
    told = [
        f"{len(keys)} keys {word} ({', '.join(sorted(keys))})"
        for word, keys in problems.items()
        if keys
    ]
    if told:
        raise ValueError("; ".join(told))
    if broken := [key for key, value in state.items() if not value.isfinite().all()]:
        raise ValueError(f"{len(broken)} tensors that are not finite ({', '.join(broken[:5])})")
    model.load_state_dict({key: value.float() for key, value in state.items()})


def build(state: Mapping[str, Tensor]) -> AutoencoderKL | AutoencoderTiny:
    """Build the autoencoder that a state dict holds, whichever layout it has.

    Known layouts: CompVis (with a prefix or without, LoRA as MedVAE stores it), AutoencoderKL of
    diffusers old and new, AutoencoderTiny.

    Raises
    ------
    ValueError
        With the list of keys, where one is missing or left over.
    """
    from diffusers import AutoencoderKL, AutoencoderTiny

    if "encoder.layers.0.weight" in state:
        model = AutoencoderTiny()
        load_strictly(model, state)
        return model
    found = _renamed(merge_lora(_autoencoder_part(state)))
    model = AutoencoderKL(**config(found))
    load_strictly(model, found)
    return model


def build_as_configured(told: Mapping[str, Any], state: Mapping[str, Tensor]) -> Any:
    """Build the autoencoder of a diffusers folder from its ``config.json`` and weights.

    Raises
    ------
    ValueError
        For another class than AutoencoderKL and AutoencoderTiny, or keys that do not fit.
    """
    import diffusers

    kind = told.get("_class_name")
    if kind not in ("AutoencoderKL", "AutoencoderTiny"):
        allowed = "AutoencoderKL and AutoencoderTiny are read"
        raise ValueError(f"config.json: _class_name {kind!r}; {allowed}")
    model = getattr(diffusers, kind).from_config(dict(told))
    if kind == "AutoencoderKL":
        state = _renamed(merge_lora(_autoencoder_part(state)))
    load_strictly(model, state)
    return model
