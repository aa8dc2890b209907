"""Brute force over float arrays in Python, as CompreFace searches: every stored embedding against the probe, every time.

CompreFace's core keeps a tenant's embeddings as one ND4J matrix and, for each probe, subtracts it from every row, takes the
Euclidean norms, turns all of them into similarities by a tanh, and sorts all (its `EuclideanDistanceClassifier`). This is the
same in numpy, float32, one thread; `fastest` is the least that brute force can do: one matrix product, and only the best hundred
sorted.
"""

import argparse
import json
import os
import time

# One thread, as the engine's search has: set before numpy loads its BLAS.
for variable in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]:
    os.environ[variable] = "1"

import numpy as np

DIMENSION = 128
LIMIT = 100
#: CompreFace's coefficients turn a distance into a similarity; these are its FaceNet ones. They cost the same whatever they are.
COEFFICIENTS = (1.1817961, 5.291995557)


def as_compreface(gallery: np.ndarray, probe: np.ndarray) -> list[tuple[int, float]]:
    """Distances to all, similarities of all, all sorted."""
    distances = np.linalg.norm(gallery - probe, axis=1)
    similarities = (np.tanh((COEFFICIENTS[0] - distances) * COEFFICIENTS[1]) + 1) / 2
    order = np.argsort(-similarities)
    return [(int(place), float(similarities[place])) for place in order[:LIMIT]]


def fastest(gallery: np.ndarray, probe: np.ndarray) -> list[tuple[int, float]]:
    """One product with a matrix, the best hundred picked and sorted."""
    cosines = gallery @ probe
    best = np.argpartition(-cosines, LIMIT)[:LIMIT]
    best = best[np.argsort(-cosines[best])]
    return [(int(place), float(cosines[place])) for place in best]


def measured(search, gallery: np.ndarray, probes: np.ndarray) -> dict[str, float]:
    """Median and p99 in milliseconds."""
    search(gallery, probes[0])
    took = []
    for probe in probes:
        began = time.perf_counter()
        search(gallery, probe)
        took.append((time.perf_counter() - began) * 1e3)
    return {"p50_ms": float(np.percentile(took, 50)), "p99_ms": float(np.percentile(took, 99))}


def main() -> None:
    """Prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=200)
    arguments = parser.parse_args()
    random = np.random.default_rng(1)
    gallery = random.standard_normal((arguments.faces, DIMENSION), dtype=np.float32)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    probes = gallery[random.integers(0, arguments.faces, arguments.requests)]
    print(
        json.dumps(
            {
                "faces": arguments.faces,
                "as_compreface": measured(as_compreface, gallery, probes),
                "fastest": measured(fastest, gallery, probes),
            }
        )
    )


if __name__ == "__main__":
    main()
