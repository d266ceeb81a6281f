"""Numba kernel of `aed_nerfstudio.audio.late_sound`: small systems of equations, solved at once."""

import numba


@numba.njit(cache=True)
def eliminate(rows):
    """Solves positive definite systems in place: rows [K, n, n + m] hold matrices and right sides, then identities
    and solutions."""
    n = rows.shape[1]
    for system in rows:
        for k in range(n):
            pivot = system[k, k:] / system[k, k]
            for i in range(n):
                factor = system[i, k]
                for j in range(len(pivot)):
                    system[i, k + j] -= factor * pivot[j]
            system[k, k:] = pivot
