"""Lets torch's Linux wheel, once installed without its dependencies, be imported without CUDA.

The wheel of the package index is linked with 2.5 GB of CUDA's libraries, of which nothing is called
without a GPU. Here each of their names is a link to a library that is there anyway, and functions
are looked up as they are called. Of the two whose content is needed, the packages are installed.
Run it with the Python of the environment that holds torch.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

_NAMES = (
    *("libcublas.so.13", "libcublasLt.so.13", "libcudnn.so.9", "libcufft.so.12", "libcufile.so.0"),
    *("libcupti.so.13", "libcusparse.so.12", "libcusparseLt.so.0", "libnccl.so.2"),
    "libnvrtc.so.13",
)


def main() -> None:
    packages = Path(sysconfig.get_paths()["purelib"])
    libraries = packages / "torch" / "lib"
    if (libraries / "libtorch_cuda.so").exists():
        for name in _NAMES:
            link = libraries / name
            link.unlink(missing_ok=True)
            link.symlink_to("libc10.so")
        lazy = "import os, sys; sys.setdlopenflags(os.RTLD_LAZY)\n"
        (packages / "lazy.pth").write_text(lazy)


if __name__ == "__main__":
    main()
