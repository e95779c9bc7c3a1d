"""How well single latents stand for single factors of the data: numpy in, numbers out.

`codes` is [N, L]: as a rule the points of q(z|x). `factors` is [N, F]: the labels that made the data. A categorical
code belongs into *one* column, as the index of its class: its one-hot would be several columns that say the same.

    codes, factors = ...                                # say, of 10,000 examples
    disentanglement.mig(codes, factors)
    disentanglement.scores(codes, factors)              # all of them

Where a measure needs discrete values,

- a code is put into `bins` bins of equal width (20 of them by Locatello et al. 2019, "Challenging common assumptions in
  the unsupervised learning of disentangled representations"), unless it is discrete by its type, integers or booleans,
  or named in `discrete_codes`. How often a number comes back says nothing of it: codes of images that are repeated do;
- a factor keeps its own values if there are at most `bins` of them, or at most a tenth of the number of different
  examples; otherwise it is binned likewise.

So examples that are repeated change neither. (But `dci` and `sap` learn from some of the examples and test on others:
repeated ones would be known. Give each once.) Factors that never change are left out. Results of different
implementations, bins and sample sizes are not comparable.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import entropy

BINS = 20
# Votes are counted for so many batches of codes at a time, to bound the memory.
VOTES = 1000
# A column whose variance is a smaller part of the largest one is constant but for rounding.
CONSTANT = 1e-10


class DCI(NamedTuple):
    """Disentanglement, completeness and informativeness, each in [0, 1]; see `dci`."""

    disentanglement: float
    completeness: float
    informativeness: float


def mutual_information(codes: Any, factors: Any, bins: int = BINS, discrete_codes: Sequence[int] = ()) -> np.ndarray:
    """I(z_i; v_j) in nats, [L, F], of the discretised columns: the plug-in estimate.

    Its bias, about (B_i - 1)(V_j - 1) / (2 N) for B_i and V_j values, calls for many examples.

    Args:
        codes: [N, L]; integers and booleans are discrete.
        factors: [N, F].
        bins: for codes that are not discrete, and factors of many values.
        discrete_codes: columns of `codes` that are discrete although they are floats, such as the index of a class of
            many that `with_indices` puts beside continuous ones.

    Raises:
        ValueError: as in `mig`, and for columns in `discrete_codes` that do not exist.
    """

    from sklearn.metrics import mutual_info_score

    is_discrete = np.asarray(codes).dtype.kind in "iub"
    codes, factors = _checked(codes, factors)
    _check_columns("discrete_codes", discrete_codes, codes)
    own = [is_discrete or i in discrete_codes for i in range(codes.shape[1])]
    z = np.stack([_values(c) if keep else _binned(c, bins) for c, keep in zip(codes.T, own, strict=True)], axis=1)
    v = _discretized(factors, bins, _num_different(codes, factors))
    return np.array([[mutual_info_score(v_j, z_i) for v_j in v.T] for z_i in z.T])


def mig(codes: Any, factors: Any, bins: int = BINS, discrete_codes: Sequence[int] = ()) -> float:
    """Mutual information gap: the mean of `information_gaps`.

    1 if each factor is in one code and in no other; 0 for constant codes, and where every factor is in two. Chen et al.
    2018, "Isolating sources of disentanglement in variational autoencoders", who take I(z; v) under q(z|x); here, as by
    Locatello et al. 2019, it is that of the discretised codes. Arguments as in `mutual_information`.

    Raises:
        ValueError: for arrays of other shapes, values that are not finite, factors none of which changes.
    """
    return float(np.mean(information_gaps(codes, factors, bins, discrete_codes)))


def information_gaps(codes: Any, factors: Any, bins: int = BINS, discrete_codes: Sequence[int] = ()) -> np.ndarray:
    """(I(z_a; v_j) - I(z_b; v_j)) / H(v_j) of each factor that changes, [F], a and b the two best codes for v_j.

    Arguments and errors as in `mig`.
    """
    information = np.sort(mutual_information(codes, factors, bins, discrete_codes), axis=0)
    codes, factors = _checked(codes, factors)
    second = information[-2] if len(information) > 1 else 0.0
    return (information[-1] - second) / _entropies(_discretized(factors, bins, _num_different(codes, factors)))


def modularity(codes: Any, factors: Any, bins: int = BINS, discrete_codes: Sequence[int] = ()) -> float:
    """1 - mean_i sum_{j != a} I(z_i; v_j)^2 / (I(z_i; v_a)^2 (F - 1)), a the factor of which z_i says most.

    1 if every code is about one factor, whether or not others repeat it. Codes that say nothing are left out; if all
    are such, 0. Ridgeway and Mozer 2018, "Learning deep disentangled embeddings with the F-statistic loss".

    Arguments as in `mutual_information`.

    Raises:
        ValueError: as in `mig`, and for a single factor.
    """
    changing = _checked(codes, factors)[1].shape[1]
    if changing < 2:
        raise ValueError("Modularity compares factors, and there is one that changes: it needs at least two.")
    squares = mutual_information(codes, factors, bins, discrete_codes) ** 2
    squares = squares[squares.max(axis=1) > 1e-12]
    if len(squares) == 0:
        return 0.0
    best = squares.max(axis=1)
    return float(1.0 - np.mean((squares.sum(axis=1) - best) / (best * (changing - 1))))


def factor_vae_score(
    codes: Any,
    factors: Any,
    batch_size: int = 64,
    num_train: int = 10_000,
    num_test: int = 5_000,
    seed: int = 0,
    bins: int = BINS,
    discrete_codes: Sequence[int] = (),
) -> float:
    """Accuracy of naming the factor that a batch has in common by the code that varies least in it.

    A vote: choose a factor and one of its values, draw `batch_size` examples that share it, and take the code of the
    smallest variance in units of its variance over all data (constant codes have no vote). The classifier maps each
    code to the factor for which it got most of `num_train` votes; the score is its accuracy on `num_test` others. An
    uninformative code gets about 1 / F. Kim and Mnih 2018, "Disentangling by factorising", who used 800 votes. The
    variance of a discrete code is how often two examples differ in it, half of that (their Gini variance), so that it
    does not matter how its classes are numbered.

    The batches are drawn, with replacement, from the examples given: give enough that each value has dozens.

    Args:
        codes: [N, L].
        factors: [N, F].
        batch_size: examples of a vote.
        num_train: votes that make the classifier.
        num_test: votes that it is tested on.
        seed: of the votes.
        bins: as in `mutual_information`.
        discrete_codes: as in `mutual_information`; integers and booleans are discrete without it.

    Raises:
        ValueError: as in `mutual_information`.
    """
    is_discrete = np.asarray(codes).dtype.kind in "iub"
    codes, factors = _checked(codes, factors)
    _check_columns("discrete_codes", discrete_codes, codes)
    discrete = range(codes.shape[1]) if is_discrete else list(discrete_codes)
    variances = codes.var(axis=0)
    for i in discrete:
        variances[i] = _gini(np.bincount(_values(codes[:, i])) / len(codes))
    alive = variances > CONSTANT * max(variances.max(), np.finfo(float).tiny)
    random = np.random.default_rng(seed)
    fixed = random.integers(factors.shape[1], size=num_train + num_test)
    votes = np.zeros(len(fixed), int)
    scaled = codes / np.sqrt(np.where(alive, variances, 1.0))
    for j, factor in enumerate(_discretized(factors, bins, _num_different(codes, factors)).T):
        order = np.argsort(factor, kind="stable")
        counts = np.bincount(factor)
        starts = np.cumsum(counts) - counts
        mine = np.flatnonzero(fixed == j)
        for part in np.array_split(mine, -(-len(mine) // VOTES) or 1):
            # The value of a random example: in proportion to the data.
            values = factor[random.integers(len(factor), size=(len(part), 1))]
            offsets = (random.random((len(part), batch_size)) * counts[values]).astype(int)
            batches = order[starts[values] + offsets]
            spread = scaled[batches].var(axis=1)
            for i in discrete:
                same = codes[batches, i]
                differ = np.mean(same[:, :, np.newaxis] != same[:, np.newaxis, :], axis=(1, 2))
                spread[:, i] = 0.5 * differ / max(variances[i], np.finfo(float).tiny)
            votes[part] = np.argmin(np.where(alive, spread, np.inf), axis=1)
    table = np.zeros((codes.shape[1], factors.shape[1]), int)
    np.add.at(table, (votes[:num_train], fixed[:num_train]), 1)
    return float(np.mean(table.argmax(axis=1)[votes[num_train:]] == fixed[num_train:]))


def dci(codes: Any, factors: Any, num_trees: int = 10, seed: int = 0, bins: int = BINS) -> DCI:
    """Disentanglement, completeness, informativeness, from how much each code helps to predict each factor.

    R_ij >= 0 is the importance of code i in a random forest that predicts factor j (scikit-learn's, where every split
    may use every code). Then with row entropies to base F and column entropies to base L,

    - disentanglement: sum_i rho_i (1 - H_F(R_i. / sum_j R_ij)), rho_i = sum_j R_ij / sum_ij R_ij;
    - completeness: the mean over factors of 1 - H_L(R_.j / sum_i R_ij);
    - informativeness: the mean over factors of the forests' accuracy on the third of the examples they did not see.

    Duplicated codes lower completeness, and not disentanglement. Eastwood and Williams 2018, "A framework for the
    quantitative evaluation of disentangled representations".

    Raises:
        ValueError: as in `mig`, and for a single code or a single factor.
    """

    from sklearn.ensemble import RandomForestClassifier

    codes, factors = _checked(codes, factors)
    if min(codes.shape[1], factors.shape[1]) < 2:
        raise ValueError("DCI compares codes and factors: it needs at least two of each.")
    importance = np.zeros((codes.shape[1], factors.shape[1]))
    accuracies = []
    for j, factor in enumerate(_discretized(factors, bins, _num_different(codes, factors)).T):
        known, unknown, target, truth = _split(codes, factor, seed)
        # Were a split to choose among a few codes at random, codes that say nothing would look important.
        forest = RandomForestClassifier(num_trees, max_features=None, random_state=seed).fit(known, target)
        importance[:, j] = forest.feature_importances_
        accuracies.append(forest.score(unknown, truth))
    total = importance.sum()
    if total == 0.0:
        return DCI(0.0, 0.0, float(np.mean(accuracies)))
    rows, columns = _one_minus_entropy(importance), _one_minus_entropy(importance.T)
    disentanglement = np.sum(importance.sum(axis=1) / total * rows)
    return DCI(float(disentanglement), float(np.mean(columns)), float(np.mean(accuracies)))


def sap(codes: Any, factors: Any, continuous: Sequence[int] = (), seed: int = 0, bins: int = BINS) -> float:
    """Separated attribute predictability: the mean over factors of S_aj - S_bj, a and b the two best codes for v_j.

    S_ij is, for a factor of V values, the balanced accuracy with which V - 1 thresholds on code i (a decision tree of V
    leaves) predict it on the third of the examples that they were not fitted to; for factors named as `continuous`, the
    squared correlation of code i with it. At most 1 - 1/V for the former. Kumar et al. 2018, "Variational inference of
    disentangled latent concepts from unlabeled observations"; Locatello et al. 2019 put a linear support vector machine
    in place of the thresholds, which cannot tell three values on a line apart, and so gives much lower numbers.

    Args:
        codes: [N, L].
        factors: [N, F].
        continuous: columns of `factors` to treat as continuous.
        seed: of the split.
        bins: for factors of many values that are not named as continuous.

    Raises:
        ValueError: as in `mig`, and for columns in `continuous` that do not exist.
    """
    _check_columns("continuous", continuous, np.atleast_2d(np.asarray(factors).T).T, "factors")
    kept = _changing(factors)
    codes, factors = _checked(codes, factors)
    scores = np.zeros((codes.shape[1], factors.shape[1]))
    discrete = _discretized(factors, bins, _num_different(codes, factors))
    for j, column in enumerate(kept):
        for i, code in enumerate(codes.T):
            if column in continuous:
                scores[i, j] = _squared_correlation(code, factors[:, j])
            else:
                scores[i, j] = _threshold_accuracy(code, discrete[:, j], seed)
    ranked = np.sort(scores, axis=0)
    return float(np.mean(ranked[-1] - (ranked[-2] if len(ranked) > 1 else 0.0)))


def unsupervised_accuracy(clusters: Any, labels: Any, one_to_one: bool = True) -> float:
    """The fraction of examples whose label is that of their cluster under the best one-to-one map between the two.

    The map is found exactly, as a linear assignment. Used by Xie et al. 2016, "Unsupervised deep embedding for
    clustering analysis"; by Jeong and Song 2019 for a discrete code against shape. The best constant code gets the
    share of the most frequent label.

    Args:
        clusters: [N], any values.
        labels: [N], any values.
        one_to_one: False lets clusters that are left over, where there are more of them than labels, take the label
            that most of their members have; otherwise their members count as errors.

    Raises:
        ValueError: for arrays that are not one-dimensional and of one length, or empty.
    """
    clusters, labels = np.asarray(clusters), np.asarray(labels)
    if clusters.ndim != 1 or clusters.shape != labels.shape or len(labels) == 0:
        raise ValueError(f"clusters and labels must be [N], N > 0; they are {clusters.shape} and {labels.shape}.")
    (_, row), (_, column) = (np.unique(array, return_inverse=True) for array in (clusters, labels))
    counts = np.zeros((row.max() + 1, column.max() + 1), int)
    np.add.at(counts, (row, column), 1)
    rows, columns = linear_sum_assignment(-counts)
    correct = counts[rows, columns].sum()
    if not one_to_one:
        left_over = np.setdiff1d(np.arange(len(counts)), rows)
        correct += counts[left_over].max(axis=1, initial=0).sum()
    return float(correct / len(labels))


def with_indices(codes: Any, blocks: Sequence[tuple[str, int]]) -> np.ndarray:
    """Codes [N, L] with each one-hot in them replaced by one column, the index of its largest component.

    Args:
        codes: [N, L].
        blocks: what they are made of, such as [("continuous", 6), ("one-hot", 3)]: the `blocks` of the model's prior.

    Raises:
        ValueError: if the blocks do not add up to L.
    """
    codes = np.asarray(codes)
    sizes = [size for _, size in blocks]
    if sum(sizes) != codes.shape[1]:
        raise ValueError(f"The blocks {list(blocks)} are {sum(sizes)} columns, and the codes have {codes.shape[1]}.")
    parts = np.split(codes, np.cumsum(sizes)[:-1], axis=1)
    kinds = [kind for kind, _ in blocks]
    columns = [
        part.argmax(axis=1)[:, np.newaxis] if kind == "one-hot" else part
        for kind, part in zip(kinds, parts, strict=True)
    ]
    return np.concatenate(columns, axis=1)


def scores(codes: Any, factors: Any, seed: int = 0, discrete_codes: Sequence[int] = ()) -> dict[str, float]:
    """All measures by name: mig, factor_vae_score, dci_disentanglement, dci_completeness, dci_informativeness, sap,
    modularity."""
    importance = dci(codes, factors, seed=seed)
    return {
        "mig": mig(codes, factors, discrete_codes=discrete_codes),
        "factor_vae_score": factor_vae_score(codes, factors, seed=seed, discrete_codes=discrete_codes),
        **{f"dci_{name}": value for name, value in importance._asdict().items()},
        "sap": sap(codes, factors, seed=seed),
        "modularity": modularity(codes, factors, discrete_codes=discrete_codes),
    }


def _checked(codes: Any, factors: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 [N, ...], without the factors that never change."""
    codes, factors = np.asarray(codes, "float64"), np.asarray(factors, "float64")
    factors = factors[:, np.newaxis] if factors.ndim == 1 else factors
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors) or 0 in codes.shape or 0 in factors.shape:
        raise ValueError(
            f"codes must be [N, L] and factors [N, F] of the same N > 0; they are {codes.shape} and {factors.shape}."
        )
    for name, array in (("codes", codes), ("factors", factors)):
        if not np.isfinite(array).all():
            raise ValueError(f"{name} hold NaN or infinite values: the first is in row {_first_bad_row(array)}.")
    kept = _changing(factors)
    if not kept:
        raise ValueError("None of the factors changes over these examples: there is nothing to tell apart.")
    return codes, factors[:, kept]


