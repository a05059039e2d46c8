"""Llama-shaped bfloat16 checkpoints with plausible weights and deltas, made at about the speed of the disk.

Values come from random blocks that are used again and again, each time from another place: a merge sees the
distributions of real models (weights of 0.02, heavy-tailed deltas that grow from layer to layer, many of which
bfloat16 rounds away), and no time goes into random numbers.
"""

import concurrent.futures
import dataclasses
import json
import math
import os
import pathlib
import shutil

import numpy as np

from support import tensors

ELEMENT_BYTES = 2
BLOCK = 1 << 22  # elements of a random block
CHUNK = 1 << 17  # elements made at once: what numpy passes over several times stays in the cache
WIDTHS = (64, 128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
MARK = "made.json"  # written last: a directory without it was left half-made


@dataclasses.dataclass(frozen=True)
class Shape:
    """The dimensions of a Llama."""

    hidden: int
    layers: int

    @property
    def vocabulary(self):
        return min(8 * self.hidden, 32000)

    @property
    def intermediate(self):
        return -(-self.hidden * 11 // 4 // 128) * 128

    @property
    def heads(self):
        return max(4, self.hidden // 64)

    @property
    def key_value_heads(self):
        return self.heads // 4

    def tensors(self):
        """Name -> shape, in the order of the file."""
        hidden, grouped = self.hidden, self.hidden // 4
        found = {"model.embed_tokens.weight": (self.vocabulary, hidden)}
        for layer in range(self.layers):
            part = f"model.layers.{layer}"
            found[f"{part}.input_layernorm.weight"] = (hidden,)
            found[f"{part}.self_attn.q_proj.weight"] = (hidden, hidden)
            found[f"{part}.self_attn.k_proj.weight"] = (grouped, hidden)
            found[f"{part}.self_attn.v_proj.weight"] = (grouped, hidden)
            found[f"{part}.self_attn.o_proj.weight"] = (hidden, hidden)
            found[f"{part}.post_attention_layernorm.weight"] = (hidden,)
            found[f"{part}.mlp.gate_proj.weight"] = (self.intermediate, hidden)
            found[f"{part}.mlp.up_proj.weight"] = (self.intermediate, hidden)
            found[f"{part}.mlp.down_proj.weight"] = (hidden, self.intermediate)
        found["model.norm.weight"] = (hidden,)
        found["lm_head.weight"] = (self.vocabulary, hidden)
        return found

    @property
    def parameters(self):
        return sum(math.prod(shape) for shape in self.tensors().values())

    def config(self):
        """config.json, for programs that want to know the architecture."""
        return {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
            "hidden_size": self.hidden, "intermediate_size": self.intermediate, "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads, "num_key_value_heads": self.key_value_heads,
            "vocab_size": self.vocabulary, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
            "hidden_act": "silu", "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
        }


def shape_for(parameters):
    """The shape with about so many parameters whose depth fits its width best, as Llamas go: hidden / 128 layers."""
    def with_width(hidden):
        outside = Shape(hidden, 0).parameters
        layer = Shape(hidden, 1).parameters - outside
        return Shape(hidden, max(1, round((parameters - outside) / layer)))

    def misfit(shape):
        depth = math.log(shape.layers / max(2, shape.hidden / 128))
        size = math.log(shape.parameters / parameters)
        return abs(depth) + 8 * abs(size)
    return min(map(with_width, WIDTHS), key=misfit)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a set of checkpoints is made from; the same recipe gives the same bytes."""

    shape: Shape
    tasks: int
    shards: int = 1
    seed: int = 0

    @property
    def name(self):
        return f"llama-h{self.shape.hidden}-l{self.shape.layers}-t{self.tasks}-s{self.shards}-r{self.seed}"

    @property
    def model_bytes(self):
        return self.shape.parameters * ELEMENT_BYTES

    @property
    def all_bytes(self):
        return self.model_bytes * (self.tasks + 1)


def is_made(directory, recipe):
    mark = pathlib.Path(directory) / MARK
    return mark.exists() and json.loads(mark.read_text()) == json.loads(json.dumps(dataclasses.asdict(recipe)))


def make(directory, recipe):
    """Writes base/ and task0/, task1/, ... into `directory`; what an earlier run made by the same recipe is kept."""
    directory = pathlib.Path(directory)
    if is_made(directory, recipe):
        return
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    random = np.random.default_rng(recipe.seed)
    gaussian = random.standard_normal(BLOCK, dtype=np.float32)
    heavy = gaussian * random.standard_normal(BLOCK, dtype=np.float32)  # of deviation 1, with long tails
    random.shuffle(heavy)
    makers = [_Maker(recipe, model, gaussian, heavy) for model in range(recipe.tasks + 1)]
    with concurrent.futures.ThreadPoolExecutor(min(len(makers), os.cpu_count() or 1)) as threads:
        list(threads.map(lambda maker: maker.write(directory), makers))
    os.sync()  # else the first measured runs compete with the writing of these files
    (directory / MARK).write_text(json.dumps(dataclasses.asdict(recipe)))


class _Maker:
    """Writes one model: the base is model 0, the tasks follow."""

    def __init__(self, recipe, model, gaussian, heavy):
        self._recipe = recipe
        self._model = model
        self._gaussian = gaussian
        self._heavy = heavy
        self._shapes = recipe.shape.tensors()
        self._numbers = {name: number for number, name in enumerate(self._shapes)}

    def write(self, parent):
        directory = parent / ("base" if self._model == 0 else f"task{self._model - 1}")
        directory.mkdir()
        (directory / "config.json").write_text(json.dumps(self._recipe.shape.config(), indent=2))
        shards = self._cut()
        if len(shards) == 1:
            self._write_file(directory / "model.safetensors", shards[0])
            return
        weight_map = {}
        for number, names in enumerate(shards, start=1):
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            self._write_file(directory / file, names)
            weight_map.update({name: file for name in names})
        index = {"metadata": {"total_size": self._recipe.model_bytes}, "weight_map": weight_map}
        (directory / tensors.INDEX).write_text(json.dumps(index))

    def _cut(self):
        """The names of each shard, of about the same size."""
        shards, done = [[] for _ in range(self._recipe.shards)], 0
        for name, shape in self._shapes.items():
            shards[done * len(shards) // self._recipe.shape.parameters].append(name)
            done += math.prod(shape)
        return [shard for shard in shards if shard]

    def _write_file(self, path, names):
        header, end = {"__metadata__": {"format": "pt"}}, 0
        for name in names:
            begin, end = end, end + math.prod(self._shapes[name]) * ELEMENT_BYTES
            header[name] = {"dtype": "BF16", "shape": list(self._shapes[name]), "data_offsets": [begin, end]}
        with open(path, "wb") as file:
            file.write(tensors.file_bytes(header, b""))
            for name in names:
                for values in self._chunks(name):
                    file.write(_bfloat16(values))

    def _chunks(self, name):
        """The float32 values of a tensor, piece by piece; those of the base are numbers of bfloat16."""
        number, seed = self._numbers[name], self._recipe.seed
        places = np.random.default_rng([seed, number])  # the same for all models
        own = np.random.default_rng([seed, number, self._model])
        center, deviation = self._base_distribution(name)
        scale = np.float32(self._delta_scale(name) * own.uniform(0.5, 2))
        elements = math.prod(self._shapes[name])
        for begin in range(0, elements, CHUNK):
            count = min(CHUNK, elements - begin)
            place = int(places.integers(BLOCK - count))
            values = self._gaussian[place:place + count] * np.float32(deviation)
            values += np.float32(center)
            if self._model > 0:
                values.view(np.uint32)[...] = _rounded(values) & np.uint32(0xFFFF0000)
                place = int(own.integers(BLOCK - count))
                values += self._heavy[place:place + count] * scale
            yield values

    def _base_distribution(self, name):
        if "norm" in name:
            return 1.0, 0.05
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            return 0.0, 0.02 / math.sqrt(2 * self._recipe.shape.layers)
        return 0.0, 0.02

    def _delta_scale(self, name):
        """From 1e-4 in the first layer to 1e-3 in the last; the embeddings move little."""
        words = name.split(".")
        if words[1] != "layers":
            return 1e-4
        return 1e-4 * 10 ** (int(words[2]) / max(1, self._recipe.shape.layers - 1))


def _rounded(values):
    """Bits whose upper half is the nearest bfloat16, ties to even."""
    bits = values.view(np.uint32)
    odd = bits >> np.uint32(16)
    odd &= np.uint32(1)
    odd += np.uint32(0x7FFF)
    odd += bits
    return odd


def _bfloat16(values):
    return np.ascontiguousarray(_rounded(values).view("<u2")[1::2])


def link_tasks(directory, recipe, count):
    """Directories of `count` tasks: those that were made, then links to them, so that many tasks take little disk."""
    directory = pathlib.Path(directory)
    paths = []
    for number in range(count):
        path = directory / f"task{number}"
        if not path.exists():
            path.symlink_to(f"task{number % recipe.tasks}")
        paths.append(path)
    return paths
