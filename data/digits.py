"""The handwritten digits that scikit-learn carries (Alpaydin & Kaynak 1998, UCI 80). Knows nothing of splits.

1,797 real 8×8 images, pixels 0…16. The only place that touches scikit-learn.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thalweg.data.splits import Labels


def digits() -> tuple[NDArray[np.float64], Labels]:
    """Return all pixels, [1797, 1, 8, 8], and the digits they show, [1797], in scikit-learn's order."""
    # Reading the file takes 10 ms; importing scikit-learn, and scipy with it, 2.4 s in every worker.
    table = np.loadtxt(path, delimiter=",") if (path := _embedded()) else _through_scikit_learn()
    return table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1].astype(np.int64)


def _embedded() -> Path | None:
    """The file inside an installed scikit-learn, found without importing it; None where it is not as expected."""
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    return path if path.is_file() else None


def _through_scikit_learn() -> NDArray[np.float64]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target])
