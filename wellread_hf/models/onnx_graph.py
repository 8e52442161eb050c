"""Models as ONNX graphs, one file each: fp32 from torch, int8 from fp32, and their answers on rows."""

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from wellread_hf.errors import ExportError
from wellread_hf.metrics.per_word import PerWord
from wellread_hf.models.encode import EncodedRows, PadCollator
from wellread_hf.models.infer import batches_by_length, longest_first
from wellread_hf.store.progress import bar
from wellread_hf.store.records import removed_if_failed

Array = npt.NDArray[Any]
# From a batch of inputs, by name, to outputs; and from these to what is kept of each row.
Run = Callable[[dict[str, Array]], Array]
View = Callable[[Array, Mapping[str, Array]], Array]

_DIMS = ("batch_size", "sequence_length")


def write_graph(model: Any, path: Path, segments: bool, temperature: float = 1.0) -> None:
    """Exports a model in fp32 to one file; inputs and outputs are named as transformers has them.

    Args:
        model: Of transformers, in fp32 on the CPU; put into evaluation mode.
        path: The file to write.
        segments: Whether it is given `token_type_ids`.
        temperature: Its logits are divided by this, in the graph.

    Raises:
        ExportError: It computes what ONNX has no operator for; the message names it.
    """
    import onnx_ir
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass, RemoveUnusedNodesPass
    from transformers.exporters.configs import OnnxConfig
    from transformers.exporters.exporter_onnx import OnnxExporter

    # Two rows: of one row the batch would become a constant.
    inputs = {
        "input_ids": torch.ones(2, 5, dtype=torch.long),
        "attention_mask": torch.ones(2, 5, dtype=torch.long),
    }
    if segments:
        inputs["token_type_ids"] = torch.zeros(2, 5, dtype=torch.long)
    try:
        with _silent(), _plain_attention(model):
            exporter: Any = OnnxExporter()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
            program = exporter.export(model.eval(), inputs, OnnxConfig(dynamic=True)).program
    # Exporters raise anything on a model that they were not made for.
    except Exception as error:
        # Its report is a page, and one line of it names the operator.
        operator = re.search(r"op='([\w.]+)'", str(error))
        said = f"ONNX has no operator for {operator[1]}" if operator else str(error).partition("\n")[0]
        raise ExportError(
            f"{type(model).__name__} cannot be exported: {said}; take a model of stock operators, such as "
            "one of the 24"
        ) from error
    graph = program.graph
    _clean(graph)
    # The first output is the answer; a pooler's goes, and what computes it.
    del graph.outputs[1:]
    RemoveUnusedNodesPass()(program)
    if temperature != 1:
        _divide_output(graph, temperature)
    # Nodes hold stack traces, with the paths of this machine.
    ClearMetadataAndDocStringPass()(program)
    beside = path.with_name(f"{path.name}.part")
    with removed_if_failed(beside):
        # Without external data: browsers and servers read one file.
        onnx_ir.save(program, beside)
        beside.replace(path)


def write_traced(model: Any, path: Path) -> None:
    """Exports a stock classifier in fp32 by tracing it: in a tenth of the time of `write_graph`.

    For measuring alone: notes and paths stay in the file.
    """
    ids = torch.ones(2, 5, dtype=torch.long)
    inputs = ["input_ids", "attention_mask", "token_type_ids"]
    with _silent(), _plain_attention(model):
        torch.onnx.export(
            model,
            (ids, ids, torch.zeros_like(ids)),
            path,
            input_names=inputs,
            output_names=["logits"],
            dynamic_axes={name: dict(enumerate(_DIMS)) for name in inputs} | {"logits": {0: _DIMS[0]}},
            dynamo=False,
        )


