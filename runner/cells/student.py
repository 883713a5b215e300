"""Quantiles of Student's t, without scipy."""

from __future__ import annotations

_T95 = (
    *(12.70620, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.30600, 2.26216, 2.22814),
    *(2.20099, 2.17881, 2.16037, 2.14479, 2.13145, 2.11991, 2.10982, 2.10092, 2.09302, 2.08596),
)


def t95(freedom: float) -> float:
    """Two-sided 95% quantile of Student's t; beyond 20 degrees of freedom by Cornish-Fisher, to within 1e-4.

    Between whole degrees it is interpolated in their inverse, to within 2%.
    """
    if freedom <= len(_T95):
        below = min(int(freedom), len(_T95) - 1)
        part = (1 / below - 1 / freedom) / (1 / below - 1 / (below + 1))
        return _T95[below - 1] + part * (_T95[below] - _T95[below - 1])
    z, v = 1.959964, float(freedom)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3
