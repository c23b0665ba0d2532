"""Export: a finished dataset as other training code expects it."""
