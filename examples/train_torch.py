"""Trains a small network on a dataset's depth and masks at once, with PyTorch.

    python -m examples.train_torch DATASET

The dataset is one of the recipe beside this: depth in metres, splits `train` and `test`.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

# Threads that wait leave their core to the process that reads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from depthmask.torch import StreamDataset
from examples.results import Labels, Pictures, judge, median_depth, read

WIDTHS = (16, 32, 64, 128)  # channels at 1/2, 1/4, 1/8 and 1/16 of the picture's size
BATCH = 16
RATE = 3e-3


def augmented(example: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """An example cropped at random, mirrored by chance and in other light.

    Returns the picture, 0 … 255 [3, h, w], depth and mask, [1, h, w]: float32.
    """
    planes = np.dstack([example["image"], example["depth"], example["mask"][..., :1] >= 128])
    _, height, width = (planes := torch.from_numpy(planes).permute(2, 0, 1)).shape
    top, left = (int(torch.randint(side - cropped(side) + 1, ())) for side in (height, width))
    planes = planes[:, top : top + cropped(height), left : left + cropped(width)]
    if torch.rand(()) < 0.5:
        planes = planes.flip(2)
    image, depth, mask = planes.split((3, 1, 1))
    gamma, gain = torch.empty(()).uniform_(0.7, 1.4), torch.empty(3, 1, 1).uniform_(0.8, 1.2)
    return (255 * gain * (image / 255) ** gamma).clamp(0, 255), depth, mask


def cropped(side: int) -> int:
    """About 7/8 of a side, as 16 divides it."""
    return side * 7 // 8 // 16 * 16


def conv(before: int, filters: int, stride: int = 1) -> nn.Module:
    """A convolution with normalisation and ReLU."""
    layer = nn.Conv2d(before, filters, 3, stride, padding=1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(filters), nn.ReLU())


class Network(nn.Module):
    """From pictures, 0 … 255 [n, 3, H, W], to depth and mask, [n, 1, H, W].

    Depth is in metres; what it says untrained is about `median`. The mask is a logit: above 0 is
    foreground.
    """

    def __init__(self, median: float) -> None:
        super().__init__()
        self.median, last = median, WIDTHS[-1]
        pairs = list(zip((3, *WIDTHS), WIDTHS, strict=False))
        self.down = nn.ModuleList(
            nn.Sequential(conv(before, filters, stride=2), conv(filters, filters))
            for before, filters in pairs
        )
        # How large the room is, how wide the camera sees: of the picture as a whole.
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(last, last, 1))
        self.last = conv(last, last)
        self.enlarge = nn.ModuleList(
            nn.Sequential(nn.Conv2d(filters, before, 1), nn.Upsample(scale_factor=2))
            for before, filters in pairs[:0:-1]
        )
        self.up = nn.ModuleList(conv(before, before) for before, _ in pairs[:0:-1])
        self.heads = nn.Conv2d(WIDTHS[0], 2, 3, padding=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x, details = images / 128 - 1, []
        for down in self.down:
            details.append(x)
            x = down(x)
        x = self.last(x + self.whole(x))
        for enlarge, up, detail in zip(self.enlarge, self.up, details[:0:-1], strict=True):
            x = up(enlarge(x) + detail)
        x = functional.interpolate(self.heads(x), scale_factor=2, mode="bilinear")
        return self.median * x[:, :1].exp(), x[:, 1:]


def depth_loss(true: Tensor, predicted: Tensor) -> Tensor:
    """The mean error of depth's logarithm, where depth is known."""
    known = true > 0
    error = (torch.where(known, true, predicted).log() - predicted.log()).abs()
    return error.sum() / known.sum().clamp(min=1)


def train(path: str, epochs: int) -> Network:
    """Returns a network, trained on the split `train`."""
    torch.manual_seed(0)
    model = Network(float(median_depth(read(path, "train")[1])))
    model.to(memory_format=torch.channels_last)  # faster on CPUs
    dataset = StreamDataset(path, "train", features=["image", "depth", "mask"], transform=augmented)
    batches = DataLoader(dataset, BATCH, num_workers=1, drop_last=True)
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, epochs=epochs, steps_per_epoch=len(batches), pct_start=0.1
    )
    for epoch in range(epochs):
        dataset.set_epoch(epoch)
        total = torch.zeros(2)
        for images, depth, mask in batches:
            said_depth, said_mask = model(images)
            of_depth = depth_loss(depth, said_depth)
            of_mask = functional.binary_cross_entropy_with_logits(said_mask, mask)
            optimizer.zero_grad()
            (of_depth + of_mask).backward()
            optimizer.step()
            schedule.step()
            total += torch.stack([of_depth, of_mask]).detach()
        depth_mean, mask_mean = total / len(batches)
        print(f"epoch {epoch + 1}: loss of depth {depth_mean:.4f}, of masks {mask_mean:.4f}")
    model.eval()
    return model


def main() -> None:
    """Trains, scores on unseen pictures, and draws six of them."""
    parser = argparse.ArgumentParser("python -m examples.train_torch", description=main.__doc__)
    parser.add_argument("dataset", help="its folder")
    parser.add_argument("--epochs", type=int, default=2, help="(default 2)")
    parser.add_argument("--picture", type=Path, default=Path("predictions.jpg"))
    arguments = parser.parse_args()
    began = time.monotonic()
    model = train(arguments.dataset, arguments.epochs)
    print(f"trained for {time.monotonic() - began:.0f} seconds")

    def predict(images: Pictures) -> Labels:
        with torch.inference_mode():
            depth, mask = model(torch.from_numpy(images).permute(0, 3, 1, 2).float())
        return Labels(depth[:, 0].numpy(), (mask[:, 0] > 0).numpy())

    judge(arguments.dataset, predict, arguments.picture)


if __name__ == "__main__":
    main()
