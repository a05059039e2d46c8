"""The random numbers of `kernel::Uniform`, as its comment defines them, in numpy."""

import numpy as np

_WORD = np.uint64(0xFFFFFFFF)
_ALL = (1 << 64) - 1
# Bytes 24 to 55 of XXH3's secret, as four words.
_SECRET = [int.from_bytes(bytes.fromhex(text), "little")
           for text in ("7240a4a4b7b3671f", "cb79e64eccc0e578", "825ad07dccff7221", "b8084674f743248e")]


def xxh3(name):
    """XXH3, 64 bits, of 9 to 16 bytes."""
    data = name.encode()
    if not 9 <= len(data) <= 16:
        raise ValueError(f"{name} has {len(data)} bytes; only 9 to 16 are known here")
    low = int.from_bytes(data[:8], "little") ^ _SECRET[0] ^ _SECRET[1]
    high = int.from_bytes(data[-8:], "little") ^ _SECRET[2] ^ _SECRET[3]
    product = low * high
    swapped = int.from_bytes(low.to_bytes(8, "little"), "big")
    mixed = (len(data) + swapped + high + ((product & _ALL) ^ (product >> 64))) & _ALL
    mixed = (mixed ^ (mixed >> 37)) * 0x165667919E3779F9 & _ALL
    return mixed ^ (mixed >> 32)


def philox(counter, key):
    """Ten rounds of Philox4x32; each word of the counter an array or a number."""
    words = [np.asarray(word, dtype=np.uint64) for word in counter]
    keys = [np.uint64(word) for word in key]
    for _ in range(10):
        first, second = words[0] * np.uint64(0xD2511F53), words[2] * np.uint64(0xCD9E8D57)
        words = [(second >> np.uint64(32)) ^ words[1] ^ keys[0], second & _WORD,
                 (first >> np.uint64(32)) ^ words[3] ^ keys[1], first & _WORD]
        keys = [(keys[0] + np.uint64(0x9E3779B9)) & _WORD, (keys[1] + np.uint64(0xBB67AE85)) & _WORD]
    return words


def uniform(seed, model, tensor, elements):
    """float32 in [0, 1) of the elements of one tensor of one model."""
    key = [int(word) for word in philox([model, 0, 0, 0], [seed & 0xFFFFFFFF, seed >> 32])[:2]]
    blocks = np.arange((elements + 3) // 4, dtype=np.uint64)
    name = xxh3(tensor)
    zeros = np.zeros_like(blocks)
    words = philox([blocks & _WORD, blocks >> np.uint64(32), zeros + np.uint64(name & 0xFFFFFFFF),
                    zeros + np.uint64(name >> 32)], key)
    numbers = (np.stack(words, axis=1).ravel() >> np.uint64(8)).astype(np.float32) * np.float32(2**-24)
    return numbers[:elements]
