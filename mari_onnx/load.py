"""Reading a model: from a path or a ``ModelProto``, weights in external files left where they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from mari_onnx.checks import check_model
from mari_onnx.errors import ModelError
from mari_onnx.ir.external import Place, byte_size, is_external
from mari_onnx.ir.proto import default_set
from mari_onnx.ir.subgraphs import subgraphs
from mari_onnx.nested_data import with_outer_data
from mari_onnx.opsets import converted, with_operator_sets
from mari_onnx.repairs import in_order, inlined, with_open_sizes

ModelLike: TypeAlias = "str | os.PathLike[str] | onnx.ModelProto"

MIN_OPSET = 11
LARGEST_FILE = (1 << 31) - 1
"""Bytes; protobuf reads and writes no more."""
CHECKED_BYTES = 1 << 24
"""Constants up to this size are looked at; onnx's checker does not, and ONNX Runtime finds the others."""

OTHER_FILES = (
    (b"version https://git-lfs.github.com", "but what Git LFS keeps in its place: fetch it with `git lfs pull`"),
    (b"PK\x03\x04", "but a zip archive, as torch.save and Keras write them: unpack it, or export the model to ONNX"),
    (b"\x1f\x8b", "but compressed with gzip: unpack it"),
)
"""What is often taken for a model: how it begins, and what to say."""


@dataclass(frozen=True)
class Loaded:
    """A model as read.

    Attributes:
        model: Local functions inlined; external data not loaded. Shared with nobody when read from a path, the
            caller's own object otherwise: never changed.
        folder: Where external data lies; ``None`` for a model given as an object.
        name: How messages call it.
        source: What was read: a path, or the object.
        converted_from: The operator set that it was converted from, 0 where it was not.
    """

    model: onnx.ModelProto
    folder: Path | None
    name: str
    source: ModelLike
    converted_from: int = 0


def load_model(source: ModelLike | Loaded) -> Loaded:
    """Reads a model and checks that it can be worked on; one that has been read already comes back as it is.

    Raises:
        UsageError: It is neither a path nor a model.
        ModelError: The file cannot be read, is not an ONNX model, is older than opset 11 and cannot be converted, or
            its external data is missing, too short, or outside the model's folder.
    """
    if isinstance(source, Loaded):
        return source
    check_model(source)
    if isinstance(source, onnx.ModelProto):
        loaded = Loaded(source, None, "the model", source)
    else:
        path = Path(source)
        loaded = Loaded(_parsed(path, _content(path)), path.absolute().parent, str(path), path)
    _check_text(loaded)
    _check_imports(loaded)
    loaded = replace(loaded, model=with_open_sizes(loaded.model))
    loaded = replace(loaded, model=with_operator_sets(loaded.model, MIN_OPSET))
    _check_constants(loaded)
    loaded = _converted(loaded)
    _check_opset(loaded)
    if loaded.model.functions:
        loaded = replace(loaded, model=_inlined(loaded))
    _check_external_data(loaded)
    loaded = replace(loaded, model=with_outer_data(loaded.model))
    return replace(loaded, model=in_order(loaded.model))


