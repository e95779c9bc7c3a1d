"""What data are read from: arrays and their files, folders of image files, datasets by name."""
