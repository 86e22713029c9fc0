"""Keep the tables of a run of the long ablations as data for the page "Beyond the default run".

python benchmarks/keep.py RESULTS "MACHINE" MINUTES

RESULTS is a run with ablations.run: all, for instance results/mini. Writes its tables to
benchmarks/measured, and the run with its commit and date to runs.csv there.
"""

import subprocess
import sys
from datetime import date
from pathlib import Path

import pandas as pd

MEASURED = Path(__file__).parent / "measured"
CALLS = (1, 50, 1000)  # of the schedules that are kept


def kept(results: Path) -> dict[str, pd.DataFrame]:
    """Return the tables of a run, numbers rounded to hundredths of a dB, by the name of their file."""
    names = "levers switches ablations schedules seed_effects corners sensitivity convergence"
    parts = {name: pd.read_csv(results / "tables" / f"07_{name}.csv") for name in names.split()}
    if parts["levers"].empty:
        raise ValueError(f"{results}: its 07_levers.csv is empty; run it with ablations.run: all")
    schedules = parts["schedules"][parts["schedules"]["T"].isin(CALLS)]
    changed = pd.concat([parts["ablations"], schedules]).dropna(subset="change")
    over_seeds = parts["seed_effects"].rename(columns={"lr_condition": "arm", "mean": "estimate"})
    columns = {
        "levers": "arm protocol gap low high train_times image_times",
        "switches": "arm measure first second gap low high n_subjects",
        "ablations": "arm unit change low high verdict verdict_5_percent excludes_0 settling_n",
        "design_cells": "arm effect estimate sd low high",
        "sensitivity": "arm first second gap low high",
        "convergence": "steps effect first second estimate low high",
    }
    cells = pd.concat([over_seeds, parts["corners"]])
    tables = {**parts, "ablations": changed, "design_cells": cells}
    return {n: tables[n].reindex(columns=c.split()).round(2) for n, c in columns.items()}


def main(results: Path, machine: str, minutes: float) -> None:
    """Write the tables of a run, and its row in place of the last one's."""
    tables = kept(results)
    for name, table in tables.items():
        table.to_csv(MEASURED / f"{name}.csv", index=False)
    runs = pd.read_csv(MEASURED / "runs.csv", dtype=str)
    is_this = runs["tables"] == ", ".join(tables)
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    runs.loc[is_this, ["machine", "minutes"]] = machine, f"{minutes:g}"
    runs.loc[is_this, ["commit", "date"]] = head.stdout.strip(), date.today().isoformat()
    runs.to_csv(MEASURED / "runs.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
