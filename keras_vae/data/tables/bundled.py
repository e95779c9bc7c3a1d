"""A table that scikit-learn brings along, with columns of all kinds."""

from typing import Any

import numpy as np

from keras_vae.data.tables import frames

NAMES = ("diabetes",)
# From which years of age on, and what they are called.
AGES = {"under 35": 0, "35 to 49": 35, "50 to 64": 50, "65 and over": 65}
SCHEMA: dict[str, Any] = {
    "age": {"category": list(AGES)},
    "sex": {"binary": [1, 2]},
    "bmi": "positive",
    "blood_pressure": "positive",
    "cholesterol": "count",
    "ldl": "positive",
    "hdl": "positive",
    "cholesterol_ratio": "positive",
    "log_triglycerides": "real",
    "glucose": "count",
    "high_glucose": "binary",
    "progression": "count",
}


def table(name: str) -> Any:
    """The rows of a table by name, in a random order that is always the same.

    "diabetes": 442 patients of Efron et al. 2004, "Least angle regression", in the original units: the age in
    groups, sex, body mass index, mean blood pressure, six measurements of blood serum, whether glucose is above 100,
    and a measure of the progression after a year.

    Returns:
        A `pyarrow.Table`.
    """
    from sklearn.datasets import load_diabetes

    if name not in NAMES:
        raise ValueError(f"There is no table {name!r}: {', '.join(NAMES)}.")
    bunch = load_diabetes(scaled=False)
    age, sex, bmi, pressure, s1, s2, s3, s4, s5, s6 = bunch.data.T
    columns = [
        np.searchsorted(list(AGES.values()), age, side="right") - 1,
        sex - 1,
        bmi,
        pressure,
        s1,
        s2,
        s3,
        s4,
        s5,
        s6,
        s6 > 100,
        bunch.target,
    ]
    x = np.stack(columns, axis=1)[np.random.RandomState(0).permutation(len(age))]
    return frames.frame(x, SCHEMA)
