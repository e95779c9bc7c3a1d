"""Linear operators: triangular and orthogonal matrices, the latter made of reflections, and updates of low rank."""

import tensorflow as tf
import tensorflow_probability as tfp


def householder_product(raw: tf.Tensor) -> tf.Tensor:
    """Q = H_1 H_2 ... H_(L-1), H_i = I - 2 v_i v_i^T / |v_i|^2.

    v_i is zero above its i-th entry, one at it, and free below, so that it never vanishes. The product is taken at
    once: Q = I - V S^-1 V^T, where S is the upper triangle of V^T V with half its diagonal (Puglisi 1992, "Modification
    of the Householder method based on the compact WY representation"). A composition of L - 1
    `tf.linalg.LinearOperatorHouseholder` is the same matrix, but takes a minute to trace for L = 64.

    Args:
        raw: free entries of the axes, [..., L (L - 1) / 2].

    Returns:
        [..., L, L].
    """
    free = tfp.math.fill_triangular(raw)
    paddings = [[0, 0]] * (free.shape.rank - 2)
    axes = tf.pad(free, [*paddings, [1, 0], [0, 0]])
    axes += tf.eye(axes.shape[-2], axes.shape[-1])
    gram = tf.matmul(axes, axes, transpose_a=True)
    # Not by set_diag, whose gradient XLA cannot compile for batches of unknown size.
    triangle = tf.linalg.band_part(gram, 0, -1) - tf.linalg.diag(0.5 * tf.linalg.diag_part(gram))
    solved = tf.linalg.triangular_solve(triangle, tf.linalg.matrix_transpose(axes), lower=False)
    return tf.eye(axes.shape[-2]) - tf.matmul(axes, solved)


class Orthogonal(tf.linalg.LinearOperatorFullMatrix):
    """A matrix whose inverse is its transpose and whose determinant is one in size: neither costs a factorisation."""

    def __init__(self, matrix: tf.Tensor) -> None:
        super().__init__(matrix, is_non_singular=True, is_square=True, name="orthogonal")
        self._parameters = {"matrix": matrix}

    def _log_abs_determinant(self) -> tf.Tensor:
        return tf.zeros(self.batch_shape_tensor(), self.dtype)

    def _solve(self, rhs: tf.Tensor, adjoint: bool = False, adjoint_arg: bool = False) -> tf.Tensor:
        return tf.matmul(self.to_dense(), rhs, transpose_a=not adjoint, transpose_b=adjoint_arg)


def diagonal(matrix: tf.Tensor) -> tf.Tensor:
    """The diagonal of matrices, [..., L] of [..., L, L], by a sum: LiteRT, which exports run on, has no `diag_part`."""
    return tf.reduce_sum(matrix * tf.eye(matrix.shape[-1], dtype=matrix.dtype), axis=-1)


class Triangular(tf.linalg.LinearOperatorLowerTriangular):
    """A lower triangular matrix, [..., L, L], with zeros above its diagonal and none on it; see `diagonal`."""

    def __init__(self, matrix: tf.Tensor) -> None:
        super().__init__(matrix, is_non_singular=True, name="triangular")
        self._parameters = {"matrix": matrix}

    def _diag_part(self) -> tf.Tensor:
        return diagonal(self.tril)

    def _log_abs_determinant(self) -> tf.Tensor:
        return tf.reduce_sum(tf.math.log(tf.abs(self._diag_part())), axis=-1)


class LowRankUpdate(tf.linalg.LinearOperatorLowRankUpdate):
    """L + U U^T, whose I + U^T L^-1 U is not made by set_diag, which XLA cannot differentiate here."""

    def _make_capacitance(self, u: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
        return tf.eye(u.shape[-1]) + tf.matmul(v, self.base_operator.solve(u), transpose_a=True)