def _content(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ModelError(f"{path} is a directory, not an ONNX file")
        if path.stat().st_size > LARGEST_FILE:
            raise ModelError(
                f"{path} is over 2 GiB, which no ONNX file can be: store its weights outside, in a data file"
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except PermissionError:
        raise ModelError(f"{path}: no permission to read it; change its permissions") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None


def _parsed(path: Path, content: bytes) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        known = next((what for start, what in OTHER_FILES if content.startswith(start)), "")
        raise ModelError(f"{path} is not an ONNX model, {known or 'or it was cut off: it cannot be decoded'}") from None
    if not model.HasField("graph") or not model.opset_import:
        raise ModelError(f"{path} is not an ONNX model, or it was cut off: it has no graph or imports no operator set")
    return model


def _check_imports(loaded: Loaded) -> None:
    if loaded.model.HasField("graph") and not loaded.model.graph.output:
        raise ModelError(f"{loaded.name}: its graph has no outputs, so there is nothing to compute")
    versions = {imported.version for imported in loaded.model.opset_import if imported.domain in ("", "ai.onnx")}
    if len(versions) > 1:
        shown = " and ".join(map(str, sorted(versions)))
        raise ModelError(
            f"{loaded.name}: imports the operator sets ai.onnx {shown} at once: keep the one that its nodes mean"
        )


def _check_text(loaded: Loaded) -> None:
    """Text that is not UTF-8 comes out of protobuf as bytes, and does not go in again."""
    graph = loaded.model.graph
    texts = [value for _, value in (*loaded.model.ListFields(), *graph.ListFields())]
    texts += [named.name for named in (*graph.input, *graph.output, *graph.value_info, *graph.initializer)]
    for node in graph.node:
        texts += [node.name, node.op_type, node.domain, *node.input, *node.output]
        texts += [attribute.name for attribute in node.attribute]
    for text in texts:
        if isinstance(text, bytes):
            raise ModelError(f"{loaded.name} is not an ONNX model, or is damaged: {text!r} is not text")


def _check_constants(loaded: Loaded) -> None:
    known = set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}
    for value in (*loaded.model.graph.input, *loaded.model.graph.output):
        if value.type.HasField("tensor_type") and value.type.tensor_type.elem_type not in known:
            raise ModelError(
                f"{loaded.name}: '{value.name}' has the element type {value.type.tensor_type.elem_type}, which the "
                "installed onnx does not know"
            )
    for tensor in tensors(loaded.model.graph):
        if tensor.data_type not in known:
            raise ModelError(
                f"{loaded.name}: the constant '{tensor.name}' has the element type {tensor.data_type}, which the "
                "installed onnx does not know"
            )
        size = byte_size(tensor)
        if tensor.HasField("raw_data") and 0 < size <= CHECKED_BYTES and len(tensor.raw_data) != size:
            raise ModelError(
                f"{loaded.name} is damaged: the constant '{tensor.name}' has {len(tensor.raw_data)} bytes, and its "
                f"shape needs {size}"
            )


def _converted(loaded: Loaded) -> Loaded:
    model = converted(loaded.model, MIN_OPSET)
    return (
        loaded if model is loaded.model else replace(loaded, model=model, converted_from=default_set(loaded.model) or 0)
    )


def _check_opset(loaded: Loaded) -> None:
    newest = onnx.defs.onnx_opset_version()
    version = default_set(loaded.model)
    if version is None:
        raise ModelError(f"{loaded.name}: imports no ai.onnx operator set, so its nodes have no defined meaning")
    if version < MIN_OPSET:
        raise ModelError(
            f"{loaded.name}: opset {version} is too old (at least {MIN_OPSET} is needed); "
            "convert it with onnx.version_converter, or export it anew"
        )
    if version > newest:
        raise ModelError(f"{loaded.name}: opset {version} is newer than the installed onnx knows ({newest})")


def tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """All constants of a graph and its subgraphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for inner in subgraphs(node):
            yield from tensors(inner)


def _check_external_data(loaded: Loaded) -> None:
    roots = _roots(loaded)
    for tensor in tensors(loaded.model.graph):
        if not is_external(tensor):
            continue
        if loaded.folder is None:
            raise ModelError(
                f"the weight '{tensor.name}' lies in an external file, and a model given as an object does not say "
                "where: give the path of the model, or load it with its external data"
            )
        _check_external_tensor(tensor, loaded, roots)


def _roots(loaded: Loaded) -> tuple[Path, ...]:
    """The folders that weights may lie in: the model's, and where the model is a link, that of what it links to."""
    if loaded.folder is None or isinstance(loaded.source, onnx.ModelProto):
        return ()
    return loaded.folder.resolve(), Path(loaded.source).resolve().parent


def _check_external_tensor(tensor: TensorProto, loaded: Loaded, roots: tuple[Path, ...]) -> None:
    try:
        place = Place.of(tensor)
    except ValueError:
        raise ModelError(f"{loaded.name}: where the weight '{tensor.name}' lies is not stated in numbers") from None
    weight = f"{loaded.name}: the weight '{tensor.name}' refers to the file {place.location!r}"
    if "\0" in place.location:
        raise ModelError(f"{weight}, which is no name of a file: export the model again")
    path = ((loaded.folder or Path()) / place.location).resolve()
    if not place.location or not any(path.is_relative_to(root) for root in roots):
        raise ModelError(f"{weight}, outside the folder of the model, which is not allowed: put it beside the model")
    if not path.is_file():
        raise ModelError(f"{weight}, which is missing: put it beside the model, in {loaded.folder}")
    if not os.access(path, os.R_OK):
        raise ModelError(f"{weight}, which may not be read: change its permissions")
    size = path.stat().st_size
    if size < place.offset + max(place.length, byte_size(tensor)):
        raise ModelError(f"{weight}, which is too short ({size} bytes): it was cut off, so copy or export it again")


def _inlined(loaded: Loaded) -> onnx.ModelProto:
    try:
        return inlined(loaded.model)
    except Exception as error:  # the inliner raises whatever its C++ side throws
        raise ModelError(f"{loaded.name}: its local functions could not be inlined: {error}") from error


def without_external_data(model: onnx.ModelProto) -> onnx.ModelProto:
    """A stand-in for the checker: external weights become graph inputs, so that no file is looked for."""
    light = onnx.ModelProto()
    light.CopyFrom(model)
    kept = []
    for tensor in light.graph.initializer:
        if is_external(tensor):
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            if tensor.name not in {v.name for v in light.graph.input}:
                light.graph.input.append(value)
        else:
            kept.append(tensor)
    del light.graph.initializer[:]
    light.graph.initializer.extend(kept)
    return light
