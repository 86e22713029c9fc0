"""Draw the figures of one `ablations.run: all` for the page "What hours of training say".

python benchmarks/apart_figures.py RESULTS book/static/apart

RESULTS is the folder of that run, for instance results/mini. Writes an SVG a figure, drawn by the
package as chapter 7 draws it, switches.csv with both arms' PSNR, and figures.txt, which shows each
figure with its alternative text; that page includes it.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import pandas as pd

from latentsr.autoencoders import registry
from latentsr.plots import apart_shown, forests
from latentsr.plots import style as figures
from latentsr.plots.labels import MEASURES
from latentsr.stats import apart

ONE_RUN = (
    "One run of `ablations.run: all`, {title}, mini otherwise; not the run that made this book."
)
MADE = "{{download}}`SVG <{file}>`, [how it is made](#made-apart)."
GIVEN = "95% intervals over subjects, given the weights of one training seed."
SHOWN = {  # in the order of the page
    "levers": f"What each lever moves the arm of `{{first}}` by. {GIVEN} Right of each bar: how many times "
    "the operations of the unchanged arm it takes, in training and for an image.",
    "switches": f"The six switches, alone and one after another. {GIVEN} Both arms' PSNR in each row, "
    "and the gaps: {{download}}`switches.csv <static/{folder}/switches.csv>`.",
    "ablations": "Change of the gap by ablation, 90% intervals. What was trained anew: over three "
    "training seeds of both, paired. *Given the weights*: over subjects. Bands: 0.15 dB, and 5% of the "
    "reference's gap.",
    "schedules": "Change of the gap along the network calls of both walks, against the spaced walk "
    "of ten calls from full noise: 90% intervals over subjects, given the weights.",
    "convergence": f"The gap and its parts along training. {GIVEN}",
    "walks": "PSNR and GMSD along the network calls of both walks: means, without intervals.",
}


def tables(results: Path) -> dict[str, pd.DataFrame]:
    """Read the tables of `apart.taken_apart`; empty where the run wrote none."""
    paths = {name: results / "tables" / f"07_{name}.csv" for name in apart.TABLES}
    return {name: pd.read_csv(p) if p.exists() else apart.EMPTY for name, p in paths.items()}


def switches(table: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """Return PSNR of both arms, gap and interval in dB, a row an arm and reference, in words."""
    psnr = [f"{label}, PSNR in dB" for label in labels]
    found = pd.DataFrame({"arm": table["arm"].map(forests.named)})
    found["reference"] = table["measure"].map(MEASURES)
    found[[*psnr, "gap, dB", "95% low", "95% high"]] = table[
        ["first", "second", "gap", "low", "high"]
    ].round(2)
    return found.assign(subjects=table["n_subjects"])


def main(results: Path, folder: Path) -> None:
    """Write the figures of a run and the fragment that shows them."""
    record = json.loads((results / "metrics" / "07.json").read_text())
    main_vaes = json.loads((results / "metrics" / "04.json").read_text())["main_vaes"]
    dataset, parts = record["dataset"], tables(results)
    if parts["levers"].empty:
        raise ValueError(f"{results}: no run of ablations.run: all, its 07_levers.csv is empty")
    fact = json.loads((results / "data" / "sets.json").read_text())[dataset]
    folder.mkdir(parents=True, exist_ok=True)
    figures.style()
    labels, alts = [registry.display_name(vae) for vae in main_vaes], {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, figure, alt in apart_shown.drawn(
            parts, labels, record["margin_db"], dataset, fact
        ):
            if name in SHOWN:
                figures.save(figure, Path(scratch), f"07_{name}", alt)
                drawn = Path(scratch) / "figures" / "07" / f"07_{name}"
                shutil.copy(drawn.with_suffix(".svg"), folder / f"{name}.svg")
                alts[name] = drawn.with_suffix(".txt").read_text().strip()
    switches(parts["switches"], labels).to_csv(folder / "switches.csv", index=False)
    (folder / "figures.txt").write_text(
        "\n".join(
            f"```{{figure}} static/{folder.name}/{name}.svg\n:alt: {alts[name]}\n:width: 100%\n\n"
            f"{words.format(folder=folder.name, first=labels[0])} "
            f"{ONE_RUN.format(title=figures.heading(dataset, fact))} "
            f"{MADE.format(file=f'static/{folder.name}/{name}.svg')}\n```\n"
            for name, words in SHOWN.items()
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
