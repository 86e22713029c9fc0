"""Figures that several panels make up; each takes tables and gives a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from latentsr import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EFFECTS = {"domain": "#009E73", "geometry": "#CC79A7", "interaction": "#777777"}
PARTS = {"gap": "#555555", "condition": "#CC79A7", "target": "#009E73"}
PANEL_INCH = 4.4


def _panels(titles: Mapping[str, str], height_inch: float, rows: int = 1, **options: Any) -> Any:
    import matplotlib.pyplot as plt

    size = (PANEL_INCH * len(titles), height_inch)
    return plt.subplots(rows, len(titles), figsize=size, squeeze=False, **options)


def _bars(rows: pd.DataFrame, middle: str) -> list[pd.Series]:
    """Return lengths of error bars; nothing is drawn where an interval was not given."""
    return [rows[middle] - rows["low"], rows["high"] - rows[middle]]


def _conditions(axis: Axes, names: Sequence[str], title: str) -> None:
    """Write the LR conditions below a panel and its title above."""
    axis.set_xticks(range(len(names)), [figures.CONDITION_LABELS[name] for name in names])
    axis.set_title(title)


def arms(
    psnr: pd.DataFrame, bicubic: pd.Series, conditions: Sequence[str], titles: Mapping[str, str]
) -> Figure:
    """Draw PSNR in dB, rows (dataset, vae), of every arm under each LR condition (the columns)."""
    figure, axes = _panels(titles, 3.6, sharey=True)
    vaes = list(dict.fromkeys(psnr.index.get_level_values("vae")))
    for axis, name in zip(axes[0], titles, strict=True):
        for step, vae in enumerate(vaes):
            places = [k + 0.15 * (step - (len(vaes) - 1) / 2) for k in range(len(conditions))]
            level = psnr.loc[(name, vae), list(conditions)]
            axis.plot(places, level, "o", color=figures.colour(vae), label=vae)
        axis.axhline(bicubic[name], color=figures.colour("bicubic"), ls="--", label="bicubic")
        _conditions(axis, conditions, titles[name])
    axes[0, 0].set_ylabel("PSNR against the true image, dB")
    figures.legend_below(figure, axes[0, 0])
    return figure


def error_parts(
    errors: pd.DataFrame, conditions: Sequence[str], vaes: Sequence[str], titles: Mapping[str, str]
) -> Figure:
    """Draw mean squared errors as bars: decode (full tone), latent on it (pale), their sum a mark.

    ``errors`` has rows (dataset, vae, lr_condition) and the columns of `metrics.error_parts`; the
    mark is the whole error, apart from the bar's end by the cross term.
    """
    figure, axes = _panels(titles, 3.4)
    for axis, name in zip(axes[0], titles, strict=True):
        for step, vae in enumerate(vaes):
            rows = errors.loc[[(name, vae, kind) for kind in conditions]]
            places = [k + 0.36 * (step - (len(vaes) - 1) / 2) for k in range(len(conditions))]
            tone, lost = figures.colour(vae), rows["mse_decode"]
            axis.bar(places, lost, 0.32, color=tone, label=f"{vae}: lost by the autoencoder")
            axis.bar(places, rows["mse_latent"], 0.32, lost, color=tone, alpha=0.35,
                     label=f"{vae}: added by the latent")  # fmt: skip
            axis.plot(places, rows.sum(axis=1), "D", color="black", ms=4, label="whole error")
        _conditions(axis, conditions, titles[name])
    axes[0, 0].set_ylabel("mean squared error")
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
    """Draw what is seen against what is made, and the gap split into the two.

    Parameters
    ----------
    level : Series
        PSNR in dB by (dataset, vae, seen).
    parts : DataFrame
        Of `attribution.target_and_condition`, with a column ``dataset``.
    bicubic : mapping
        PSNR of bicubic interpolation in dB by dataset.
    main_vaes, seen : sequence of str
        The two targets; what denoisers see, from least to most.
    titles : mapping
        Title of a panel by dataset.
    """
    figure, axes = _panels(titles, 5.2, 2, height_ratios=[3, 1.3])
    ends = parts[["low", "high", "estimate"]].to_numpy(float)
    widest = max(1e-3, float(pd.Series(ends.ravel()).abs().max()) * 1.1)
    for (above, below), name in zip(axes.T, titles, strict=True):
        for vae in main_vaes:
            line = level[name, vae].reindex(list(seen)).to_numpy()
            above.plot(line, "o-", color=figures.colour(vae), label=f"makes {vae}'s latent")
        tone = figures.colour("bicubic")
        above.axhline(bicubic[name], color=tone, ls="--", label="bicubic")
        labels = [figures.CONDITION_LABELS.get(text, text.replace("of ", "of\n")) for text in seen]
        above.set_xticks(range(len(seen)), labels, fontsize=6)
        above.set_title(titles[name])
        rows = parts[parts.dataset == name].set_index("effect").loc[list(PARTS)]
        below.axvline(0, color="black", lw=0.8)
        below.barh(range(3), rows["estimate"], color=list(PARTS.values()), height=0.6)
        bars = _bars(rows, "estimate")
        below.errorbar(rows["estimate"], range(3), xerr=bars, fmt="none", color="black", capsize=2)
        below.set_yticks(range(3), ["gap", "seen", "denoised"])
        below.set(xlabel="dB", xlim=(-widest, widest), ylim=(2.6, -0.6))
    axes[0, 0].set_ylabel("PSNR against the true image, dB")
    figures.legend_below(figure, axes[0, 0])
    return figure


def forest(table: pd.DataFrame, titles: Mapping[str, str], label: str) -> Figure:
    """Draw the gap of every arm with its interval: columns dataset, arm, gap, low, high."""
    names = list(dict.fromkeys(table["arm"]))
    figure, axes = _panels(titles, 1.0 + 0.35 * len(names), sharex=True, sharey=True)
    for axis, name in zip(axes[0], titles, strict=True):
        rows = table[table.dataset == name]
        axis.axvline(0, color="black", lw=0.8)
        places = [names.index(arm) for arm in rows["arm"]]
        bars = _bars(rows, "gap")
        axis.errorbar(rows["gap"], places, xerr=bars, fmt="o", color="black", capsize=2)
        axis.set_title(titles[name])
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel(label, fontsize=9)
    return figure


def tornado(table: pd.DataFrame, title: str) -> Figure:
    """Draw what each lever moves one arm by, the largest first, a panel a protocol.

    ``table`` is that of `attribution.against_base` with a column ``protocol``. Beside a bar stands
    how many times the operations of the unchanged arm it takes, in training and for an image.
    """
    protocols = list(dict.fromkeys(table["protocol"]))
    size = table["gap"].abs().groupby([table["protocol"], table["lever"]]).transform("max")
    ordered = table.assign(_size=size).sort_values("_size", ascending=False, kind="stable")
    figure, axes = _panels({name: name for name in protocols}, 1.0 + 0.32 * len(table) / 2)
    reach = float(table[["low", "high", "gap"]].abs().max().max()) * 1.1
    for axis, protocol in zip(axes[0], protocols, strict=True):
        rows = ordered[ordered.protocol == protocol]
        tones = ["#0072B2" if lever == "autoencoder" else "#999999" for lever in rows["lever"]]
        axis.barh(range(len(rows)), rows["gap"], color=tones, height=0.65)
        bars, places = _bars(rows, "gap"), range(len(rows))
        axis.errorbar(rows["gap"], places, xerr=bars, fmt="none", color="black", capsize=2)
        axis.axvline(0, color="black", lw=0.8)
        costs = zip(rows["train_times"], rows["image_times"], strict=True)
        for place, (train, image) in enumerate(costs):
            told = f"{train:.2g} · {image:.2g}"
            axis.text(1.02, place, told, transform=axis.get_yaxis_transform(), va="center", size=7)
        told = "times the operations:\ntraining · image"
        axis.text(1.02, -0.9, told, transform=axis.get_yaxis_transform(), va="bottom", size=6)
        axis.set_yticks(places, rows["arm"])
        axis.set(xlim=(-reach, reach), ylim=(len(rows) - 0.5, -0.7))
        axis.set_title(f"from {protocol}")
    figure.suptitle(title, x=0.01, ha="left", size=10)
    figure.supxlabel("PSNR above the unchanged arm, dB", fontsize=9)
    return figure


def effects(table: pd.DataFrame, conditions: Sequence[str], titles: Mapping[str, str]) -> Figure:
    """Draw domain, geometry and their interaction under each LR condition, with intervals."""
    figure, axes = _panels(titles, 3.4, sharey=True)
    for axis, name in zip(axes[0], titles, strict=True):
        axis.axhline(0, color="black", lw=0.8)
        for step, (effect, tone) in enumerate(EFFECTS.items()):
            _effect(axis, table[(table.dataset == name) & (table.effect == effect)], conditions,
                    0.2 * (step - 1), tone, effect)  # fmt: skip
        _conditions(axis, conditions, titles[name])
    axes[0, 0].set_ylabel("effect on PSNR, dB")
    figures.legend_below(figure, axes[0, -1])
    return figure


def _effect(
    axis: Axes, rows: pd.DataFrame, conditions: Sequence[str], shift: float, tone: str, name: str
) -> None:
    places = [list(conditions).index(kind) + shift for kind in rows["lr_condition"]]
    bars = _bars(rows, "estimate")
    axis.errorbar(places, rows["estimate"], bars, fmt="o", color=tone, capsize=2, label=name)


def masks(rows: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw images side by side, a row a set; keys are titles."""
    import matplotlib.pyplot as plt

    across = max(map(len, rows.values()))
    size = (1.8 * across, 1.9 * len(rows))
    figure, axes = plt.subplots(len(rows), across, figsize=size, squeeze=False)
    for line, pictures in zip(axes, rows.values(), strict=True):
        for axis, (title, picture) in zip(line, pictures.items(), strict=True):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
            axis.set_axis_off()
            axis.set_title(title, fontsize=8)
    return figure


