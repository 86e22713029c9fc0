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
BLOCK_CHANNELS = {4: (16, 32, 64), 8: (16, 32, 64, 64)}  # of the shipped ones, by factor
PREFIXES = ("first_stage_model.", "vae.", "")
# not part of the autoencoder: MedVAE's projection head, a discriminator and its loss
DROPPED = re.compile(r"(channel_ds|channel_proj|loss)\.")
ADVICE = "not a known layout; give a folder with config.json and the weights"
GROUPS = 32  # of every published model's normalisation; it stands in no tensor
RENAMES = (  # CompVis, then diffusers before 0.17, to diffusers now
    (r"^(en|de)coder\.mid\.block_1\.", r"\1coder.mid_block.resnets.0."),
    (r"^(en|de)coder\.mid\.block_2\.", r"\1coder.mid_block.resnets.1."),
    (r"^(en|de)coder\.mid\.attn_1\.", r"\1coder.mid_block.attentions.0."),
    (r"\.attentions\.0\.norm\.", ".attentions.0.group_norm."),
    (r"\.attentions\.0\.([qkv])\.", r".attentions.0.to_\1."),
    (r"\.attentions\.0\.proj_(out|attn)\.", ".attentions.0.to_out.0."),
    (r"^encoder\.down\.(\d+)\.block\.", r"encoder.down_blocks.\1.resnets."),
    (r"^encoder\.down\.(\d+)\.downsample\.", r"encoder.down_blocks.\1.downsamplers.0."),
    (r"^(en|de)coder\.norm_out\.", r"\1coder.conv_norm_out."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"\.attentions\.0\.(q|k|v)(uery|ey|alue)\.", r".attentions.0.to_\1."),
)


def build_small(factor: int, latent_channels: int) -> AutoencoderKL:
    """Build an untrained grey AutoencoderKL of one of the shipped geometries."""
    from diffusers import AutoencoderKL

    channels = BLOCK_CHANNELS[factor]
    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=8,
        mid_block_add_attention=False,
    )


def merge_lora(state: Mapping[str, Tensor]) -> State:
    r"""Add low-rank updates to their kernels: :math:`W + B A`, scale 1 (Hu et al. 2021).

    ``X.conv.weight``, ``X.lora_up.weight`` B of ``(out, r, 1, 1)`` and ``X.lora_down.weight`` A of
    ``(r, in, k, k)`` become ``X.weight``; other keys stay as they are (the convolutions of
    down- and upsampling are called ``.conv.`` too).

    >>> import torch
    >>> kernel, up, down = (torch.full((1, 1, 1, 1), value) for value in (1.0, 2.0, 3.0))
    >>> layer = {"q.conv.weight": kernel, "q.lora_up.weight": up, "q.lora_down.weight": down}
    >>> merge_lora(layer)["q.weight"].item()
    7.0
    """
    halves = re.compile(r"(.*\.)lora_(up|down)\.weight")
    merged = {key: value for key, value in state.items() if not halves.fullmatch(key)}
    for layer in {match[1] for key in state if (match := halves.fullmatch(key))}:
        keys = [f"{layer}lora_{half}.weight" for half in ("up", "down")]
        if absent := [key for key in keys if key not in state]:
            raise ValueError(f"no {absent[0]} beside its other half")
        up, down = (state[key].float().flatten(1) for key in keys)  # (out, r), (r, in * k * k)
        if f"{layer}conv.bias" in merged:
            merged[f"{layer}bias"] = merged.pop(f"{layer}conv.bias")
        if (kernel := merged.pop(f"{layer}conv.weight", None)) is None:
            continue  # which is then missing
        shape = len(kernel), math.prod(kernel.shape[1:])
        if (len(up), down.shape[1]) != shape or up.shape[1] != len(down):
            raise ValueError(f"{layer}lora: {tuple(up.shape)} by {tuple(down.shape)} for {shape}")
        merged[f"{layer}weight"] = kernel.float() + (up @ down).reshape(kernel.shape)
    return merged


