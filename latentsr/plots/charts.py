"""Arms beside one another, and the gap between two, with intervals: tables in, a figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from latentsr.plots import style as figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP = "black"  # a gap and its effects in every figure; marks and faces tell them apart
EFFECTS = {"domain": ("o", GAP), "geometry": ("s", "white"), "interaction": ("^", "#999999")}
CONDITIONS = {"released": ("D", GAP), "lr_latent": ("^", GAP), "upsampled_latent": ("s", "white"),
              "lr_pixels": ("o", "white")}  # fmt: skip
PARTS = {"gap": GAP, "condition": figures.TONES[0], "target": figures.TONES[1]}
SPLIT = PARTS | {"interaction": EFFECTS["interaction"][1]}


def arms(
    psnr: pd.DataFrame, bicubic: pd.Series, conditions: Sequence[str], titles: Mapping[str, str]
) -> Figure:
    """Draw PSNR in dB, rows (dataset, vae), of every arm under each LR condition (the columns)."""
    vaes = list(dict.fromkeys(psnr.index.get_level_values("vae")))
    high_inch = 1.4 + 0.1 * len(vaes) * len(conditions)
    figure, axes = figures.panels(titles, high_inch, sharey=True)
    for axis, name in zip(axes[0], titles, strict=True):
        for step, vae in enumerate(vaes):
            places = [k + 0.15 * (step - (len(vaes) - 1) / 2) for k in range(len(conditions))]
            level = psnr.loc[(name, vae), list(conditions)]
            axis.plot(level, places, "o", color=figures.colour(vae), label=vae)
        axis.axvline(bicubic[name], color=figures.colour("bicubic"), ls="--", label="bicubic")
        figures.name_conditions(axis, conditions, titles[name])
    figures.label_below(axes, "PSNR against the true image, dB")
    figures.legend_below(figure, axes[0, 0])
    return figure


def error_parts(
    errors: pd.DataFrame, conditions: Sequence[str], vaes: Sequence[str], titles: Mapping[str, str]
) -> Figure:
    """Draw mean squared errors as bars: decode (full tone), latent on it (pale), their sum a mark.

    ``errors`` has rows (dataset, vae, arm), arms those of ``conditions``, and the columns of
    `metrics.error_parts`; the mark is the whole error, apart from the bar's end by the cross term.
    """
    figure, axes = figures.panels(titles, 1.0 + 0.8 * len(conditions), sharey=True)
    for axis, name in zip(axes[0], titles, strict=True):
        for step, vae in enumerate(vaes):
            rows = 1e3 * errors.loc[[(name, vae, kind) for kind in conditions]]
            places = [k + 0.36 * (step - (len(vaes) - 1) / 2) for k in range(len(conditions))]
            tone, lost = figures.colour(vae), rows["mse_decode"]
            axis.barh(places, lost, 0.32, color=tone, label=f"{vae}: lost by the autoencoder")
            axis.barh(places, rows["mse_latent"], 0.32, lost, color=tone, alpha=0.35,
                      label=f"{vae}: added by the latent")  # fmt: skip
            axis.plot(rows.sum(axis=1), places, "D", color="black", ms=4, label="whole error")
        figures.name_conditions(axis, conditions, titles[name])
    figures.label_below(axes, "mean squared error of grey values 0 to 1, times 1000")
    figures.legend_below(figure, axes[0, 0])
    return figure


def target_condition(
    level: pd.Series,
    parts: pd.DataFrame,
    bicubic: Mapping[str, float],
    main_vaes: Sequence[str],
    seen: Sequence[str],
    titles: Mapping[str, str],
) -> Figure:
    """Draw what is seen against what is made, and the gap split into the two, their interaction.

    Parameters
    ----------
    level : Series
        PSNR in dB by (dataset, vae, seen).
    parts : DataFrame
        Of `factorial.contrasts`, with a column ``dataset``.
    bicubic : mapping
        PSNR of bicubic interpolation in dB by dataset.
    main_vaes, seen : sequence of str
        The two targets; what denoisers see, from least to most.
    titles : mapping
        Title of a panel by dataset.
    """
    figure, axes = figures.panels(titles, 4.9, 2, sharey="row", height_ratios=[2.2, 1.4])
    ends = parts.loc[parts.effect.isin(list(SPLIT)), ["low", "high", "estimate"]].to_numpy(float)
    widest = max(1e-3, float(pd.Series(ends.ravel()).abs().max()) * 1.1)
    for (above, below), name in zip(axes.T, titles, strict=True):
        for vae in main_vaes:
            line = level[name, vae].reindex(list(seen)).to_numpy()
            tone = figures.colour(vae)
            above.plot(line, range(len(line)), "o-", color=tone, label=f"makes {vae}'s latent")
        tone = figures.colour("bicubic")
        above.axvline(bicubic[name], color=tone, ls="--", label="bicubic")
        labels = [figures.CONDITION_LABELS.get(text, text.replace("of ", "of\n")) for text in seen]
        above.set_yticks(range(len(seen)), [f"sees {label}" for label in labels])
        rows = parts[parts.dataset == name].set_index("effect").loc[list(SPLIT)]
        seen_db, made_db = rows.loc[["condition", "target"], "estimate"]
        finding = f"seen {seen_db:+.1f}, denoised {made_db:+.1f} dB"
        above.set(
            title=f"{titles[name]}\n{finding}", xlabel="PSNR, dB", ylim=(len(seen) - 0.7, -0.3)
        )
        places = range(len(SPLIT))
        below.axvline(0, color="black", lw=0.8)
        below.barh(places, rows["estimate"], color=list(SPLIT.values()), height=0.6)
        bars = figures.error_bars(rows, "estimate")
        below.errorbar(rows["estimate"], places, xerr=bars, fmt="none", color="black", capsize=2)
        below.axhline(2.5, color="#999999", lw=0.8, ls=":")  # above it parts add up, below not
        below.set_yticks(places, ["gap, own LR latents", "= seen", "+ denoised", "interaction"])
        below.set(xlabel="difference, dB; one seed", xlim=(-widest, widest), ylim=(3.6, -0.6))
    figures.legend_below(figure, axes[0, 0])
    return figure


def effects(table: pd.DataFrame, conditions: Sequence[str], titles: Mapping[str, str]) -> Figure:
    """Draw domain, geometry and their interaction under each LR condition, with intervals."""
    figure, axes = figures.panels(titles, 1.4 + 0.6 * len(conditions), sharey=True)
    for axis, name in zip(axes[0], titles, strict=True):
        axis.axvline(0, color="black", lw=0.8)
        for step, effect in enumerate(EFFECTS):
            rows = table[(table.dataset == name) & (table.effect == effect)]
            _effect(axis, rows, conditions, 0.2 * (step - 1), effect)
        figures.name_conditions(axis, conditions, titles[name])
    figures.label_below(axes, "effect on PSNR, dB")
    figures.legend_below(figure, axes[0, -1])
    return figure


def _effect(
    axis: Axes, rows: pd.DataFrame, conditions: Sequence[str], shift: float, name: str
) -> None:
    places = [list(conditions).index(kind) + shift for kind in rows["lr_condition"]]
    bars = figures.error_bars(rows, "estimate")
    mark, face = EFFECTS[name]
    style: dict[str, Any] = {"fmt": mark, "mfc": face, "color": GAP, "capsize": 2, "label": name}
    axis.errorbar(rows["estimate"], places, xerr=bars, **style)
