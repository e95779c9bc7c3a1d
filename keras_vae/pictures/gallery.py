"""All pictures that apply to a model, as files in a folder."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from keras_vae.evaluation.downstream import CodeDensity
from keras_vae.evaluation.statistics import gather, is_deterministic, is_flat, latent_statistics
from keras_vae.models.vae import VAE
from keras_vae.pictures.charts import CURVES, kl_per_dimension, latent_scatter, read_history, training_curves
from keras_vae.pictures.deviations import spread
from keras_vae.pictures.levels import fixed_levels
from keras_vae.pictures.of_attributes import attributes, can_lead_to_classes
from keras_vae.pictures.of_clusters import clusters
from keras_vae.pictures.of_missing import imputations
from keras_vae.pictures.of_models import answers, interpolations, manifold, reconstructions, samples, traversals
from keras_vae.pictures.tables.columns import marginals, pairs
from keras_vae.pictures.tiles import PathLike, is_image


def all_pictures(
    vae: VAE,
    data: Any,
    labels: Any = None,
    history: Any = None,
    directory: PathLike = "pictures",
    seed: int = 0,
    value_range: tuple[float, float] = (0.0, 1.0),
    write: Callable[[str], Any] = warnings.warn,
) -> list[Path]:
    """Every picture that applies to the model, as PNG files.

    Args:
        vae: the model.
        data: a finite data set, with or without labels; the test data as a rule.
        labels: [N], in place of the data's own.
        history: see `training_curves`; None or an empty one leaves that picture out.
        directory: where to write; made if need be. Files of the same names are replaced.
        seed: of the samples.
        value_range: values drawn as black and white.
        write: what says which pictures are left out for want of examples.

    Returns:
        The paths, in the order of writing.
    """
    folder, written = Path(directory), []

    def draw(name: str, function: Callable[..., Figure], *args: Any, **kwargs: Any) -> None:
        written.append(folder / f"{name}.png")
        function(*args, path=written[-1], **kwargs)

    shown = gather(data, 64)[1] if vae.condition is not None and vae.condition.num_classes is None else None
    draw("samples", samples, vae, seed=seed, value_range=value_range, condition=shown)
    if vae.decoder.likelihood.schema is not None and len(gather(data, 2)[0]) == 2:
        draw("marginals", marginals, vae, data, seed=seed)
        draw("pairs", pairs, vae, data, seed=seed)
    if vae.decoder.likelihood.has_spread and is_image(vae.decoder.event_shape):
        some = None if vae.condition is None else gather(data, 8)[1]
        draw("spread", spread, vae, 8 if some is None else len(some), seed, value_range=value_range, condition=some)
    if vae.condition is not None:
        draw("answers", answers, vae, data, seed=seed, value_range=value_range)
    draw("reconstructions", reconstructions, vae, data, value_range=value_range)
    if vae.missing and not is_deterministic(vae) and len(vae.decoder.event_shape) > 1:
        draw("imputations", imputations, vae, data, seed=seed, value_range=value_range)
    if vae.num_levels > 1:
        draw("fixed_levels", fixed_levels, vae, seed=seed, value_range=value_range)
    if is_flat(vae):
        if len(gather(data, 2)[0]) == 2:
            draw("interpolations", interpolations, vae, data, value_range=value_range)
        else:
            write("interpolations are not drawn: they need two examples, and the data have one.")
        if vae.prior.num_clusters > 1:
            draw("clusters", clusters, vae, data, seed=seed, value_range=value_range)
        draw("latent_scatter", latent_scatter, vae, data, labels)
        labelled = data if labels is None else (gather(data)[0], labels)
        if can_lead_to_classes(vae, gather(labelled)[1]):
            draw("attributes", attributes, vae, labelled, value_range=value_range)
        if vae.prior.latent_dim == 2 and vae.condition is None:
            draw("manifold", manifold, vae, value_range=value_range)
        if is_deterministic(vae) and vae.condition is None and len(gather(data, 100)[0]) == 100:
            # Its prior is not where its codes are, and the two pictures show it.
            density = CodeDensity(vae, data)
            draw("samples_of_code_density", samples, vae, seed=seed, value_range=value_range, density=density)
        elif not is_deterministic(vae) and not vae.encoder.posterior.is_certain:
            found = latent_statistics(vae, data)
            draw("traversals", traversals, vae, data, value_range=value_range, found=found)
            if found.kl_per_dim is not None:
                draw("kl_per_dimension", kl_per_dimension, vae, data, found=found)
    if history is not None and any(name.removeprefix("val_") in CURVES for name in read_history(history)):
        draw("training_curves", training_curves, history)
    return written
