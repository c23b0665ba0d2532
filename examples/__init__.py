"""Networks trained on a dataset, with Keras and with PyTorch."""
