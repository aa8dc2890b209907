//! Folds block-quantised weights into floats, once, at import.
//!
//! The OpenCV Zoo ships its models with weights as `DequantizeLinear` with a block size (opset 21). ONNX Runtime does
//! not run all of them, and would do the same arithmetic again for each photo.

use std::collections::{HashMap, HashSet};

use prost::Message;

use crate::error::OnnxError;
use crate::onnx_format::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use crate::tensor;

/// The operator set that the folded graphs use, and the format version that goes with it.
const OPSET: i64 = 13;
const IR_VERSION: i64 = 7;
/// Operator sets later than [`OPSET`] are only taken where the block-quantised weights are why.
const QUANTISED_OPSET: i64 = 21;

/// Which axes of a folded model's input become dynamic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DynamicAxes {
    /// The first: faces go in together.
    Batch,
    /// First, height and width; reshapes to `[1, −1, c]` become `[0, −1, c]`.
    BatchHeightWidth,
}

/// Folds the model in `bytes`: constants behind `DequantizeLinear` and `Reshape` become weights, inputs that nothing
/// needs are dropped, and `axes` become dynamic. The same bytes always give the same bytes.
///
/// # Errors
/// Where `bytes` are no ONNX model, or the model is of a kind that this does not know how to fold.
pub fn fold(bytes: &[u8], axes: DynamicAxes) -> Result<Vec<u8>, OnnxError> {
    let mut model =
        ModelProto::decode(bytes).map_err(|error| OnnxError::Fold(format!("no ONNX model: {error}")))?;
    let graph = model.graph.as_mut().ok_or_else(|| refused("it has no graph"))?;
    check_is_flat(graph)?;
    fold_constants(graph)?;
    drop_unused(graph);
    make_dynamic(graph, axes)?;
    for opset in &mut model.opset_import {
        if opset.domain().is_empty() && opset.version() == QUANTISED_OPSET {
            opset.version = Some(OPSET);
            model.ir_version = Some(IR_VERSION);
        }
    }
    Ok(model.encode_to_vec())
}

pub(crate) fn refused(reason: impl Into<String>) -> OnnxError {
    OnnxError::Fold(reason.into())
}

/// Graphs within nodes could use weights under their names, so they are not taken.
fn check_is_flat(graph: &GraphProto) -> Result<(), OnnxError> {
    let nested = |attribute: &AttributeProto| attribute.g.is_some() || !attribute.graphs.is_empty();
    let has_nested = graph.node.iter().any(|node| node.attribute.iter().any(nested));
    if has_nested || !graph.sparse_initializer.is_empty() {
        return Err(refused("it has graphs within nodes, or sparse weights"));
    }
    Ok(())
}

/// Computes every `DequantizeLinear` of constants, and every `Reshape` of what that gave.
fn fold_constants(graph: &mut GraphProto) -> Result<(), OnnxError> {
    let mut constants: HashMap<String, TensorProto> =
        graph.initializer.drain(..).map(|tensor| (tensor.name().to_owned(), tensor)).collect();
    let mut order: Vec<String> = Vec::new();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for node in graph.node.drain(..) {
        let folded = match (node.op_type(), node.domain()) {
            ("DequantizeLinear", "" | "ai.onnx") => Some(dequantised(&node, &constants)?),
            ("Reshape", "" | "ai.onnx") => reshaped(&node, &constants)?,
            _ => None,
        };
        match folded {
            Some(tensor) => {
                constants.insert(tensor.name().to_owned(), tensor);
            }
            None => {
                order.extend(node.input.iter().cloned());
                nodes.push(node);
            }
        }
    }
    graph.initializer = order.iter().filter_map(|name| constants.remove(name)).collect();
    graph.node = nodes;
    Ok(())
}

fn dequantised(node: &NodeProto, constants: &HashMap<String, TensorProto>) -> Result<TensorProto, OnnxError> {
    let constant = |index: usize| node.input.get(index).and_then(|name| constants.get(name));
    let (Some(quantised), Some(scale)) = (constant(0), constant(1)) else {
        return Err(refused(format!("{} dequantises what is not constant", node.name())));
    };
    let integer = |name: &str| node.attribute.iter().find(|it| it.name() == name).map(AttributeProto::i);
    let blocks =
        tensor::Blocks { axis: integer("axis").unwrap_or(1), size: integer("block_size").unwrap_or(0) };
    tensor::dequantise(output_name(node)?, [Some(quantised), Some(scale), constant(2)], blocks)
}

fn reshaped(
    node: &NodeProto,
    constants: &HashMap<String, TensorProto>,
) -> Result<Option<TensorProto>, OnnxError> {
    let [data, shape] = node.input.as_slice() else { return Ok(None) };
    match (constants.get(data), constants.get(shape)) {
        (Some(data), Some(shape)) => tensor::reshape(output_name(node)?, data, shape).map(Some),
        _ => Ok(None),
    }
}

fn output_name(node: &NodeProto) -> Result<String, OnnxError> {
    node.output.first().cloned().ok_or_else(|| refused(format!("{} has no output", node.name())))
}

/// Drops inputs that are weights or that nothing uses, and shapes that were written down for other axes.
fn drop_unused(graph: &mut GraphProto) {
    let used: HashSet<&str> =
        graph.node.iter().flat_map(|node| node.input.iter().map(String::as_str)).collect();
    let weights: HashSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
    graph.input.retain(|input| used.contains(input.name()) && !weights.contains(input.name()));
    graph.value_info.clear();
}

fn make_dynamic(graph: &mut GraphProto, axes: DynamicAxes) -> Result<(), OnnxError> {
    let names: &[&str] = match axes {
        DynamicAxes::Batch => &["batch"],
        DynamicAxes::BatchHeightWidth => &["batch", "", "height", "width"],
    };
    let [input] = graph.input.as_mut_slice() else {
        return Err(refused("it does not have exactly one input"));
    };
    rename_dimensions(input, names);
    let cells = if axes == DynamicAxes::Batch { "" } else { "cells" };
    for output in &mut graph.output {
        rename_dimensions(output, &["batch", cells][..if cells.is_empty() { 1 } else { 2 }]);
    }
    if axes == DynamicAxes::BatchHeightWidth {
        free_reshapes(graph)?;
    }
    Ok(())
}

/// Names the first dimensions; an empty name leaves one as it is.
fn rename_dimensions(value: &mut ValueInfoProto, names: &[&str]) {
    let shape = value.r#type.as_mut().and_then(|it| it.tensor_type.as_mut()).and_then(|it| it.shape.as_mut());
    let Some(shape) = shape else { return };
    for (dimension, name) in shape.dim.iter_mut().zip(names) {
        if !name.is_empty() {
            *dimension = DimensionProto { dim_param: Some((*name).to_owned()), ..DimensionProto::default() };
        }
    }
}

/// Reshapes to `[1, −1, c]` keep the batch instead: `[0, −1, c]`.
fn free_reshapes(graph: &mut GraphProto) -> Result<(), OnnxError> {
    let targets: HashSet<&str> = graph
        .node
        .iter()
        .filter(|node| node.op_type() == "Reshape")
        .filter_map(|node| node.input.get(1).map(String::as_str))
        .collect();
    for weight in &mut graph.initializer {
        if targets.contains(weight.name()) {
            let shape = tensor::integers(weight)?;
            if let [1, -1, channels] = shape[..] {
                tensor::set_integers(weight, &[0, -1, channels]);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
