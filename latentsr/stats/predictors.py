"""Numbers that need no diffusion training, and how well each foretells super-resolution."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd

from latentsr import io as scores
from latentsr.plots.labels import in_words
from latentsr.stats import screening
from latentsr.stats.lr_regression import predictability

RESPONSES = ("psnr_db", "excess_mse")
FEW = 6  # autoencoders: the best of several rules on so few is as likely a chance


def of_autoencoders(results: Path, sets: Iterable[str], ceilings: pd.DataFrame) -> pd.DataFrame:
    """Return the predictors of every autoencoder, by (dataset, vae).

    Ceilings (PSNR, MS-SSIM, mean of the finest subbands), the LR image's own copy and that copy
    enlarged against HR, the budget (log2 of numbers a pixel), and the latent's predictability from
    the LR image, for those whose latents were kept.
    """
    kept = ["psnr_db", "ms_ssim", "lr_copy_db", "round_trip_db"]
    found = scores.subject_mean(ceilings, ["dataset", "vae"], kept)
    found = found.rename(columns={"psnr_db": "ceiling_db", "ms_ssim": "ceiling_ms_ssim"})
    for name in sets:
        folder = results / "autoencoders" / name
        data = scores.read_arrays(results / "data" / name)
        for card in json.loads((folder / "cards.json").read_text()):
            place = name, card["vae"]
            finest = [v for band, v in card["subband_psnr_db"].items() if band.endswith("1")]
            found.loc[place, "finest_bands_db"] = np.mean(finest)
            found.loc[place, "budget"] = np.log2(card["numbers_a_pixel"])
            if (latents := folder / "latents" / card["vae"]).is_dir():
                hr = scores.read_arrays(latents)["hr"]
                told = predictability(hr, data["lr"], data["split"] == "train")
                found.loc[place, "predictability"] = told
    return found


def with_corners(scored: pd.DataFrame, corners: pd.DataFrame) -> pd.DataFrame:
    """Add the released arms of four corners (chapter 7, one set) where ``scored`` has none.

    Both are per-image tables of arms; ``corners`` is empty where that chapter's long part was not
    run.

    >>> arms = pd.DataFrame({"arm": ["released"], "dataset": "x", "vae": "a", "psnr_db": 20.0})
    >>> more = arms.assign(vae="b", role="")
    >>> with_corners(arms, pd.concat([arms.assign(role=""), more]))[["vae", "psnr_db"]].values.tolist()
    [['a', 20.0], ['b', 20.0]]
    """
    keys = ["arm", "dataset", "vae"]
    known = set(scored[keys].itertuples(index=False, name=None))
    new = [
        row not in known for row in corners.reindex(columns=keys).itertuples(index=False, name=None)
    ]
    if not any(new):
        return scored
    return pd.concat([scored, corners[new].reindex(columns=scored.columns)], ignore_index=True)


def responses(scored: pd.DataFrame) -> pd.DataFrame:
    """Return PSNR and excess error of arms by (arm, dataset, vae), means over subjects.

    The excess is an SR image's squared error less that of its ceiling: what the latent adds, with
    the cross term (`metrics.error_parts`). That takes the ceiling's error out of the response, but
    with the opposite sign back in: where SR does not hang on the ceiling at all, a higher ceiling
    leaves a larger excess.
    """
    parts = scored.assign(excess_mse=scored["mse_latent"] + scored["mse_cross"])
    return scores.subject_mean(parts, ["arm", "dataset", "vae"], list(RESPONSES))


def compare(
    points: pd.DataFrame, predictors: Sequence[str], responses: Sequence[str] = RESPONSES
) -> pd.DataFrame:
    """Regress every response on every predictor within each arm; columns arm, dataset, vae, ...

    ``within_r`` is Pearson's r within sets; the skills are 1 - (error / error of predicting no
    difference)^2 for a set left out and for an autoencoder left out; nan where there are too few
    points.

    >>> rows = {"arm": ["x"] * 6, "dataset": [*"aaabbb"], "vae": [*"uvwuvw"]}
    >>> rows |= {"one": [1.0, 2.0, 3.0, 5.0, 6.0, 7.0], "psnr_db": [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]}
    >>> compare(pd.DataFrame(rows), ["one"], ["psnr_db"]).iloc[0, 3:].tolist()
    [6.0, 3.0, 3.0, 1.0, 1.0, 1.0]
    """
    rows = []
    for arm, part in points.groupby("arm", sort=False):
        sets, vaes = list(part["dataset"]), list(part["vae"])
        for response in responses:
            for predictor in predictors:
                x, y = part[predictor], part[response]
                row = {"arm": arm, "response": response, "predictor": predictor}
                counts = part.groupby("dataset")["vae"].nunique()
                row |= {"n_points": len(x), "n_vaes": len(set(vaes))}
                row["n_vaes_of_each_set"] = counts.min()
                row["within_r"] = screening.within_correlation(x, y, sets)
                row |= {"skill_set_left_out": nan, "skill_vae_left_out": nan}
                if len(x) >= 3 and np.ptp(x) > 0:
                    fit = screening.regress(x, y, sets)
                    errors = fit.left_out_rmse, fit.no_difference_rmse
                    row["skill_set_left_out"] = 1 - (errors[0] / errors[1]) ** 2
                    if len(set(vaes)) > 2:
                        errors = screening.left_out_unit(x, y, sets, vaes)
                        row["skill_vae_left_out"] = 1 - (errors[0] / errors[1]) ** 2
                rows.append(row)
    return pd.DataFrame(rows)


def best_rule(table: pd.DataFrame, arm: str, response: str = "psnr_db") -> str:
    """Say in words which predictor of `compare` foretells a set left out best, and how well.

    Skills that are equal to two digits are a tie. Of ``excess_mse`` only a negative r counts: a
    higher ceiling leaves a larger excess also where SR does not hang on it (`responses`).
    """
    part = table[(table["arm"] == arm) & (table["response"] == response)]
    part = part.dropna(subset="skill_set_left_out")
    if part.empty:
        return "too few points"
    skilled = part[part["skill_set_left_out"] > 0]
    counted = skilled if response == "psnr_db" else skilled[skilled["within_r"] < 0]
    if counted.empty:
        only = ", but with the positive r that is no finding" * (len(skilled) > 0)
        return f"nothing foretells a set left out{only}"
    skill = float(counted["skill_set_left_out"].max())
    best = counted[counted["skill_set_left_out"].round(2) == round(skill, 2)]
    words = [
        f"{row['predictor']} (within-set r {row['within_r']:+.2f}"
        f"{_left_out(row['skill_vae_left_out'])})"
        for row in best.to_dict("records")
    ]
    verb = "foretells a set left out best" if len(words) == 1 else "foretell a set left out alike"
    text = f"{' and '.join(words)} {verb} (skill {skill:.2f})"
    named = part.set_index("predictor")
    own, towards = map(float, named.loc["ceiling_db", ["skill_set_left_out", "within_r"]])
    text += f"; the ceiling's skill is {own:.2f}"
    if response == "psnr_db":
        text += ", and a higher one goes with worse SR" * (towards < 0)
    else:
        text += ", of a positive r that is no finding" * (towards > 0)
    few = f"; the best of {len(part)} rules on {_vaes(part)}, picked after the fact: no rule yet"
    return text + few * (int(part["n_vaes"].max()) <= FEW)


def _vaes(part: pd.DataFrame) -> str:
    every, each = int(part["n_vaes"].max()), int(part["n_vaes_of_each_set"].min())
    return f"{every} autoencoders" + f", {each} of them on every set" * (each < every)


def _left_out(skill: float) -> str:
    return "" if skill != skill else f", skill for an autoencoder left out {skill:.2f}"


def against_ceiling(table: pd.DataFrame, arm: str) -> str:
    """Say whether the LR image's round trip foretells SR's PSNR better than the HR ceiling does."""
    part = table[(table["arm"] == arm) & (table["response"] == "psnr_db")].set_index("predictor")
    names = ["round_trip_db", "ceiling_db"]
    trip, ceiling = map(float, part.loc[names, "skill_set_left_out"])
    if trip != trip or ceiling != ceiling:
        return f"{in_words(arm)}: LR round trip and HR ceiling not compared (too few points)"
    word = "better" if round(trip, 2) > round(ceiling, 2) else "no better"
    return (
        f"{in_words(arm)}: the LR round trip foretells a set left out {word} than the HR ceiling "
        f"(skill {trip:.2f} against {ceiling:.2f}, {_vaes(part)})"
    )


def around_limit(points: pd.DataFrame) -> pd.DataFrame:
    """Return SR's slope on the ceiling, dB a dB within sets, below and above ``limit_db``.

    ``points`` has arm, dataset, ceiling_db, psnr_db and limit_db, what regression from the LR
    image reaches without an autoencoder. Columns arm; below, with its interval's below_low and
    below_high (`screening.regress`), and n_below; the same above.
    """
    rows = []
    for arm, part in points.groupby("arm", sort=False):
        row: dict[str, object] = {"arm": arm}
        low = part["ceiling_db"] < part["limit_db"]
        for side, some in (("below", part[low]), ("above", part[~low])):
            row[f"n_{side}"] = len(some)
            values = some["ceiling_db"], some["psnr_db"]
            enough = len(some) >= 3 and all(np.ptp(v) > 0 for v in values)
            fit = screening.regress(*values, list(some["dataset"])) if enough else None
            ends = (fit.within_slope, fit.within_low, fit.within_high) if fit else (nan,) * 3
            row |= dict(zip((side, f"{side}_low", f"{side}_high"), ends, strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def _ends(low: float, high: float) -> str:
    return "" if low != low else f" [{low:.2f}, {high:.2f}]"


def worth(limits: pd.DataFrame) -> dict[str, str]:
    """Say by arm what a dB of ceiling is worth below and above the limit (`around_limit`).

    >>> row = {"arm": "lr_pixels", "below": 0.9, "below_low": 0.7, "below_high": 1.1, "n_below": 9}
    >>> row |= {"above": float("nan"), "n_above": 2}
    >>> worth(pd.DataFrame([row]))["lr_pixels"].split("in SR, ")[-1]
    '+0.90 dB [0.70, 1.10] below the limit (9 points), above it nothing known (2 points)'
    """
    told = {}
    for row in limits.to_dict("records"):
        below, above = (
            f"{row[side]:+.2f} dB{_ends(row[f'{side}_low'], row[f'{side}_high'])}"
            if row[side] == row[side]
            else "nothing known"
            for side in ("below", "above")
        )
        told[row["arm"]] = (
            f"{in_words(row['arm'])}: within sets a dB of ceiling is worth, in SR, {below} below the "
            f"limit ({row['n_below']} points), above it {above} ({row['n_above']} points)"
        )
    return told
