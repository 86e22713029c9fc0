"""``python -m latentsr.phantoms FOLDER``: the pipeline's stage that draws the embedded images."""

import sys
from pathlib import Path

from latentsr import params, phantoms

if __name__ == "__main__":
    phantoms.write(Path(sys.argv[1]), **vars(params.read(Path("params.yaml"))["phantoms"]))
