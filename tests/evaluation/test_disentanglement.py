"""The measures on codes whose scores are known."""

import itertools
import math

import numpy as np
import pytest
from scipy.linalg import hadamard

from keras_vae.evaluation import disentanglement

SIZES = (3, 4, 5, 8)


@pytest.fixture(scope="module")
def factors():
    """Every combination of the factors five times over: exactly independent."""
    grid = np.array(list(itertools.product(*(range(n) for n in SIZES))))
    return np.tile(grid, (5, 1))


def noise(n, columns, seed=0):
    return np.random.default_rng(seed).standard_normal((n, columns))


def test_codes_that_are_the_factors_have_the_highest_scores(factors):
    codes = factors * [1.0, -2.0, 0.5, 3.0] + 7.0
    assert disentanglement.mig(codes, factors) == pytest.approx(1.0)
    assert disentanglement.modularity(codes, factors) == pytest.approx(1.0)
    assert disentanglement.factor_vae_score(codes, factors) == 1.0
    assert disentanglement.dci(codes, factors) == pytest.approx((1.0, 1.0, 1.0))
    # The other codes are right by chance: 1/V.
    assert disentanglement.sap(codes, factors) == pytest.approx(np.mean([1 - 1 / n for n in SIZES]), abs=0.05)


def test_a_permutation_and_codes_that_say_nothing_change_nothing(factors):
    codes = np.concatenate([noise(len(factors), 2), factors[:, ::-1], np.full((len(factors), 1), 3.0)], axis=1)
    assert disentanglement.mig(codes, factors) > 0.95
    assert disentanglement.factor_vae_score(codes, factors) == 1.0
    assert min(disentanglement.dci(codes, factors)) > 0.99
    assert disentanglement.sap(codes, factors) > 0.6
    constant_is_left_out = disentanglement.modularity(codes[:, 2:], factors)
    assert constant_is_left_out == pytest.approx(1.0)


def test_constant_codes_score_lowest(factors):
    codes = np.zeros((len(factors), 4))
    assert disentanglement.mig(codes, factors) == 0.0
    assert disentanglement.modularity(codes, factors) == 0.0
    assert disentanglement.sap(codes, factors) == pytest.approx(0.0, abs=1e-9)
    assert disentanglement.dci(codes, factors)[:2] == (0.0, 0.0)
    assert disentanglement.dci(codes, factors).informativeness == pytest.approx(
        np.mean([1 / n for n in SIZES]), abs=0.05
    )
    assert disentanglement.factor_vae_score(codes, factors) == pytest.approx(1 / len(SIZES), abs=0.02)


def test_a_gap_tells_which_factors_are_alone_in_a_code(factors):
    """Of the last two factors the codes know sum and difference; the first is in two codes, the second in one."""
    first, second, third, fourth = factors[:, :4].T
    codes = np.stack([first, first, second, third + fourth, third - fourth], axis=1)
    gaps = disentanglement.information_gaps(codes, factors[:, :4])
    np.testing.assert_allclose(gaps[:2], [0.0, 1.0], atol=1e-12)
    assert max(gaps[2:]) < 0.1
    assert disentanglement.mig(codes, factors[:, :4]) == pytest.approx(np.mean(gaps))


def test_codes_that_say_nothing_score_low(factors):
    codes = noise(len(factors), 4)
    assert disentanglement.mig(codes, factors) < 0.05
    assert disentanglement.sap(codes, factors) < 0.05
    assert disentanglement.factor_vae_score(codes, factors) < 0.4
    assert disentanglement.dci(codes, factors).disentanglement < 0.1
    assert disentanglement.dci(codes, factors).informativeness < 0.35


def test_the_numbers_of_classes_do_not_matter_to_the_score_of_factor_vae():
    """The code is the first factor in 8 of 10 examples; which class has which number is nobody's business."""
    random = np.random.default_rng(0)
    factors = np.stack([random.integers(n, size=20_000) for n in (3, 4, 5)], axis=1)
    others = factors[:, 1:] + 0.3 * random.standard_normal((20_000, 2))
    code = np.where(random.random(20_000) < 0.8, factors[:, 0], random.integers(3, size=20_000))

    def score(numbers, **kinds):
        columns = np.concatenate([others, np.array(numbers)[code][:, None]], axis=1)
        before = columns.copy()
        found = disentanglement.factor_vae_score(columns, factors, **kinds)
        np.testing.assert_array_equal(columns, before)
        return found

    assert (
        score([0, 1, 2], discrete_codes=[2])
        == score([0, 1, 900], discrete_codes=[2])
        == score([7, 3, 5], discrete_codes=[2])
    )
    assert score([0, 1, 2], discrete_codes=[2]) == pytest.approx(1.0)
    whole = disentanglement.factor_vae_score(factors, factors)
    assert whole == disentanglement.factor_vae_score(factors.astype(float), factors, discrete_codes=[0, 1, 2]) == 1.0
    with pytest.raises(ValueError, match="discrete_codes"):
        disentanglement.factor_vae_score(factors, factors, discrete_codes=[3])


