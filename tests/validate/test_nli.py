"""An NLI model is read through the same interface; the one here is made in the test."""

import json

import pytest

from metabolic.core.errors import ConfigError
from metabolic.validate.nli import OnnxNli
from metabolic.validate.support import Index

onnx = pytest.importorskip("onnx", reason="needs onnx to make a model")
pytest.importorskip("onnxruntime", reason="needs the extra nli")
tokenizers = pytest.importorskip("tokenizers", reason="needs the extra nli")

WORDS = ["[UNK]", "the", "sky", "is", "blue", "green", "not", "."]


@pytest.fixture
def folder(tmp_path):
    """A model that entails until it reads ``green`` (id 5), which it takes for a contradiction."""
    TensorProto, helper = onnx.TensorProto, onnx.helper  # noqa: N806 - its own name

    five = helper.make_tensor("five", TensorProto.INT64, [1], [5])
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [1, 3], [-8.0, 0.0, 8.0])
    bias = helper.make_tensor("bias", TensorProto.FLOAT, [3], [4.0, 0.0, -4.0])
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("Equal", ["input_ids", "five"], ["found"]),
        helper.make_node("Cast", ["found"], ["ones"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["ones", "axes"], ["any"], keepdims=1),
        helper.make_node("MatMul", ["any", "weights"], ["raw"]),
        helper.make_node("Add", ["raw", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "n"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [five, weights, bias, axes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(tmp_path / "model.onnx"))
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.normalizer = tokenizers.normalizers.Lowercase()
    words.save(str(tmp_path / "tokenizer.json"))
    labels = {"entailment": 0, "contradiction": 2}
    (tmp_path / "nli.json").write_text(json.dumps(labels), encoding="utf-8")
    return tmp_path


def test_a_model_says_supported_and_contradicted(folder):
    reader = OnnxNli(str(folder))
    index = Index("The sky is blue.")
    good, bad = reader.read("The sky is blue.", index), reader.read("The sky is green.", index)
    assert (good.status, bad.status) == ("supported", "contradicted")
    assert good.p is not None
    assert bad.p is not None
    assert good.p > 0.9
    assert bad.p < 0.1


def test_a_folder_that_is_not_whole_is_refused(folder):
    (folder / "nli.json").unlink()
    with pytest.raises(ConfigError, match=r"nli\.json"):
        OnnxNli(str(folder))
    (folder / "nli.json").write_text('{"entailment": "zero"}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"nli\.json"):
        OnnxNli(str(folder))


def test_a_very_long_claim_is_cut_not_refused(folder):
    said = OnnxNli(str(folder)).read("the sky is blue " * 800, Index("The sky is blue. " * 50))
    assert said.status == "supported"
