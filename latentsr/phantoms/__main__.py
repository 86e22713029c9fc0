"""``python -m latentsr.phantoms FOLDER``: the pipeline's stage that draws the embedded images."""

import shutil
import sys
from pathlib import Path

from latentsr import phantoms
from latentsr.companion.pipeline import params, stage, strangers


def main(folder: Path) -> None:
    """Draw the phantoms of params.yaml into a folder, anew."""
    counts = vars(params.read(Path("params.yaml"))["phantoms"])
    for line in strangers.before_phantoms():  # what somebody put into data/ is moved, not lost
        print(line)
    shutil.rmtree(folder, ignore_errors=True)
    phantoms.write(folder, **counts)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (ValueError, OSError) as error:
        stage.stop(error)