def _as_diffusers(state: Mapping[str, Tensor]) -> State:
    """Give the autoencoder's tensors of a checkpoint diffusers' names and shapes.

    CompVis counts the decoder's levels from the top.
    """
    prefix = next(p for p in PREFIXES if not p or any(k.startswith(f"{p}encoder.") for k in state))
    inside = {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
    inside = merge_lora({key: v for key, v in inside.items() if not DROPPED.match(key)})
    levels = {int(match[1]) for key in inside if (match := re.match(r"decoder\.up\.(\d+)\.", key))}
    renamed = {}
    for key, value in inside.items():
        for old, new in RENAMES:
            key = re.sub(old, new, key)
        if match := re.match(r"decoder\.up\.(\d+)\.(block|upsample)\.(.+)", key):
            part = "resnets" if match[2] == "block" else "upsamplers.0"
            key = f"decoder.up_blocks.{max(levels) - int(match[1])}.{part}.{match[3]}"
        if value.ndim == 4 and re.search(r"\.attentions\.0\.to_.*weight$", key):
            value = value.flatten(1)  # a kernel of 1 x 1
        renamed[key] = value
    return renamed


def infer_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Infer the arguments of diffusers' AutoencoderKL from a state dict with its names.

    Where one of two kernels with the same answer is not there the other is asked, so that
    `load_strictly` comes to list all that is missing.
    """

    def side(axis: int, *keys: str) -> int:
        for key in keys:
            if key in state and state[key].ndim == 4:
                return int(state[key].shape[axis])
        raise ValueError(
            f"neither {' nor '.join(keys)} among its {len(state)} tensors "
            f"({', '.join(sorted(state)[:3])} ...): {ADVICE}"
        )

    def count(pattern: str) -> int:
        return len({match[1] for key in state if (match := re.match(pattern, key))})

    levels = count(r"encoder\.down_blocks\.(\d+)\.")
    if not levels:
        raise ValueError(f"no encoder among its {len(state)} tensors: {ADVICE}")
    blocks = [f"encoder.down_blocks.{level}.resnets.0" for level in range(levels)]
    widths = tuple(side(0, f"{name}.conv2.weight", f"{name}.conv1.weight") for name in blocks)
    if any(width % GROUPS for width in widths):
        raise ValueError(f"widths {widths}: its {GROUPS} groups do not fit: {ADVICE}")
    inner, outer = "encoder.conv_in.weight", "decoder.conv_out.weight"
    latent = "post_quant_conv.weight", "decoder.conv_in.weight"
    one_sided = any(key in state for key in latent)  # else mean and variance
    return {
        "in_channels": side(1, inner) if inner in state else side(0, outer, inner),
        "out_channels": side(0, outer) if outer in state else side(1, inner, outer),
        "latent_channels": side(1, *latent) if one_sided else side(0, "quant_conv.weight") // 2,
        "block_out_channels": widths,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "layers_per_block": count(r"encoder\.down_blocks\.0\.resnets\.(\d+)\."),
        "norm_num_groups": GROUPS,
        "mid_block_add_attention": "encoder.mid_block.attentions.0.to_q.weight" in state,
    }


def load_strictly(model: Any, state: Mapping[str, Tensor]) -> None:
    """Fill a model with float32 copies of a state dict that has just its keys and shapes."""
    own = model.state_dict()
    problems = {
        "missing": own.keys() - state.keys(),
        "unexpected": state.keys() - own.keys(),
        "of another shape": {
            k for k in own.keys() & state.keys() if own[k].shape != state[k].shape
        },
    }
    lines = [f"{len(k)} keys {word} ({', '.join(sorted(k))})" for word, k in problems.items() if k]
    if lines:
        raise ValueError("; ".join(lines))
    if broken := [key for key, value in state.items() if not value.isfinite().all()]:
        raise ValueError(f"{len(broken)} tensors that are not finite ({', '.join(broken[:5])})")
    model.load_state_dict({key: value.float() for key, value in state.items()})


def from_state_dict(state: Mapping[str, Tensor]) -> AutoencoderKL | AutoencoderTiny:
    """Build the autoencoder that a state dict holds, or raise with the keys that do not fit.

    Known layouts: CompVis (with a prefix or without, LoRA as MedVAE stores it), AutoencoderKL of
    diffusers old and new, AutoencoderTiny.
    """
    if "encoder.layers.0.weight" in state:
        return from_config({"_class_name": "AutoencoderTiny"}, state)
    renamed = _as_diffusers(state)
    return from_config({"_class_name": "AutoencoderKL", **infer_config(renamed)}, renamed)


def from_config(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> Any:
    """Build the autoencoder of a diffusers folder from its ``config.json`` and weights."""
    import diffusers

    kind = config.get("_class_name")
    if kind not in ("AutoencoderKL", "AutoencoderTiny"):
        raise ValueError(f"config.json: _class_name {kind!r}; allowed are AutoencoderKL and -Tiny")
    model = getattr(diffusers, kind).from_config(dict(config))
    load_strictly(model, _as_diffusers(state) if kind == "AutoencoderKL" else state)
    return model
