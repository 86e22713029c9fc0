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
    "timestep_spacing": ("first", "spaced"),
}
SAMPLING_ONLY = ("initial_noise_sd", "timestep_spacing")  # need no training of their own
COLUMNS = {"timestep_spacing": "walk"}  # what a switch is called in tables, where not by its name


@dataclass(frozen=True)
class Protocol:
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
    timestep_spacing: str = "spaced"

    def __post_init__(self) -> None:
        for name, allowed in VALUES.items():
            if (value := getattr(self, name)) not in allowed:
                listed = ", ".join(map(str, allowed))
                raise ValueError(f"{name}: {value!r}; allowed are {listed}")

    @property
    def name(self) -> str:
        """Return "released", "controlled" or "mixed", whatever the timesteps of the released one.

        With 1000 network calls both spacings are the same, and with few the truncated one ends in
        noise.

        >>> Protocol().name, Protocol("lr_latent").name, RELEASED.name
        ('controlled', 'mixed', 'released')
        """
        if self == CONTROLLED:
            return "controlled"
        return "released" if replace(self, timestep_spacing="first") == RELEASED else "mixed"

    @property
    def for_training(self) -> Protocol:
        """Return the protocol with the switches of sampling controlled: equal ones share weights."""
        return replace(self, **{name: VALUES[name][1] for name in SAMPLING_ONLY})

    def columns(self) -> dict[str, Any]:
        """Return the six values by name, as columns of a table."""
        return {COLUMNS.get(name, name): value for name, value in asdict(self).items()}


CONTROLLED = Protocol()
RELEASED = Protocol(**{name: values[0] for name, values in VALUES.items()})


def one_at_a_time(start: Protocol, end: Protocol) -> dict[str, Protocol]:
    """Return, for each switch, ``start`` with that switch alone at its value in ``end``.

    >>> one_at_a_time(RELEASED, CONTROLLED)["grid"].columns()["grid"]
    'common'
    """
    names = [field.name for field in fields(Protocol)]
    return {name: replace(start, **{name: getattr(end, name)}) for name in names}


def cumulative(start: Protocol, end: Protocol) -> dict[str, Protocol]:
    """Return the protocols from ``start`` to ``end``, each with one more switch turned, in order.

    >>> steps = cumulative(RELEASED, CONTROLLED)
    >>> list(steps)[-1], steps["timestep_spacing"] == CONTROLLED
    ('timestep_spacing', True)
    """
    steps, now = {}, start
    for field in fields(Protocol):
        now = replace(now, **{field.name: getattr(end, field.name)})
        steps[field.name] = now
    return steps
