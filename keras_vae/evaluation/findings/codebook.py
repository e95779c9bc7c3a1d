"""What is wrong with the codes of a codebook, one finding for each depth."""

import math
from typing import Any

from keras_vae.evaluation.findings.finding import Finding

# Variance over the data below which codes are the same for all.
STILL = 1e-12
# Nats of entropy below which codes say nothing.
COLLAPSED_NATS = 0.01
# A code that is used less than this part of an equal share hardly is; of data of fewer uses for each nobody knows.
UNUSED_SHARE, FEW_DRAWS = 0.1, 10


def examine_sameness(posterior: Any, num_examples: int) -> Finding:
    """What is said where all examples have the same codes, though these differ from place to place."""
    message = (
        f"All {num_examples:,} examples have the same codes, place by place. They say nothing about x, although their "
        "KL may be large."
    )
    return Finding("constant_code", 1.0, message, f"If the data are not all alike: {posterior.remedy}")


def examine_codes(posterior: Any, code: Any) -> list[Finding]:
    """What is wrong with the indices of one depth.

    Args:
        posterior: of the model; it says itself what helps, in `remedy`.
        code: how the data use them, a `statistics.CodeStatistics`.
    """
    size, of = code.num_classes, f" of stage or group {code.depth}" if code.depth else ""
    remedy = posterior.remedy
    if math.log(code.perplexity) < COLLAPSED_NATS:
        message = (
            f"{code.shares.max():.1%} of all places have one code of {size}{of} (perplexity {code.perplexity:.2f}). "
            f"They say nothing, although their KL may be as large as log {size} = {math.log(size):.2f} nats a place."
        )
        return [Finding("constant_code", code.perplexity, message, f"If the data are not all alike: {remedy}")]
    if code.num_draws < size:
        message = (
            f"The codebook{of} has {size} codes and the data have {code.num_draws} places: they cannot all be in use, "
            "and each is learned from one example or none."
        )
        remedy = f"Fewer codes (a quarter of the places at most, here {max(2, code.num_draws // 4)}), or more data."
        return [Finding("codebook_larger_than_data", float(size), message, remedy, is_harmful=False)]
    unused = int((code.shares < UNUSED_SHARE / size).sum())
    if not unused or code.num_draws < FEW_DRAWS * size:
        return []
    message = (
        f"{unused} of the {size} codes{of} are hardly ever used (less than a tenth of an equal share; perplexity "
        f"{code.perplexity:.1f})."
    )
    remedy = f"Fewer codes would do. If you want them used: {remedy}"
    # With so many in vain, the codes did not come into use.
    return [Finding("unused_classes", float(unused), message, remedy, is_harmful=2 * unused > size)]
