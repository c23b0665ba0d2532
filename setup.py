"""Packaging; also what Dataflow's --setup_file installs on workers."""

import re
from pathlib import Path

from setuptools import find_packages, setup

# The package's page has no files beside it: what links to one is plain text there, and a picture
# is left out.
_LINK_TO_FILE = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://)[^)]*\)")
_PAGE = _LINK_TO_FILE.sub(
    lambda link: "" if link[1] else link[2],
    Path(__file__).with_name("README.md").read_text("utf-8"),
)

setup(
    name="depthmask",
    version="0.2.0",
    description="Labelled datasets for monocular depth and foreground masks, by Apache Beam",
    long_description=_PAGE,
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords=[
        *("depth estimation", "foreground segmentation", "dataset", "synthetic data"),
        *("apache beam", "tfrecord", "tensorflow", "pytorch", "hugging face", "webdataset"),
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Processing",
    ],
    # No release of TensorFlow has wheels for Python 3.14; 2.22.0rc0 has.
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["depthmask*", "pipeline*", "scenes*", "transforms*"]),
    package_data={
        "pipeline.recipes": ["*.yaml"],
        "pipeline.view": ["*.html"],
        "transforms.depth": ["*.keras"],
    },
    install_requires=[
        "apache-beam>=2.72,<3",
        "google-cloud-storage>=2.18",
        "google-crc32c>=1.5",
        "h5py>=3.10",
        "imagecodecs>=2024.6.1",
        "numpy>=1.26,<3",
        "pillow>=11",
        "protobuf>=4.25",
        "pydantic>=2.7,<3",
        "pyyaml>=6",
        "shtab>=1.13",
        "tensorflow>=2.16,<3",
        "tqdm>=4.66",
    ],
    extras_require={
        # For gs:// and Dataflow.
        "gcp": ["apache-beam[gcp]>=2.72,<3"],
        # Its wheels hold x265, under GPL-2.0.
        "heic": ["pillow-heif>=1.0"],
        "onnx": ["onnxruntime>=1.21"],
        # For `depthmask convert` alone.
        "torch": [
            "onnx>=1.17",
            "onnxruntime>=1.21",
            "torch>=2.6,<3",
            "torchvision>=0.21",
            "transformers>=5,<6",
        ],
        # Reading from afar without TensorFlow.
        "remote": ["fsspec>=2024.2", "gcsfs>=2024.2", "s3fs>=2024.2"],
        # Its last release loads under TensorFlow 2.17, and that holds the others back.
        "tensorflow-io": [
            "apache-beam==2.72.0",
            "google-cloud-storage<3",
            "numpy<2",
            "protobuf<5",
            "tensorflow==2.17.1",
            "tensorflow-io==0.37.1",
        ],
    },
    entry_points={"console_scripts": ["depthmask=pipeline.__main__:run"]},
)