def test_duplicated_codes_lower_what_counts_the_codes_of_a_factor_only(factors):
    codes = np.repeat(factors, 2, axis=1)
    assert disentanglement.mig(codes, factors) == pytest.approx(0.0, abs=1e-12)
    assert disentanglement.sap(codes, factors) == pytest.approx(0.0, abs=1e-12)
    shares = disentanglement.dci(codes, factors)
    assert shares.disentanglement > 0.99
    # Two of eight codes share a factor: about 1 - log_8 2.
    assert 0.6 < shares.completeness < 0.9
    assert disentanglement.modularity(codes, factors) == pytest.approx(1.0)


def test_one_code_for_all_factors_lowers_what_counts_the_factors_of_a_code(factors):
    index = factors @ np.array([160, 40, 8, 1])
    codes = np.stack([index, np.zeros(len(index))], axis=1)
    # I(z; v_j) = log V_j for every factor: 1 - sum_{j != a} (log V_j / log 8)^2 / 3.
    expected = 1 - sum(math.log(n) ** 2 for n in SIZES[:3]) / (3 * math.log(8) ** 2)
    assert disentanglement.modularity(codes, factors, bins=480) == pytest.approx(expected)
    assert disentanglement.mig(codes, factors, bins=480) == pytest.approx(1.0)
    assert disentanglement.dci(codes, factors).disentanglement < 0.2
    assert disentanglement.factor_vae_score(codes, factors) == pytest.approx(1 / len(SIZES), abs=0.02)


def test_the_mutual_information_of_a_noisy_channel():
    """A binary symmetric channel: I = log 2 - H(0.1)."""
    v = np.repeat([0, 1], 1000)
    z = v.copy()
    z[:100], z[1000:1100] = 1, 0
    capacity = math.log(2) + 0.1 * math.log(0.1) + 0.9 * math.log(0.9)
    np.testing.assert_allclose(disentanglement.mutual_information(z[:, None], v), [[capacity]])
    assert disentanglement.mig(z[:, None], v) == pytest.approx(capacity / math.log(2))
    assert disentanglement.sap(z[:, None], v) == pytest.approx(0.9, abs=0.02)


def test_continuous_codes_and_factors_are_binned():
    v = np.random.default_rng(0).random((5000, 3))
    codes = np.tanh(2.0 * v)
    assert disentanglement.mig(v, v) > 0.9
    assert disentanglement.mig(codes, v) > 0.6
    assert disentanglement.factor_vae_score(codes, v) == 1.0
    # Correlations of independent variables vanish as 1/N.
    assert disentanglement.sap(v, v, continuous=(0, 1, 2)) == pytest.approx(1.0, abs=0.01)
    expected = np.mean([np.corrcoef(a, b)[0, 1] ** 2 for a, b in zip(codes.T, v.T, strict=True)])
    assert disentanglement.sap(codes, v, continuous=(0, 1, 2)) == pytest.approx(expected, abs=0.01)


MEASURES = (disentanglement.mig, disentanglement.modularity, disentanglement.mutual_information)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("times", [2, 10, 40])
def test_examples_that_are_repeated_change_nothing(measure, times):
    """The plug-in estimate is of the distribution of the examples, which is the same."""
    v = np.random.default_rng(0).random((100, 3))
    noisy = v + 0.1 * noise(100, 3)
    for codes, its_factors in ((v, v), (noisy, v), (noisy, np.round(4 * v)), (noisy, np.round(4 * v).astype(int))):
        once = measure(codes, its_factors)
        again = measure(np.repeat(codes, times, axis=0), np.repeat(its_factors, times, axis=0))
        np.testing.assert_allclose(again, once, rtol=1e-9)


def test_perfect_codes_of_images_that_are_repeated_score_as_such():
    v = np.random.default_rng(0).integers(0, 5, (1000, 3))
    # A code says its factor, and a little of its own, so that no two images have the same.
    codes = np.repeat(v + 0.1 * np.random.default_rng(1).random(v.shape), 10, axis=0)
    assert disentanglement.mig(codes, np.repeat(v, 10, axis=0)) > 0.9
    assert disentanglement.modularity(codes, np.repeat(v, 10, axis=0)) > 0.99


def by_counting(z, v):
    """I(z; v) of two columns of indices."""
    joint = np.zeros((z.max() + 1, v.max() + 1))
    np.add.at(joint, (z, v), 1.0 / len(z))
    product = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    return np.sum(joint[joint > 0] * np.log(joint[joint > 0] / product[joint > 0]))


