"""What changes along bands, network calls or training steps; tables in, a figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from latentsr.plots import style as figures
from latentsr.plots.charts import GAP, PARTS
from latentsr.plots.labels import in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAID = {"gap": "gap, LR latents", "condition": "what is seen", "target": "what is denoised"}
WALKS = {"spaced": "spaced over the schedule", "first": "first entries of the 1000-step walk"}
SHORT = {"first": "first entries"}
FEW_POINTS = 6  # of a curve, to be named one by one


def perception_distortion(walks: pd.DataFrame, title: str) -> Figure:
    """Draw PSNR and GMSD along the number of network calls, and one against the other.

    ``walks`` has columns vae, walk, initial_noise_sd, T, psnr_db and gmsd; filled points start from
    full noise, hollow ones from half. Where a curve has few points, those of the spaced walk carry their
    number of calls.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(figures.PAGE_INCH, 3.4))
    keys = ["vae", "walk", "initial_noise_sd"]
    for (vae, walk, noise), rows in walks.sort_values("T").groupby(keys):
        full = noise == 1
        style: dict[str, Any] = {
            "color": figures.colour(str(vae)),
            "ls": "-" if walk == "spaced" else ":",
        }
        style |= {"marker": "o", "ms": 4, "mfc": None if full else "white"}
        label = f"{vae}, {SHORT.get(str(walk), walk)}" if full else None
        for axis, x, y in zip(
            axes, ("T", "T", "psnr_db"), ("psnr_db", "gmsd", "gmsd"), strict=True
        ):
            axis.plot(rows[x], rows[y], label=label, **style)
    for axis, y in zip(
        axes, ("PSNR, dB", "GMSD (0 is perfect)", "GMSD (0 is perfect)"), strict=True
    ):
        axis.set_ylabel(y)
    calls = sorted(walks["T"].unique())
    is_short = len(calls) <= FEW_POINTS
    for row in walks[walks["walk"] == "spaced"].to_dict("records") if is_short else ():
        place, tone = (row["psnr_db"], row["gmsd"]), figures.colour(row["vae"])
        look: dict[str, Any] = {"ha": "center", "va": "bottom", "xytext": (0, 3)}
        if row["T"] == min(calls):  # both walks begin there
            look = {"ha": "right", "va": "center", "xytext": (-5, 0)}
        elif row["T"] in calls[-2:-1]:  # beside the last, where steps are small
            look = {"ha": "right", "va": "top", "xytext": (0, -2)}
        axes[2].annotate(
            row["T"], place, color=tone, fontsize=8, textcoords="offset points", **look
        )
    ticks = calls if is_short else [T for T in (1, 10, 100, 1000) if T <= max(calls)]
    for axis in axes[:2]:
        axis.set(xscale="log", xlabel="network calls")
        axis.set_xticks(ticks, ticks)
        axis.minorticks_off()
    axes[2].set_xlabel("PSNR, dB")
    faces = {"from full noise": "#707070", "from half the noise": "white"}
    for label, face in faces.items() if walks["initial_noise_sd"].nunique() > 1 else ():
        axes[0].plot([], [], "o", color="#707070", mfc=face, ms=4, label=label)
    axes[0].set_title(title)
    figures.legend_below(figure, axes[0])
    return figure


def schedules(changes: pd.DataFrame, title: str, label: str, margins: Sequence[float]) -> Figure:
    """Draw the change of the gap along the network calls T of both walks, a panel a walk.

    ``changes`` has columns walk, initial_noise_sd, T, change, low and high; hollow points start from
    half of the noise. Bands show the ``margins`` of equivalence; a diamond is the reference, whose
    change is missing.
    """
    walks = {walk: f"{title},\n{WALKS[walk]}" for walk in dict.fromkeys(changes["walk"])}
    figure, axes = figures.panels(walks, 3.4, sharey=True)
    for axis, walk in zip(axes[0], walks, strict=True):
        axis.axhline(0, color="black", lw=0.8)
        for margin in margins:
            axis.axhspan(-margin, margin, **figures.BAND)
        rows = changes[changes["walk"] == walk].sort_values("T")
        for noise, part in rows.dropna(subset="change").groupby("initial_noise_sd", sort=False):
            is_full = noise == 1
            axis.errorbar(
                part["T"] * (1 if is_full else 1.1),
                part["change"],
                figures.error_bars(part, "change"),
                fmt="o-" if is_full else "o--",
                color=GAP,
                mfc=GAP if is_full else "white",
                ms=4,
                capsize=2,
                label="from full noise" if is_full else "from half the noise",
            )
        start = rows.loc[rows["change"].isna(), "T"]
        axis.plot(start, [0] * len(start), "D", color=GAP, mfc="white", ms=6, label="reference")
        axis.set(xscale="log", xlabel="network calls", title=walks[walk])
        ticks = [T for T in (1, 10, 100, 1000) if T <= changes["T"].max()]
        axis.set_xticks(ticks, ticks)
        axis.minorticks_off()
    axes[0, 0].set_ylabel(label)
    figures.legend_below(figure, axes[0, 0])
    return figure


