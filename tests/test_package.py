"""The wheel carries the weights and the ledger, and works outside the clone."""

import os
import subprocess
import sys

import pytest

from latentsr.autoencoders import registry


@pytest.mark.long
def test_the_wheel_works_outside_the_clone(tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = ["wheel", ".", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*pip, *build], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("latentsr-*.whl")
    assert wheel.stat().st_size < 25e6
    site = tmp_path / "site"
    install = ["install", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run([*pip, *install], check=True, capture_output=True)
    code = (
        "import latentsr, torch; from latentsr.autoencoders import registry;"
        "from latentsr.autoencoders.load import load_autoencoder;"
        "from latentsr.companion.claims import ledger as claims; print(latentsr.__file__);"
        "[load_autoencoder(name).encode(torch.zeros(1, 1, 64, 64)) for name in registry.SHIPPED];"
        "print(len(registry.SHIPPED), len(claims.ledger()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    place, counts = done.stdout.split("\n")[:2]
    assert place.startswith(str(site))
    weights, rows = map(int, counts.split())
    assert weights == len(registry.SHIPPED)
    assert rows >= 15
