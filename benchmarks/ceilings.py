"""Ceilings of the shipped autoencoders: on phantoms (their cards), and on real images.

python benchmarks/ceilings.py [--real DIR]   (DIR as for phantom_realism.py)
"""

import argparse
from pathlib import Path

import torch
from phantom_realism import ANATOMIES, real_images

from latentsr.autoencoders import latents, registry
from latentsr.autoencoders.load import load_autoencoder, training_card
from latentsr.metrics import image as metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path)
    root = parser.parse_args().real
    real = {anatomy: real_images(root, anatomy)[0] for anatomy in ANATOMIES} if root else {}
    torch.set_num_threads(1)
    columns = [f"{a}, phantoms (noise-free)" for a in ANATOMIES]
    columns += [f"{a}, real (n = {len(images)})" for a, images in real.items()]
    print("PSNR of decode(encode(image)), dB\n")
    print("| autoencoder | " + " | ".join(columns) + " |")
    print("| :-- |" + " --: |" * len(columns))
    for name in registry.SHIPPED:
        measured = training_card(name)["ceilings"]
        cells = [
            f"{measured[a]['psnr_db']:.2f} ({measured[a]['noise_free_psnr_db']:.2f})"
            for a in ANATOMIES
        ]
        vae = load_autoencoder(name)
        for images in real.values():
            decoded = latents.decode_all(vae, latents.encode_all(vae, images, 16), 16)
            cells.append(f"{metrics.psnr_db(decoded, images).mean():.2f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
