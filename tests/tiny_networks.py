"""Tiny depth networks of Hugging Face's transformers with random weights, and what they give.

In the environment of requirements-torch.txt, python -m tests.tiny_networks FOLDER writes them, what
their own code and processors give (theirs/), and what ``depthmask convert`` makes of them (ours/).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import transformers as hf
from PIL import Image

from pipeline.cli import main

# Pictures of this height and width, wider than high.
SHAPE = (2, 40, 64, 3)


def pictures() -> np.ndarray:
    """Smooth pictures with some noise, uint8 [n, H, W, 3]."""
    rng = np.random.default_rng(8)
    small = [
        Image.fromarray(rng.integers(0, 256, (5, 8, 3)).astype(np.uint8)).resize((64, 40))
        for _ in range(SHAPE[0])
    ]
    noise = rng.integers(-9, 10, SHAPE)
    return np.clip(np.stack([np.asarray(p) for p in small]) + noise, 0, 255).astype(np.uint8)


def _dinov2(**more: object) -> hf.Dinov2Config:
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "mlp_ratio": 2}
    return hf.Dinov2Config(**{**sizes, "image_size": 56, "patch_size": 14, **more})


def _depth_anything(**more: object) -> hf.PreTrainedModel:
    backbone = _dinov2(out_indices=[1, 2, 3, 4], reshape_hidden_states=False)
    config = hf.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        **more,
    )
    return hf.DepthAnythingForDepthEstimation(config)


def _dpt() -> hf.PreTrainedModel:
    config = hf.DPTConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
    )
    return hf.DPTForDepthEstimation(config)


def _glpn() -> hf.PreTrainedModel:
    config = hf.GLPNConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 16, 32],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
    )
    return hf.GLPNForDepthEstimation(config)


def _zoedepth() -> hf.PreTrainedModel:
    backbone = hf.BeitConfig(
        image_size=64,
        patch_size=16,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        use_relative_position_bias=True,
        reshape_hidden_states=False,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = hf.ZoeDepthConfig(
        backbone_config=backbone,
        neck_hidden_sizes=[16, 16, 16, 16],
        fusion_hidden_size=16,
        bottleneck_features=16,
        num_relative_features=8,
        bin_embedding_dim=16,
        bin_configurations=[{"n_bins": 16, "min_depth": 0.001, "max_depth": 10.0}],
    )
    return hf.ZoeDepthForDepthEstimation(config)


def _depth_pro() -> hf.PreTrainedModel:
    encoder = {"model_type": "dinov2", **_dinov2(image_size=32, patch_size=8).to_diff_dict()}
    config = hf.DepthProConfig(
        patch_size=32,
        fusion_hidden_size=16,
        intermediate_hook_ids=[3, 1],
        intermediate_feature_dims=[16, 16],
        scaled_images_feature_dims=[16, 16, 16],
        merge_padding_value=1,
        use_fov_model=True,
        image_model_config=dict(encoder),
        patch_model_config=dict(encoder),
        fov_model_config=dict(encoder),
    )
    return hf.DepthProForDepthEstimation(config)


def _processor(name: str, **settings: object) -> hf.BaseImageProcessor:
    return getattr(hf, f"{name}ImageProcessor")(**settings)


_KEPT = {"keep_aspect_ratio": True, "size": {"height": 56, "width": 56}}
NETWORKS = {
    "depth_anything": (
        _depth_anything,
        lambda: _processor("DPT", ensure_multiple_of=14, **_KEPT),
    ),
    "depth_anything_metric": (
        lambda: _depth_anything(depth_estimation_type="metric", max_depth=20),
        lambda: _processor("DPT", ensure_multiple_of=14, **_KEPT),
    ),
    "dpt": (_dpt, lambda: _processor("DPT", size={"height": 64, "width": 64})),
    "glpn": (_glpn, lambda: _processor("GLPN")),
    "zoedepth": (
        _zoedepth,
        lambda: _processor("ZoeDepth", ensure_multiple_of=32, size={"height": 64, "width": 96}),
    ),
    "depth_pro": (_depth_pro, lambda: _processor("DepthPro", size={"height": 128, "width": 128})),
}


# What is added to the weights, so that maps are not flat; more of it, and they are cut off.
_NOISE = {"depth_pro": 0.04}


def write_network(name: str, folder: Path) -> None:
    """Writes a network as its authors publish theirs, and ``theirs.npz``: what their code gives.

    `seen`: the tensor of their processor. `values`: the network's own, at its size. `depth`: what
    their processor makes of that, at the pictures' size.
    """
    torch.manual_seed(4)
    make_model, make_processor = NETWORKS[name]
    model, processor = make_model().eval(), make_processor()
    with torch.no_grad():
        for key, parameter in model.named_parameters():  # as they begin, many are much alike
            parameter.add_(torch.randn_like(parameter) * _NOISE.get(name, 0.2))
            if parameter.numel() == 1:  # what the last layer adds: degrees of view, or depth
                parameter.fill_(60 if "fov" in key else 0.5)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Of random numbers\n")
    images = [Image.fromarray(picture) for picture in pictures()]
    sizes = [SHAPE[1:3]] * SHAPE[0]
    seen = processor(images=images, return_tensors="pt")
    with torch.no_grad():
        output = model(**seen)
    own = tuple(output.predicted_depth.shape[-2:])
    if name == "zoedepth":
        values = list(output.predicted_depth)
        depth = processor.post_process_depth_estimation(output, source_sizes=sizes)
    else:
        values = [
            result["predicted_depth"]
            for result in processor.post_process_depth_estimation(output, target_sizes=[own] * 2)
        ]
        depth = processor.post_process_depth_estimation(output, target_sizes=sizes)
    np.savez(
        folder / "theirs.npz",
        pictures=pictures(),
        seen=seen["pixel_values"].numpy(),
        values=torch.stack(values).numpy(),
        depth=torch.stack([result["predicted_depth"] for result in depth]).numpy(),
    )


if __name__ == "__main__":
    root = Path(sys.argv[1])
    for name in NETWORKS:
        write_network(name, root / "theirs" / name)
        canvas = f"{SHAPE[2]}x{SHAPE[1]}"
        theirs, ours = f"transformers:{root / 'theirs' / name}", str(root / "ours" / name)
        if main(["convert", theirs, ours, "--canvas", canvas]):
            sys.exit(f"{name} is not converted")
