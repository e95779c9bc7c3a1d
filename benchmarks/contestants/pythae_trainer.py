"""pythae's VAE under its own trainer, with networks of the same architecture."""

import sys
import tempfile

import child
import sizes
import torch
import torch_eager
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig


class Encoder(BaseEncoder):
    """The encoder as pythae wants it."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        mean, log_variance = self.body(x).chunk(2, dim=-1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """The decoder as pythae wants it."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, z):
        return ModelOutput(reconstruction=torch.sigmoid(self.body(z)))


def make(architecture: str):
    """A function that trains for a number of steps."""
    encoder, decoder, latent = torch_eager.bodies(architecture)
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=latent, reconstruction_loss="bce")
    vae = VAE(config, Encoder(encoder), Decoder(decoder))
    per_epoch = sizes.STEPS_PER_EPOCH[architecture]
    x = torch.from_numpy(child.images(sizes.BATCH_SIZE * per_epoch)).reshape(-1, 1, 28, 28)
    training = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(prefix="pythae-"),
        per_device_train_batch_size=sizes.BATCH_SIZE,
        learning_rate=sizes.LEARNING_RATE,
        num_epochs=10**6,
        no_cuda=True,
    )
    trainer = BaseTrainer(vae, train_dataset=BaseDataset(x, torch.zeros(len(x))), training_config=training)
    trainer.prepare_training()
    trainer.callback_handler.on_train_begin(training_config=training, model_config=config)
    epoch = 0

    def run(steps):
        nonlocal epoch
        for _ in range(max(1, steps // per_epoch)):
            epoch += 1
            trainer.train_step(epoch)

    return run


if __name__ == "__main__":
    child.serve(make(sys.argv[1]), warm_up=1)
