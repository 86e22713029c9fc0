"""``python -m latentsr.phantoms FOLDER``: the pipeline's stage that draws the embedded images."""

import shutil
import sys
from pathlib import Path

from latentsr import datastore, params, phantoms

if __name__ == "__main__":
    for line in datastore.before_phantoms():  # what somebody put into data/ is moved, not lost
        print(line)
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    phantoms.write(folder, **vars(params.read(Path("params.yaml"))["phantoms"]))
