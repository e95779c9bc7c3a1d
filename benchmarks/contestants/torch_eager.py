"""PyTorch: the loop that people write, on images that lie in memory as one tensor.

torch_eager.py ARCHITECTURE [compile]: the latter puts the loss through `torch.compile`.
"""

import sys

import child
import sizes
import torch
from torch import nn
from torch.nn import functional


def bodies(architecture: str) -> tuple[nn.Module, nn.Module, int]:
    """From images to mean and log-variance side by side, from z to logits, and the latent dimensions."""
    if architecture == "mlp":
        a, b = sizes.MLP_UNITS
        latent = sizes.MLP_LATENT
        encoder = [nn.Flatten(), nn.Linear(784, a), nn.ReLU(), nn.Linear(a, b), nn.ReLU(), nn.Linear(b, 2 * latent)]
        decoder = [nn.Linear(latent, b), nn.ReLU(), nn.Linear(b, a), nn.ReLU(), nn.Linear(a, 784)]
        return nn.Sequential(*encoder), nn.Sequential(*decoder, nn.Unflatten(1, (1, 28, 28))), latent
    first, second = sizes.CONV_FILTERS
    latent = sizes.CONV_LATENT
    encoder = [
        *(nn.Conv2d(1, first, 3, 2, 1), nn.ReLU(), nn.Conv2d(first, second, 3, 2, 1), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(7 * 7 * second, sizes.CONV_UNITS), nn.ReLU(), nn.Linear(sizes.CONV_UNITS, 2 * latent)),
    ]
    decoder = [
        *(nn.Linear(latent, 7 * 7 * second), nn.ReLU(), nn.Unflatten(1, (second, 7, 7))),
        *(nn.ConvTranspose2d(second, second, 3, 2, 1, output_padding=1), nn.ReLU()),
        *(nn.ConvTranspose2d(second, first, 3, 2, 1, output_padding=1), nn.ReLU()),
        nn.ConvTranspose2d(first, 1, 3, 1, 1),
    ]
    return nn.Sequential(*encoder), nn.Sequential(*decoder), latent


def make(architecture: str, compiled: bool = False):
    """A function that trains for a number of steps."""
    encoder, decoder, _ = bodies(architecture)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, sizes.LEARNING_RATE)
    per_epoch = sizes.STEPS_PER_EPOCH[architecture]
    x = torch.from_numpy(child.images(sizes.BATCH_SIZE * per_epoch)).reshape(-1, 1, 28, 28)

    def loss_of(batch):
        mean, log_variance = encoder(batch).chunk(2, dim=-1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        pixels = functional.binary_cross_entropy_with_logits(decoder(z), batch, reduction="sum")
        kl = 0.5 * torch.sum(mean**2 + log_variance.exp() - 1.0 - log_variance)
        return (pixels + kl) / len(batch)

    if compiled:
        loss_of = torch.compile(loss_of)

    def run(steps):
        for step in range(steps):
            if step % per_epoch == 0:
                order = torch.randperm(len(x)).split(sizes.BATCH_SIZE)
            loss = loss_of(x[order[step % per_epoch]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss.item()

    return run


if __name__ == "__main__":
    child.serve(make(sys.argv[1], "compile" in sys.argv[2:]), warm_up=20)
