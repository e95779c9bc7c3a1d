"""Codes in configs: a prior over them has the sizes of the posterior, and says where these do not fit."""

import pytest

from keras_vae_cli import settings
from keras_vae_cli.commands import build
from keras_vae_cli.errors import ConfigError

RESIDUAL = "{name: Residual, base: {name: FiniteScalar, levels: [3, 2], grid: [2, 2]}, num_stages: 3}"
SMALL = ["model.encoder={name: mlp, units: [4]}", "model.decoder={name: mlp, units: [4]}", "model.likelihood=Bernoulli"]
TRANSFORMER = "{name: AutoregressiveCodes, units: 4, num_layers: 1, num_heads: 1}"


def made(*changes):
    loaded = settings.load(None, [*SMALL, *changes])
    return loaded, build.make_vae(loaded, (8, 8, 1))


@pytest.mark.parametrize("prior", ["UniformCodes", TRANSFORMER, "{name: UniformCodes, grid: null, depth: null}"])
@pytest.mark.parametrize(
    ("posterior", "sizes"),
    [
        (RESIDUAL, (8, (2, 2), 6, 3)),
        ("{name: LookupFree, num_bits: 3, grid: [1, 2]}", (6, (1, 2), 8, 1)),
        ("{name: Grouped, base: {name: LookupFree, num_bits: 3, grid: [1, 2]}, num_groups: 2}", (12, (1, 2), 8, 2)),
        ("{name: VectorQuantized, grid: [2, 2], num_codes: 5}", (16, (2, 2), 5, 1)),
    ],
)
def test_a_prior_of_codes_takes_the_sizes_of_the_posterior(posterior, prior, sizes, tmp_path):
    # The default config has a latent_dim of its own.
    (tmp_path / "short.yaml").write_text(
        f"data: {{name: digits}}\nmodel: {{posterior: {posterior}, prior: {prior}, likelihood: Bernoulli}}\n"
    )
    loaded = settings.load(tmp_path / "short.yaml")
    vae = build.make_vae(loaded, (8, 8, 1))
    assert (vae.prior.latent_dim, vae.prior.grid, vae.prior.num_codes, vae.prior.depth) == sizes
    assert vae.prior.blocks == vae.encoder.posterior.blocks
    # What a run keeps of it makes the same model again.
    (tmp_path / "config.yaml").write_text(loaded.as_yaml())
    again = build.read(tmp_path)
    assert again == loaded and again.as_yaml() == loaded.as_yaml()
    assert build.make_vae(again, (8, 8, 1)).prior.blocks == vae.prior.blocks


def test_residual_and_grouped_are_kept_by_the_names_of_their_classes(ended):
    loaded, vae = made(f"model.posterior={RESIDUAL}", "model.prior=UniformCodes", "model.latent_dim=8")
    assert loaded.model.posterior["name"] == type(vae.encoder.posterior).__name__ == "ResidualCodes"
    code, out, _ = ended("parts", "Grouped")
    assert code == 0 and out.startswith("GroupedCodes(base, num_groups)")
    code, out, _ = ended("parts", "UniformCodes")
    assert code == 0 and out.startswith("UniformCodes(grid=None, num_codes=None, depth=None)")


@pytest.mark.parametrize(
    "given", ["model.prior.num_codes=7", "model.prior.grid=[1, 4]", "model.prior.depth=2", "model.latent_dim=16"]
)
def test_sizes_that_are_given_win_and_are_checked(given):
    changes = [f"model.posterior={RESIDUAL}", "model.latent_dim=8", "model.prior=UniformCodes", given]
    with pytest.raises(ValueError, match=r"cannot be compared|give both the same latent_dim"):
        made(*changes)
    made(*changes[:-1], "model.prior.num_codes=6", "model.prior.grid=[2, 2]", "model.prior.depth=3")


def test_a_prior_of_codes_without_codes_says_what_it_needs():
    with pytest.raises(ConfigError, match="UniformCodes is over codes, and MultivariateNormalDiag has no grid of them"):
        made("model.posterior=MultivariateNormalDiag", "model.prior=UniformCodes")
    with pytest.raises(ConfigError, match="num_codes must be an int"):
        made(f"model.posterior={RESIDUAL}", "model.prior={name: UniformCodes, num_codes: many}")
