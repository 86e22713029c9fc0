"""The six switches of the experiment, and the two protocols at their ends."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

VALUES: dict[str, tuple[Any, ...]] = {  # released, controlled, others
    "lr_condition": ("lr_latent", "lr_pixels", "upsampled_latent"),
    "grid": ("own", "common"),
    "latent_scaling": ("none", "channel", "global"),
    "posterior": ("as_published", "mean"),
    "initial_noise_sd": (0.5, 1.0),
    "walk": ("first", "spaced"),
}
SAMPLING_ONLY = ("initial_noise_sd", "walk")  # need no training of their own


@dataclass(frozen=True)
class Switches:
    """One value for each switch; all at their controlled value by default.

    Raises
    ------
    ValueError
        Where a value is none of `VALUES`.
    """

    lr_condition: str = "lr_pixels"
    grid: str = "common"
    latent_scaling: str = "channel"
    posterior: str = "mean"
    initial_noise_sd: float = 1.0
    walk: str = "spaced"

    def __post_init__(self) -> None:
        for name, allowed in VALUES.items():
            if (value := getattr(self, name)) not in allowed:
                listed = ", ".join(map(str, allowed))
                raise ValueError(f"{name}: {value!r}; allowed are {listed}")

    @property
    def protocol(self) -> str:
        """Name the protocol: released, controlled, or mixed.

        The walk is passed over for released: with 1000 network calls both are the same one, and
        with few the first entries end in noise.

        >>> Switches().protocol, Switches("lr_latent").protocol, RELEASED.protocol
        ('controlled', 'mixed', 'released')
        """
        if self == CONTROLLED:
            return "controlled"
        return "released" if replace(self, walk=RELEASED.walk) == RELEASED else "mixed"

    @property
    def trained(self) -> Switches:
        """Return these switches with those of sampling at their controlled value.

        Arms that agree in it share a trained denoiser.
        """
        return replace(self, **{name: VALUES[name][1] for name in SAMPLING_ONLY})

    def columns(self) -> dict[str, Any]:
        """Return the six values by name, as columns of a table."""
        return asdict(self)


CONTROLLED = Switches()
RELEASED = Switches(**{name: values[0] for name, values in VALUES.items()})


def one_changed(start: Switches, end: Switches) -> dict[str, Switches]:
    """Return, for each switch, ``start`` with that switch alone at its value in ``end``.

    >>> one_changed(RELEASED, CONTROLLED)["grid"].columns()["grid"]
    'common'
    """
    names = [field.name for field in fields(Switches)]
    return {name: replace(start, **{name: getattr(end, name)}) for name in names}


def ladder(start: Switches, end: Switches) -> dict[str, Switches]:
    """Return the rungs from ``start`` to ``end``: each turns one more switch, in their order.

    >>> list(ladder(RELEASED, CONTROLLED))[-1], ladder(RELEASED, CONTROLLED)["walk"] == CONTROLLED
    ('walk', True)
    """
    rungs, now = {}, start
    for field in fields(Switches):
        now = replace(now, **{field.name: getattr(end, field.name)})
        rungs[field.name] = now
    return rungs
