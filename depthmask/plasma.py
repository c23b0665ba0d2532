"""The plasma colour map: 256 colours of even steps in lightness.

By Nathaniel J. Smith and Stéfan van der Walt (2015), released under CC0; the values of matplotlib's
``plasma``, × 255, rounded down.
"""

from __future__ import annotations

import functools

import numpy as np

# uint8 [256, 3], RGB, from the least value to the greatest.
PLASMA = np.frombuffer(
    bytes.fromhex(
        "0c078610078713068915068a18068b1b068c1d068d1f058e21058f2305902505912705922905932b05942d0494"
        "2f04953104963304973404983604983804993a049a3b039a3d039b3f039c40039c42039d44039e45039e47029f"
        "49029f4a02a04c02a14e02a14f02a25101a25201a35401a35601a35701a45901a45a00a55c00a55e00a55f00a6"
        "6100a66200a66400a76500a76700a76800a76a00a76c00a86d00a86f00a87000a87200a87300a87500a87601a8"
        "7801a87901a87b02a87c02a77e03a77f03a78104a78204a78405a68506a68607a68807a58908a58b09a48c0aa4"
        "8e0ca48f0da3900ea3920fa29310a19511a19612a09713a099149f9a159e9b179e9d189d9e199c9f1a9ba01b9b"
        "a21c9aa31d99a41e98a51f97a72197a82296a92395aa2494ac2593ad2692ae2791af2890b02a8fb12b8fb22c8e"
        "b42d8db52e8cb62f8bb7308ab83289b93388ba3487bb3586bc3685bd3784be3883bf3982c03b81c13c80c23d80"
        "c33e7fc43f7ec5407dc6417cc7427bc8447ac94579ca4678cb4777cc4876cd4975ce4a75cf4b74d04d73d14e72"
        "d14f71d25070d3516fd4526ed5536dd6556dd7566cd7576bd8586ad95969da5a68db5b67dc5d66dc5e66dd5f65"
        "de6064df6163df6262e06461e16560e26660e3675fe3685ee46a5de56b5ce56c5be66d5ae76e5ae87059e87158"
        "e97257ea7356ea7455eb7654ec7754ec7853ed7952ed7b51ee7c50ef7d4fef7e4ef0804df0814df1824cf2844b"
        "f2854af38649f38748f48947f48a47f58b46f58d45f68e44f68f43f69142f79241f79341f89540f8963ff8983e"
        "f9993df99a3cfa9c3bfa9d3afa9f3afaa039fba238fba337fba436fca635fca735fca934fcaa33fcac32fcad31"
        "fdaf31fdb030fdb22ffdb32efdb52dfdb62dfdb82cfdb92bfdbb2bfdbc2afdbe29fdc029fdc128fdc328fdc427"
        "fdc626fcc726fcc926fccb25fccc25fcce25fbd024fbd124fbd324fad524fad624fad824f9d924f9db24f8dd24"
        "f8df24f7e024f7e225f6e425f6e525f5e726f5e926f4ea26f3ec26f3ee26f2f026f2f126f1f326f0f525f0f623"
        "eff821"
    ),
    np.uint8,
).reshape(256, 3)


@functools.cache
def plasma_positions() -> np.ndarray:
    """The position, uint8 [65536], on the map of a colour by its red × 256 + green.

    No two colours of the map agree in both; JPEG damages blue most. That of the nearest colour.
    """
    red, green = (PLASMA[:, channel].astype(np.int32) for channel in (0, 1))
    levels = np.arange(256, dtype=np.int32)
    distances = [(level - red) ** 2 + (levels[:, None] - green) ** 2 for level in levels]
    return np.concatenate([rows.argmin(axis=1) for rows in distances]).astype(np.uint8)