def points(walks: pd.DataFrame) -> str:
    """Tell every point of `perception_distortion` for an alternative text, curve by curve.

    >>> walks = pd.DataFrame({"T": [1, 5], "psnr_db": [18.4, 17.4], "gmsd": [0.226, 0.218]})
    >>> points(walks.assign(vae="a", walk="first"))
    'a, first entries: 18.40 dB and 0.226 at 1 call, 17.40 dB and 0.218 at 5'
    """
    told = []
    for (vae, walk), rows in walks.sort_values("T").groupby(["vae", "walk"], sort=False):
        each = [f"{r.psnr_db:.2f} dB and {r.gmsd:.3f} at {r.T}" for r in rows.itertuples()]
        each[0] += " call" if rows["T"].iloc[0] == 1 else " calls"
        told.append(f"{vae}, {SHORT.get(str(walk), walk)}: {', '.join(each)}")
    return "; ".join(told)


def signal(along: pd.DataFrame) -> Figure:
    """Draw the signal share along the network calls of every walk, a panel a number of calls.

    ``along`` is that of `sampling.signal_along`.
    """
    titles = {total: f"T = {total}" for total in dict.fromkeys(along["T"])}
    figure, axes = figures.panels(titles, 2.6, sharey=True)
    for axis, total in zip(axes[0], titles, strict=True):
        for walk, rows in along[along["T"] == total].groupby("walk", sort=False):
            dash, face = ("-", "black") if walk == "spaced" else (":", "white")
            style: dict[str, Any] = {"marker": "o", "ms": 4 if total <= 10 else 2.5, "mfc": face}
            label = WALKS.get(str(walk), walk)
            axis.plot(rows["call"], rows["signal_share"], dash, color="black", label=label, **style)
        axis.set(title=titles[total], xlabel="network call", ylim=(-0.03, 1.03))
    axes[0, 0].set_ylabel("cumulative signal share")
    figures.legend_below(figure, axes[0, 0])
    return figure


def convergence(parts: pd.DataFrame, title: str) -> Figure:
    """Draw how the gap, its two parts and the other conditions' gaps move with training steps.

    ``parts`` is that of `apart.along_training` with a column ``steps``.
    """
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(figures.PAGE_INCH, 3.6))
    axis.axhline(0, color="black", lw=0.8)
    for effect, tone in PARTS.items():
        rows = parts[parts.effect == effect]
        bars = figures.error_bars(rows, "estimate")
        axis.errorbar(
            rows["steps"], rows["estimate"], bars, fmt="o-", color=tone, label=SAID[effect]
        )
    for style, kind in zip(("s--", "^:"), ("upsampled_latent", "lr_pixels"), strict=True):
        rows = parts[parts.effect == f"gap, {kind}"]
        bars = figures.error_bars(rows, "estimate")
        tone = PARTS["gap"]
        axis.errorbar(
            rows["steps"],
            rows["estimate"],
            bars,
            fmt=style,
            color=tone,
            label=f"gap, {in_words(kind)}",
        )
    axis.set(xscale="log", xlabel="training steps, times the default", ylabel="dB", title=title)
    axis.set_xticks(parts["steps"].unique(), [f"x{k:g}" for k in parts["steps"].unique()])
    axis.minorticks_off()
    figures.legend_below(figure, axis)
    return figure


def along_calls(
    means: pd.Series,
    gaps: Mapping[str, Mapping[int, Mapping[str, float]]],
    titles: Sequence[str],
    few: pd.DataFrame,
    few_label: str,
) -> Figure:
    """Draw PSNR in dB by (walk, T, vae) and the gap of each walk along the network calls T.

    ``few`` has a column an autoencoder, a row a number of calls: PSNR of some images alone, which
    were walked further; they and their gap, the last column less the first, are hollow.
    """
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(figures.PAGE_INCH, 3.4))
    for walk, by_calls in gaps.items():
        dash = "-" if walk == "spaced" else ":"
        level = means[walk].unstack("vae")
        for vae in level:
            tone = figures.colour(str(vae))
            left.plot(
                level[vae], dash, marker="o", color=tone, label=f"{vae}, {SHORT.get(walk, walk)}"
            )
        found = pd.DataFrame(dict(by_calls)).T
        place = found.index * (1 if dash == "-" else 1.08)
        bars = figures.error_bars(found, "mean")
        right.errorbar(
            place,
            found["mean"],
            bars,
            fmt="o" + dash,
            color="black",
            label=SHORT.get(walk, walk),
            capsize=2,
        )
    style: dict[str, Any] = {"marker": "o", "mfc": "white", "lw": 0.8, "ls": "--"}
    for vae in few:
        label = f"{vae}, spaced, {few_label}"
        left.plot(few[vae], color=figures.colour(str(vae)), label=label, **style)
    label = f"spaced, {few_label}"
    right.plot(few.iloc[:, -1] - few.iloc[:, 0], color="black", label=label, **style)
    calls = sorted({*next(iter(gaps.values())), *few.index})
    for axis, text, title in zip(
        (left, right), ("PSNR, dB", "gap, dB; one seed"), titles, strict=True
    ):
        axis.set(xscale="log", xlabel="network calls", ylabel=text, title=title)
        axis.set_xticks(calls, calls)
        axis.minorticks_off()
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, columnspacing=1)
    return figure
