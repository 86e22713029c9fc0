"""Autoencoders, diffusion, metrics and statistics of latent super-resolution.

The names below are what a user reaches for; each is imported at its first use, so that
``import latentsr`` costs nothing. Everything else is in the sub-packages, `latentsr.metrics` and
so on.

Examples
--------
>>> import latentsr, numpy as np
>>> image = np.zeros((32, 32)); image[8:24, 8:24] = 1.0
>>> latentsr.psnr_db(image + 0.1, image).round(1)
np.float64(20.0)
>>> latentsr.degrade(image[None].astype(np.float32), 8).shape
(1, 8, 8)
"""

from importlib import import_module
from typing import Any

__version__: str
_HOME = {  # by module: what is reached through the top
    "autoencoders.load": ("load_autoencoder", "save_autoencoder"),
    "autoencoders.model": ("Autoencoder",),
    "autoencoders.latents": ("encode_all", "decode_all"),
    "degrade": ("upsample",),
    "diffusion.networks": ("Denoiser",),
    "diffusion.samplers": ("ddim", "sample_with_scheduler"),
    "experiments.protocol": ("RELEASED", "CONTROLLED"),
    "metrics.frequency": ("decompose", "radial_spectrum"),
    "metrics.image": ("psnr_db", "ms_ssim", "gmsd"),
    "metrics.hallucination": ("noise_floor",),
    "metrics.lesions": ("Lesion",),
    "stats.intervals": ("mean_interval", "t_interval"),
    "stats.difference": ("paired_difference", "paired_images"),
    "stats.factorial": ("contrasts",),
    "stats.paired": ("cohen_d_z", "cohen_h", "equivalence_p", "holm", "wilcoxon"),
    "stats.screening": ("spearman",),
}
_PACKAGES = (
    "autoencoders datasets degrade diffusion experiments io metrics phantoms plots stats".split()
)
_MODULE = {name: module for module, names in _HOME.items() for name in names}
__all__ = ["__version__", *sorted(_MODULE), *_PACKAGES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("latentsr")
    if name in _PACKAGES:
        return import_module(f"latentsr.{name}")
    if name not in _MODULE:
        raise AttributeError(f"module 'latentsr' has no attribute {name!r}; see latentsr.__all__")
    return getattr(import_module(f"latentsr.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
