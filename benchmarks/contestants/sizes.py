"""The two architectures that all contestants build, each in its own library."""

BATCH_SIZE = 128
LEARNING_RATE = 1e-3

# 784-512-256-16-256-512-784, ReLU between.
MLP_UNITS = (512, 256)
MLP_LATENT = 16

# That of the VAE example at keras.io: 3x3 convolutions of stride 2, a dense layer, two latents, and the way back.
CONV_FILTERS = (32, 64)
CONV_UNITS = 16
CONV_LATENT = 2

# Steps of an epoch: seconds each, though fewer than the 469 of MNIST.
STEPS_PER_EPOCH = {"mlp": 150, "conv": 40}