@contextmanager
def _plain_attention(model: Any) -> Iterator[None]:
    """Lets a model compute attention as the paper writes it, and masks by the padding alone.

    transformers' default takes care of rows that see nothing, and builds a mask [T, T] by indices. These are
    a third of a small graph's nodes, and each node costs a microsecond or two.
    """
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, bidirectional_mask_function

    masks: Any = ALL_MASK_ATTENTION_FUNCTIONS
    before, general = model.config._attn_implementation, masks["eager"]

    def mask(*args: Any, **given: Any) -> torch.Tensor | None:
        padding = given.get("attention_mask")
        if padding is None or given.get("mask_function") is not bidirectional_mask_function:
            # A causal model's, for one.
            return general(*args, **given)  # type: ignore[no-any-return]  # transformers leaves it untyped
        return torch.where(padding[:, None, None, :].bool(), 0.0, torch.finfo(given["dtype"]).min)

    model.set_attn_implementation("eager")
    masks["eager"] = mask
    try:
        yield
    finally:
        # Uncovers transformers' own.
        del masks["eager"]
        model.set_attn_implementation(before)


def _clean(graph: Any) -> None:
    """Names the two free dimensions, which the exporter numbers, and drops notes on values."""
    names = {str(dim): name for given in graph.inputs for dim, name in zip(given.shape, _DIMS, strict=True)}
    made = (output for node in graph for output in node.outputs)
    for value in (*graph.inputs, *graph.initializers.values(), *made):
        value.metadata_props.clear()
        for axis, dim in enumerate(value.shape or ()):
            if str(dim) in names:
                value.shape[axis] = names[str(dim)]


def _divide_output(graph: Any, temperature: float) -> None:
    import onnx_ir

    (output,) = graph.outputs
    name, output.name = output.name, f"{output.name}_uncalibrated"
    divisor = onnx_ir.Value(name="temperature", const_value=onnx_ir.tensor(np.float32(temperature)))
    graph.register_initializer(divisor)
    node = onnx_ir.node("Div", [output, divisor])
    (divided,) = node.outputs
    divided.name, divided.shape, divided.type = name, output.shape, output.type
    graph.append(node)
    graph.outputs[0] = divided


def write_int8(source: Path, path: Path) -> None:
    """Quantises a graph's weights to int8, and its activations as it runs; one file for every machine.

    Per channel, since one scale a matrix loses 1.5 points; with seven bits of each weight, since the products
    of eight overflow sixteen bits where a processor has no VNNI (docs/decisions.md).

    Args:
        source: A graph in fp32.
        path: The file to write.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    beside = path.with_name(f"{path.name}.part")
    with removed_if_failed(beside), _silent():
        quantize_dynamic(source, beside, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
        beside.replace(path)


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps exporter and quantiser from printing progress, and from saying that they are experimental."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def answers_in_order(run: Run, encoded: EncodedRows, view: View, batch_tokens: int = 2_048) -> Any:
    """Lets a model read all rows, in batches of like length.

    Args:
        run: From a batch of inputs to outputs.
        encoded: The rows, tokenised.
        view: From a batch's outputs and inputs to what is kept of each row, [rows of the batch, ...].
        batch_tokens: Tokens a batch, padding included, but one row at least.

    Returns:
        What was kept, [rows, ...] in fp32, in the order of the rows; of words a `PerWord`.
    """
    order, collate = longest_first(encoded.lengths), PadCollator(encoded.pad_id, encoded.pad_left)
    found: list[Any] = []
    with bar("comparing", "rows", len(order)) as shown:
        for batch in batches_by_length(order, encoded.lengths, batch_tokens):
            rows = collate([encoded.row(int(index)) for index in batch])
            inputs = {name: values.numpy() for name, values in rows.items()}
            answers = view(run(inputs), inputs)
            found.append(answers if encoded.words is None else encoded.words.answers(answers, batch))
            shown.update(len(batch))
    if encoded.words is not None:
        return PerWord.joined(found)[np.argsort(order)]
    kept = np.concatenate(found).astype(np.float32)
    in_order = np.empty_like(kept)
    in_order[order] = kept
    return in_order