def rate_maps(rows: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw maps of shares side by side on one scale, a row a set; keys are titles."""
    import matplotlib.pyplot as plt

    across = max(map(len, rows.values()))
    size = (1.8 * across + 0.8, 0.3 + 1.9 * len(rows))
    figure, axes = plt.subplots(len(rows), across, figsize=size, squeeze=False)
    most = max(float(one.max()) for line in rows.values() for one in line.values())
    for line, (name, maps) in zip(axes, rows.items(), strict=True):
        for axis, (title, one) in zip(line, maps.items(), strict=True):
            drawn = axis.imshow(one, cmap="viridis", vmin=0, vmax=most)
            axis.set_axis_off()
            axis.set_title(title, fontsize=7)
        place = {"transform": line[0].transAxes, "rotation": 90, "ha": "right", "va": "center"}
        line[0].text(-0.06, 0.5, name, fontsize=7, **place)
    figure.colorbar(drawn, ax=axes, label="share of test images", shrink=0.8)
    return figure


def transfer(table: pd.DataFrame, titles: Mapping[str, str], last: str) -> Figure:
    """Draw the share of a lesion's contrast that arrives, by its size; a column a set.

    ``table`` has columns dataset, arm, vae, sd_px, transfer, low and high; arm ``last`` is filled,
    others are hollow, "ceiling" is a cross.
    """
    figure, axes = _panels(titles, 3.6, sharey=True)
    for axis, name in zip(axes[0], titles, strict=True):
        rows = table[table["dataset"] == name]
        for step, ((arm, vae), part) in enumerate(rows.groupby(["arm", "vae"], sort=False)):
            tone = figures.colour(str(vae))
            style: dict[str, Any] = {"color": tone, "mfc": tone if arm in (last, "") else "white"}
            style |= {"marker": "x" if arm == "ceiling" else "o", "capsize": 2}
            style |= {"ls": ":" if arm == "released" else "-" if arm else "--"}
            label = f"{vae}, {arm}" if arm else str(vae)
            places = part["sd_px"] * (1 + 0.012 * step)
            axis.errorbar(places, part["transfer"], _bars(part, "transfer"), label=label, **style)
        axis.axhline(1, color="black", lw=0.8)
        axis.set_title(titles[name])
        axis.set_xlabel("SD of the lesion, pixels")
    axes[0, 0].set_ylabel("share of its contrast that arrives")
    figures.legend_below(figure, axes[0, 0])
    return figure


def free_response(table: pd.DataFrame, titles: Mapping[str, str], last: str) -> Figure:
    """Draw lesions found against false marks an image; columns dataset, arm, vae, false, found."""
    figure, axes = _panels(titles, 3.4, sharey=True)
    for axis, name in zip(axes[0], titles, strict=True):
        rows = table[table["dataset"] == name]
        for (arm, vae), part in rows.groupby(["arm", "vae"], sort=False):
            dash = ":" if arm == "released" else "-" if arm in (last, "ceiling") else "--"
            tone = "black" if vae == "HR" else figures.colour(str(vae))
            width = 1 if arm == "ceiling" else 2
            label = f"{vae}, {arm}" if arm else str(vae)
            axis.plot(part["false"], part["found"], ls=dash, lw=width, color=tone, label=label)
        axis.set(title=titles[name], xlabel="false marks an image", xscale="log", ylim=(0, 1))
    axes[0, 0].set_ylabel("lesions found")
    figures.legend_below(figure, axes[0, 0])
    return figure


def rates(
    table: pd.DataFrame, common: str, conditions: Sequence[str], titles: Mapping[str, str]
) -> Figure:
    """Draw rates of added (upper row) and lost signal (lower row), a column a set.

    ``table`` has columns dataset, arm, vae, floor_of and the two rates; filled marks have the
    floor of ``common``, hollow ones each arm's own.
    """
    figure, axes = _panels(titles, 5, 2, sharex=True, sharey=True)
    vaes = list(dict.fromkeys(table["vae"]))
    for line, measure in zip(axes, ("hallucination_rate", "loss_rate"), strict=True):
        for axis, name in zip(line, titles, strict=True):
            for step, vae in enumerate(vaes):
                rows = table[(table["dataset"] == name) & (table["vae"] == vae)]
                places = [k + 0.15 * (step - (len(vaes) - 1) / 2) for k in range(len(conditions))]
                tone = figures.colour(vae)
                for owner, face in (("own", "white"), (common, tone)):
                    level = rows[rows["floor_of"] == owner].set_index("arm")[measure]
                    label = vae if owner == common else None
                    axis.plot(places, level.reindex(list(conditions)), "o", color=tone,
                              markerfacecolor=face, label=label)  # fmt: skip
            _conditions(axis, conditions, titles[name])
            axis.tick_params(axis="x", labelsize=7)
    axes[0, 0].set_ylabel("share of pixels added")
    axes[1, 0].set_ylabel("share of pixels lost")
    figures.legend_below(figure, axes[0, 0])
    return figure


def pairing(
    table: pd.DataFrame,
    owners: Sequence[str],
    arms: Sequence[str],
    moved: Mapping[str, float],
    margin: float,
    titles: Mapping[str, str],
) -> Figure:
    """Draw Cohen's h by pairing (left, right in a panel) and floor, a row an arm, a column a set."""
    arms = list(dict.fromkeys(arms))
    figure, axes = _panels(titles, 0.8 + 2.4 * len(arms), len(arms), sharey=True)
    others = ("#000000", "#009E73")
    tones = {o: figures.colour(o) for o in owners} | dict(
        zip(("own", "fixed"), others, strict=True)
    )
    for line, arm in zip(axes, arms, strict=True):
        line[0].set_ylabel(f"Cohen's h, {arm}")
        for axis, name in zip(line, titles, strict=True):
            axis.axhspan(-margin, margin, color="#009E73", alpha=0.3, lw=0)
            rows = table[(table["dataset"] == name) & (table["arm"] == arm)]
            for (owner, how), part in rows.groupby(["floor_of", "pairing"]):
                place = 0.15 * (owners.index(owner) - (len(owners) - 1) / 2) + (how == "position")
                axis.errorbar(place, part["h"], _bars(part, "h"), fmt="o", color=tones[str(owner)],
                              capsize=2, label=f"floor: {owner}")  # fmt: skip
            axis.set_xticks((0, 1), ("paired by id", f"by position ({moved[name]:.0%} move)"))
            axis.set_xlim(-0.5, 1.5)
            axis.set_title(titles[name])
    figures.legend_below(figure, axes[0, 0])
    return figure


def growth(table: pd.DataFrame, margin: float, titles: Mapping[str, str]) -> Figure:
    """Draw h and the gap in the coarsest band along the share of mis-paired images."""
    figure, axes = _panels(titles, 5, 2, sharex=True, sharey="row")
    for column, name in zip(axes.T, titles, strict=True):
        rows = table[table["dataset"] == name]
        for (arm, part), dash in zip(rows.groupby("arm", sort=False), ("-", ":"), strict=False):
            for axis, measure in zip(column, ("h", "gap_ll3_db"), strict=True):
                style = {"marker": "o", "ls": dash, "color": "black", "label": str(arm)}
                axis.plot(part["share_moved"], part[measure], **style)
        column[0].axhspan(-margin, margin, color="#009E73", alpha=0.3, lw=0)
        column[1].axhline(0, color="#777777", lw=0.8)
        column[0].set_title(titles[name])
        column[1].set_xlabel("share of images with another's name")
    axes[0, 0].set_ylabel("Cohen's h, added signal")
    axes[1, 0].set_ylabel("gap in LL3, dB")
    figures.legend_below(figure, axes[0, 0])
    return figure


def gap_forest(
    table: pd.DataFrame,
    measures: Sequence[str],
    margin: float,
    titles: Mapping[str, str],
    tone: str,
) -> Figure:
    """Draw the gap against two references (columns) by set and arm (rows), with intervals.

    ``table`` has columns measure, dataset, lr_condition, mean_difference, low and high; hollow
    marks have no interval.
    """
    import matplotlib.pyplot as plt

    rows = table[table["measure"] == measures[0]]
    places = [(name, k) for name in titles for k in rows[rows["dataset"] == name]["lr_condition"]]
    size = (9, 0.5 + 0.32 * len(places))
    figure, axes = plt.subplots(1, 2, figsize=size, sharey=True)
    words = ("against the true HR image", "against the own decode")
    for axis, measure, word in zip(axes, measures, words, strict=True):
        axis.axvspan(-margin, margin, color="#009E73", alpha=0.3, lw=0)
        for row in table[table["measure"] == measure].to_dict("records"):
            y = -places.index((row["dataset"], row["lr_condition"]))
            axis.plot([row["low"], row["high"]], [y, y], color=tone, lw=2)
            face = tone if row["low"] == row["low"] else "white"
            axis.plot(row["mean_difference"], y, "o", color=tone, mfc=face)
        axis.set_title(word)
    axes[0].set_yticks([-y for y in range(len(places))], [f"{titles[n]}, {k}" for n, k in places])
    figure.supxlabel("PSNR gap, dB", fontsize=9)
    return figure


def agreement(
    means: pd.DataFrame, found: pd.DataFrame, arms: Sequence[str], titles: Mapping[str, str]
) -> Figure:
    """Draw SR minus HR mean intensity against their mean, a point a subject; rows are arms.

    ``means`` has columns dataset, arm, vae, sr and hr; ``found`` is indexed by the first three
    and has the columns of `agreement.Limits`.
    """
    arms = list(dict.fromkeys(arms))
    figure, axes = _panels(titles, 0.8 + 2.6 * len(arms), len(arms), sharey="col")
    for line, arm in zip(axes, arms, strict=True):
        line[0].set_ylabel(f"SR - HR, {arm}")
        for axis, name in zip(line, titles, strict=True):
            axis.axhline(0, color="black", lw=0.8)
            rows = means[(means["dataset"] == name) & (means["arm"] == arm)]
            for vae, part in rows.groupby("vae", sort=False):
                tone, level = figures.colour(str(vae)), found.xs((name, arm, vae))
                x = (part["sr"] + part["hr"]) / 2
                axis.plot(x, part["sr"] - part["hr"], "o", ms=3, color=tone, label=vae)
                for key, dash in (("bias", "-"), ("lower", ":"), ("upper", ":")):
                    axis.axhline(level[key], color=tone, ls=dash, lw=1)
            axis.set_title(titles[name])
    for axis in axes[-1]:
        axis.set_xlabel("mean intensity")
    figures.legend_below(figure, axes[0, 0])
    return figure


def band_detail(table: pd.DataFrame, bands: Sequence[str], titles: Mapping[str, str]) -> Figure:
    """Draw energy ratio and coherence (rows) of wavelet bands, a column a set.

    ``table`` has columns dataset, arm, vae, band, energy_ratio and coherence; the last arm is
    filled, the others are hollow.
    """
    figure, axes = _panels(titles, 5.2, 2, sharex=True, sharey="row")
    last = list(dict.fromkeys(table["arm"]))[-1]
    for column, name in zip(axes.T, titles, strict=True):
        rows = table[table["dataset"] == name]
        for (vae, arm), part in rows.groupby(["vae", "arm"], sort=False):
            if vae == "bicubic" and arm != last:  # the same in every arm
                continue
            tone, filled = figures.colour(str(vae)), arm == last
            label = str(vae) if vae == "bicubic" else f"{vae}, {arm}"
            style: dict[str, Any] = {"color": tone, "mfc": tone if filled else "white"}
            style |= {"ls": "-" if filled else ":", "marker": "o", "ms": 5, "label": label}
            for axis, measure in zip(column, ("energy_ratio", "coherence"), strict=True):
                axis.plot(
                    range(len(bands)), part.set_index("band")[measure].reindex(list(bands)), **style
                )
        for axis in column:
            axis.axhline(1, color="black", lw=0.8)
        column[0].set_title(titles[name])
        column[1].set_xticks(range(len(bands)), bands, rotation=90)
    axes[0, 0].set_ylabel("energy ratio")
    axes[1, 0].set_ylabel("coherence")
    figures.legend_below(figure, axes[0, 0])
    return figure


def perception_distortion(walks: pd.DataFrame, title: str) -> Figure:
    """Draw PSNR and GMSD along the number of network calls, and one against the other.

    ``walks`` has columns vae, walk, noise, T, psnr_db and gmsd; filled points start from full
    noise, hollow ones from half.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4))
    for (vae, walk, noise), rows in walks.sort_values("T").groupby(["vae", "walk", "noise"]):
        full = noise == "noise 1"
        style: dict[str, Any] = {
            "color": figures.colour(str(vae)),
            "ls": "-" if walk == "spaced" else ":",
        }
        style |= {"marker": "o", "ms": 4, "mfc": None if full else "white"}
        label = f"{vae}, {walk}" if full else None
        for axis, x, y in zip(
            axes, ("T", "T", "psnr_db"), ("psnr_db", "gmsd", "gmsd"), strict=True
        ):
            axis.plot(rows[x], rows[y], label=label, **style)
    for axis, y in zip(
        axes, ("PSNR, dB", "GMSD (0 is perfect)", "GMSD (0 is perfect)"), strict=True
    ):
        axis.set_ylabel(y)
    for axis in axes[:2]:
        axis.set(xscale="log", xlabel="network calls")
    axes[2].set_xlabel("PSNR, dB")
    axes[0].set_title(title)
    figures.legend_below(figure, axes[0])
    return figure


def convergence(parts: pd.DataFrame, title: str) -> Figure:
    """Draw how the gap and its two parts move with the training steps; columns as in `gaps`."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5, 3.4))
    axis.axhline(0, color="black", lw=0.8)
    for effect, tone in PARTS.items():
        rows = parts[parts.effect == effect]
        bars = _bars(rows, "estimate")
        axis.errorbar(rows["steps"], rows["estimate"], bars, fmt="o-", color=tone, label=effect)
    axis.set(xscale="log", xlabel="training steps, times the default", ylabel="dB", title=title)
    axis.set_xticks(parts["steps"].unique(), [f"x{k:g}" for k in parts["steps"].unique()])
    axis.minorticks_off()
    axis.legend()
    return figure


def along_calls(
    means: pd.Series, gaps: Mapping[str, Mapping[int, Mapping[str, float]]], titles: Sequence[str]
) -> Figure:
    """Draw PSNR in dB by (walk, T, vae) and the gap of each walk along the network calls T."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2))
    for walk, by_calls in gaps.items():
        dash = "-" if walk == "spaced" else ":"
        level = means[walk].unstack("vae")
        for vae in level:
            tone = figures.colour(str(vae))
            left.plot(level[vae], dash, marker="o", color=tone, label=f"{vae}, {walk}")
        found = pd.DataFrame(dict(by_calls)).T
        place = found.index * (1 if dash == "-" else 1.08)
        bars = _bars(found, "mean")
        right.errorbar(
            place, found["mean"], bars, fmt="o" + dash, color="black", label=walk, capsize=2
        )
    calls = sorted(next(iter(gaps.values())))
    for axis, text, title in zip((left, right), ("PSNR, dB", "gap, dB"), titles, strict=True):
        axis.set(xscale="log", xlabel="network calls", ylabel=text, title=title)
        axis.set_xticks(calls, calls)
        axis.minorticks_off()
        axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return figure