def test_what_is_discrete_is_said_by_its_type_or_by_name(factors):
    """Sixty classes: as integers they are told apart, as floats they share 20 bins."""
    classes = (np.arange(len(factors)) * 7) % 60
    label = classes % 2
    codes = np.stack([classes, factors[:, 0]], axis=1)
    named = by_counting(classes, label)
    binned = by_counting(classes * 20 // 59 - (classes == 59), label)
    assert named == pytest.approx(math.log(2)) and binned < 0.6 * named
    assert disentanglement.mutual_information(codes, label)[0] == pytest.approx(named)
    assert disentanglement.mutual_information(codes.astype("float32"), label)[0] == pytest.approx(binned, abs=1e-6)
    found = disentanglement.mutual_information(codes.astype("float32"), label, discrete_codes=[0])
    assert found[0] == pytest.approx(named)
    for columns in ([2], [-1]):
        with pytest.raises(ValueError, match="discrete_codes names the columns"):
            disentanglement.mig(codes, label, discrete_codes=columns)


def test_a_rotation_of_the_codes_is_seen(factors):
    centred = (factors - factors.mean(axis=0)) / factors.std(axis=0)
    turned = disentanglement.scores(centred @ hadamard(4) / 2, factors)
    straight = disentanglement.scores(centred, factors)
    assert (
        set(turned)
        == set(straight)
        == {
            "mig",
            "factor_vae_score",
            "dci_disentanglement",
            "dci_completeness",
            "dci_informativeness",
            "sap",
            "modularity",
        }
    )
    for name in set(turned) - {"dci_informativeness"}:
        assert turned[name] < straight[name] - 0.1, name


def test_factors_that_never_change_are_left_out(factors):
    more = np.concatenate([np.ones((len(factors), 1)), factors], axis=1)
    codes = noise(len(factors), 1) + factors
    assert disentanglement.mig(codes, more) == disentanglement.mig(codes, factors)
    assert disentanglement.sap(codes, more, continuous=[2]) == disentanglement.sap(codes, factors, continuous=[1])


def test_unsupervised_accuracy_finds_the_best_map():
    labels = np.repeat([5, 7, 9], 10)
    assert disentanglement.unsupervised_accuracy((labels + 2) % 9, labels) == 1.0
    assert disentanglement.unsupervised_accuracy(np.zeros(30), labels) == pytest.approx(1 / 3)
    clusters = np.array([0] * 8 + [1] * 2 + [1] * 10 + [2] * 5 + [0] * 5)
    assert disentanglement.unsupervised_accuracy(clusters, labels) == pytest.approx(23 / 30)
    # Four clusters for three labels: the smaller half of the split label is wrong, unless halves may share it.
    split = np.array([0] * 6 + [3] * 4 + [1] * 10 + [2] * 10)
    assert disentanglement.unsupervised_accuracy(split, labels) == pytest.approx(26 / 30)
    assert disentanglement.unsupervised_accuracy(split, labels, one_to_one=False) == 1.0


def test_unsupervised_accuracy_is_that_of_brute_force():
    random = np.random.default_rng(0)
    for _ in range(20):
        clusters, labels = random.integers(4, size=(2, 12))
        best = max(np.mean(np.array(p)[clusters] == labels) for p in itertools.permutations(range(4)))
        assert disentanglement.unsupervised_accuracy(clusters, labels) == pytest.approx(best)


def test_a_one_hot_becomes_one_column(factors):
    codes = np.concatenate([factors[:, 1:], np.eye(3)[factors[:, 0]]], axis=1)
    blocks = [("continuous", 3), ("one-hot", 3)]
    assert disentanglement.mig(codes, factors) < 0.9  # three columns about shape compete with each other
    columns = disentanglement.with_indices(codes, blocks)
    np.testing.assert_array_equal(columns, factors[:, [1, 2, 3, 0]])
    assert disentanglement.mig(columns, factors) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="are 6 columns"):
        disentanglement.with_indices(codes[:, 1:], blocks)


def test_unusable_arrays_are_refused_in_plain_words(factors):
    codes = noise(len(factors), 2)
    for measure in (
        disentanglement.mig,
        disentanglement.modularity,
        disentanglement.factor_vae_score,
        disentanglement.dci,
        disentanglement.sap,
    ):
        with pytest.raises(ValueError, match="same N > 0"):
            measure(codes[:-1], factors)
        with pytest.raises(ValueError, match="None of the factors changes"):
            measure(codes, np.ones((len(codes), 2)))
        with pytest.raises(ValueError, match="codes hold NaN"):
            measure(np.where(codes > 2, np.nan, codes), factors)
    with pytest.raises(ValueError, match="at least two"):
        disentanglement.modularity(codes, factors[:, 0])
    with pytest.raises(ValueError, match="at least two"):
        disentanglement.dci(codes[:, :1], factors)
    with pytest.raises(ValueError, match="which factors do not have"):
        disentanglement.sap(codes, factors, continuous=[4])
    with pytest.raises(ValueError, match="must be"):
        disentanglement.unsupervised_accuracy(codes, factors[:, 0])