def _first_bad_row(array: np.ndarray) -> int:
    return int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])


def _changing(factors: Any) -> list[int]:
    """The columns of the factors that have more than one value."""
    columns = np.atleast_2d(np.asarray(factors).T)
    return [j for j, column in enumerate(columns) if np.any(column != column[0])]


def _check_columns(name: str, columns: Sequence[int], array: np.ndarray, of: str = "codes") -> None:
    wrong = [j for j in columns if not 0 <= j < array.shape[1]]
    if wrong:
        raise ValueError(f"{name} names the columns {wrong}, which {of} do not have.")


def _num_different(codes: np.ndarray, factors: np.ndarray) -> int:
    """The number of examples without those that are repeated."""
    return len(np.unique(np.concatenate([codes, factors], axis=1), axis=0))


def _discretized(factors: np.ndarray, bins: int, num_different: int) -> np.ndarray:
    """Each column as indices from 0 without gaps: of its own values if they are few, or of bins."""
    few = max(bins, num_different // 10)
    return np.stack([_values(c) if len(np.unique(c)) <= few else _binned(c, bins) for c in factors.T], axis=1)


def _values(column: np.ndarray) -> np.ndarray:
    index: np.ndarray = np.unique(column, return_inverse=True)[1]
    return index


def _binned(column: np.ndarray, bins: int) -> np.ndarray:
    edges = np.linspace(column.min(), column.max(), bins + 1)[1:-1]
    return _values(np.digitize(column, edges))


def _gini(shares: np.ndarray) -> float:
    """Half of how often two draws differ."""
    return float(0.5 * (1.0 - np.sum(shares**2)))


def _entropies(factors: np.ndarray) -> np.ndarray:
    return np.array([entropy(np.bincount(column)) for column in factors.T])


def _one_minus_entropy(importance: np.ndarray) -> np.ndarray:
    """1 - entropy of each row as probabilities, to the base of their number; 0 for a row of zeros."""
    totals = importance.sum(axis=1)
    with np.errstate(invalid="ignore"):
        concentration = 1.0 - entropy(importance, base=importance.shape[1], axis=1)
    return np.where(totals > 0, concentration, 0.0)


def _split(codes: np.ndarray, factor: np.ndarray, seed: int) -> list[np.ndarray]:

    from sklearn.model_selection import train_test_split

    if len(codes) < 3:
        raise ValueError(f"{len(codes)} examples cannot be split into some to learn from and some to test on.")
    split: list[np.ndarray] = train_test_split(codes, factor, test_size=1 / 3, random_state=seed)
    return split


def _threshold_accuracy(code: np.ndarray, factor: np.ndarray, seed: int) -> float:

    from sklearn.tree import DecisionTreeClassifier

    known, unknown, target, truth = _split(code[:, np.newaxis], factor, seed)
    leaves = max(2, len(np.unique(target)))
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, class_weight="balanced", random_state=seed).fit(known, target)
    # Of the classes that the test has: scikit-learn warns of others.
    seen = np.unique(truth)
    predicted = tree.predict(unknown)
    recalls = [np.mean(predicted[truth == value] == value) for value in seen]
    return float(np.mean(recalls))


def _squared_correlation(code: np.ndarray, factor: np.ndarray) -> float:
    if code.var() == 0.0:
        return 0.0
    return float(np.corrcoef(code, factor)[0, 1] ** 2)
