"""What each LR condition still holds of the LR image: one table of a study, from its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from latentsr import io as scores

OWN_DECODER = {"lr_latent": "lr_copy_db", "upsampled_latent": "upsampled_copy_db"}
ROUND_TRIP = {"lr_latent": "round_trip_db"}
COLUMNS = ["dataset", "condition", "vae", "numbers_seen", "by_regression_db", "by_own_decoder_db",
           "round_trip_db"]  # fmt: skip
WORDS = {  # of a column, here and in `costs`, as a reader meets it
    "numbers_seen": "numbers seen",
    "by_regression_db": "LR by regression, dB",
    "by_own_decoder_db": "LR by own decoder, dB",
    "round_trip_db": "round trip against HR, dB",
    "gflop_a_call": "GFLOP a call",
    "receptive_field_px": "receptive field, px",
    "loss_over_lowest": "loss at the end over its lowest",
    "lr_recovered_db": "LR by regression, dB",
}


def costs(arms: Path, sets: Iterable[str], folders: Mapping[str, str]) -> pd.DataFrame:
    """Read what chapter 3 wrote of every arm's cost and condition; ``folders`` by autoencoder."""
    return pd.concat(
        pd.read_csv(arms / name / folder / "costs.csv").assign(dataset=name, vae=vae)
        for name in sets
        for vae, folder in folders.items()
    )


def table(costs: pd.DataFrame, ceilings: pd.DataFrame, vaes: Sequence[str]) -> pd.DataFrame:
    """Return how well the LR image comes back from each condition, in dB, mean over test subjects.

    Parameters
    ----------
    costs : DataFrame
        Of `costs`; ``lr_recovered_db`` is by ridge regression (`conditions.recovered_psnr_db`).
    ceilings : DataFrame
        Chapter 2's, per image. By the autoencoder's own decoder come the LR latent
        (``lr_copy_db``) and the latent of the enlarged LR image, made small again
        (``upsampled_copy_db``); ``round_trip_db`` is the decoded LR latent enlarged bicubically,
        against the true HR image.
    vaes : sequence of str
        The autoencoders, by label.

    Returns
    -------
    DataFrame
        `COLUMNS`; LR pixels are the same for every autoencoder, a row a set with ``vae`` empty,
        and need no decoder.
    """
    own = scores.subject_mean(
        ceilings, ["dataset", "vae"], [*OWN_DECODER.values(), *ROUND_TRIP.values()]
    )
    places = {(row["dataset"], row["arm"], row["vae"]): row for row in costs.to_dict("records")}
    found = []
    for name in dict.fromkeys(costs["dataset"]):
        wanted = [(kind, vae) for kind in OWN_DECODER for vae in vaes] + [("lr_pixels", vaes[0])]
        for kind, vae in wanted:
            if (name, kind, vae) not in places:  # not among the study's LR conditions
                continue
            row = places[name, kind, vae]
            decoded = [
                own.loc[(name, vae), column[kind]] if kind in column else float("nan")
                for column in (OWN_DECODER, ROUND_TRIP)
            ]
            named = (name, kind, vae if kind in OWN_DECODER else "")
            values = (*named, int(row["numbers_seen"]), row["lr_recovered_db"], *decoded)
            found.append(dict(zip(COLUMNS, values, strict=True)))
    return pd.DataFrame(found, columns=COLUMNS)
