"""What the first page and the page of claims say, from the tables of a run."""

import json
from math import nan
from pathlib import Path

import pandas as pd

from latentsr.companion.book import pages
from latentsr.companion.claims import ledger as claims
from latentsr.companion.claims import page


def test_the_ledger_shows_the_lr_conditions_side_by_side(tmp_path):
    columns = ["claim", "part", "dataset", "lr_condition", "paper", "measured", "low", "high"]
    rows = [
        ("C1", "gap, dB", "knee", "lr_latent", 2.91, 1.0, 0.5, 1.5, "same direction"),
        ("C1", "gap, dB", "knee", "lr_pixels", 2.91, -0.2, nan, nan, "opposite"),
        ("C1", "the same, longer", "knee", "longer", 2.91, 1.0, 0.5, 1.5, "same direction"),
        ("C0", "dominance", "all", "all", nan, nan, nan, nan, "not tested (no alternative)"),
        ("C5", "h", "knee", "released", 0.0, 0.2, 0.1, 0.3, "opposite"),
    ]
    path = tmp_path / "10_claims.csv"
    ledger = pd.DataFrame(rows, columns=[*columns, "verdict"]).assign(n_subjects=60.0)
    ledger["because"] = ["", "-0.2 over 60 subjects", "", "", ""]
    ledger["interval"] = ["", "", "", "", claims.TOST]
    ledger.to_csv(path, index=False)
    text = page.sections(path)
    assert "*An arm is scored by what its own autoencoder keeps." in text  # of C1, once
    assert text.count("Row by row: {doc}`notebooks/10_claims`") == 1
    assert (
        "(c1)=\n(claim-c1)=\n\n## C1: the swap raises PSNR\n\n"
        "**Swapping only the autoencoder, SD-VAE for MedVAE, raises PSNR.**" in text
    )
    assert r"| paper | LR latent (the released way) | LR pixels (controlled) |" in text
    assert (
        r"| gap, dB | knee | 60 | 2.91 | 1 \[0.5, 1.5\]: same direction | -0.2: opposite |" in text
    )
    assert "Not tested (no alternative): dominance." in text
    assert r"| the same, longer | knee | 60 | 2.91 | longer | 1 \[0.5, 1.5\]: same" in text
    assert "| h | knee | 60 | within ±0.02 | as" in text
    assert r"| as released (walk spaced) | 0.2 \[0.1, 0.3\] (TOST): opposite |" in text


def test_tables_of_differences_have_both_protocols_and_what_is_shared(workspace):
    results = Path("results/smoke")
    sets = json.loads((results / "data" / "sets.json").read_text())
    sets["knee"]["split_by"] = "image"
    text = pages.differences_table(results, sets).replace(r"upsampled\_latent | ", "")
    assert r"| set | released | lr\_latent | lr\_pixels |" in text
    assert r"| knee (subjects shared) | +2.00 \[+1.50, +2.50\] | +1.25 |" in text
    text = pages.answer_table(results, sets)
    assert r"| brain | +2.00 \[+1.50, +2.50\] | -0.25 | +0.38 | 7 exams |" in text


def test_the_claims_in_short_have_a_column_a_protocol(tmp_path):
    columns = ["claim", "part", "dataset", "lr_condition", "paper", "measured", "verdict"]
    rows = [
        ("C1", "difference", "knee", "lr_latent", 2.91, 0.5, "same direction"),
        ("C1", "difference", "knee", "lr_pixels", 2.91, -9.0, "opposite"),
        ("C1", "the same, released", "knee", "released", 2.91, 1.5, "same direction"),
        ("C1", "the same, longer", "knee", "longer", 2.91, 7.5, "inconclusive"),
        ("C3", "half one", "knee", "lr_pixels", nan, 0.75, "same direction"),
        ("C3", "half two", "knee", "lr_pixels", nan, 0.5, "opposite"),
        ("C4", "change", "knee", "released", 0.0, nan, "not tested (why)"),
        ("R3", "reconstruction", "knee", "all", 2.76, 4.25, "opposite"),
    ]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "x.csv", index=False)
    text = page.in_short(tmp_path / "x.csv")
    assert "| [C1](#claim-c1) Swapping" in text
    told = "| 2.91 | 1.50: same direction 1 | -9.00: opposite 1 | 7.50: inconclusive 1 | – |"
    assert told in text
    assert "| – | – | 0.75: same direction 1, opposite 1 | – | – |" in text
    assert "| within ±0.15 | not tested | – | – | – |" in text
    assert "| 2.76 | – | – | – | 4.25: opposite 1 |" in text
