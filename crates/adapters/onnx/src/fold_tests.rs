use super::*;
use crate::onnx_format::{OperatorSetIdProto, TensorShapeProto, TensorTypeProto, TypeProto};

fn weight(name: &str, data_type: i32, dims: &[i64], raw_data: Vec<u8>) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(data_type),
        dims: dims.to_vec(),
        raw_data: Some(raw_data),
        ..TensorProto::default()
    }
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn integers(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn node(op_type: &str, input: &[&str], output: &str, attributes: &[(&str, i64)]) -> NodeProto {
    let attribute = |(name, value): &(&str, i64)| AttributeProto {
        name: Some((*name).to_owned()),
        i: Some(*value),
        r#type: Some(2),
        ..AttributeProto::default()
    };
    NodeProto {
        op_type: Some(op_type.to_owned()),
        input: input.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute: attributes.iter().map(attribute).collect(),
        ..NodeProto::default()
    }
}

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dimension = |length: &i64| DimensionProto { dim_value: Some(*length), ..DimensionProto::default() };
    let shape = TensorShapeProto { dim: dims.iter().map(dimension).collect() };
    let tensor = TensorTypeProto { elem_type: Some(1), shape: Some(shape) };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { tensor_type: Some(tensor), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}

/// A model that multiplies its input by a block-quantised weight and reshapes the product.
fn model() -> ModelProto {
    let graph = GraphProto {
        node: vec![
            node("DequantizeLinear", &["q", "s", "z"], "w", &[("axis", 1), ("block_size", 2)]),
            node("Reshape", &["w", "w_shape"], "w2", &[]),
            node("MatMul", &["data", "w2"], "product", &[]),
            node("Reshape", &["product", "target"], "out", &[]),
        ],
        initializer: vec![
            weight("q", 3, &[2, 3], vec![1, 2, 3, 0xff, 0, 0x80]),
            weight("s", 1, &[2, 2], floats(&[0.5, 2.0, 10.0, 0.25])),
            weight("z", 3, &[2, 2], vec![1, 0, 0xff, 0]),
            weight("w_shape", 7, &[2], integers(&[3, -1])),
            weight("target", 7, &[3], integers(&[1, -1, 2])),
        ],
        input: vec![value("data", &[1, 3, 4, 3]), value("q", &[2, 3]), value("stale", &[1])],
        output: vec![value("out", &[1, 12, 2])],
        value_info: vec![b"\n\x01x".to_vec()],
        ..GraphProto::default()
    };
    ModelProto {
        ir_version: Some(6),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(21) }],
        graph: Some(graph),
        training_info: vec![b"carried along".to_vec()],
        ..ModelProto::default()
    }
}

fn folded(model: &ModelProto, axes: DynamicAxes) -> ModelProto {
    ModelProto::decode(fold(&model.encode_to_vec(), axes).unwrap().as_slice()).unwrap()
}

fn names(tensors: &[TensorProto]) -> Vec<&str> {
    tensors.iter().map(TensorProto::name).collect()
}

fn dimensions(value: &ValueInfoProto) -> Vec<String> {
    let shape = value.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap().shape.as_ref().unwrap();
    let dimension = |it: &DimensionProto| it.dim_param.clone().unwrap_or_else(|| it.dim_value().to_string());
    shape.dim.iter().map(dimension).collect()
}

/// Worked out by hand: rows [1, 2 | 3] and [−1, 0 | −128], blocks of two along axis 1.
#[test]
fn weights_become_floats_in_their_new_shape() {
    let graph = folded(&model(), DynamicAxes::Batch).graph.unwrap();
    assert_eq!(names(&graph.initializer), ["w2", "target"]);
    let folded_weight = &graph.initializer[0];
    assert_eq!(folded_weight.dims, [3, 2]);
    assert_eq!(folded_weight.raw_data(), floats(&[0.0, 0.5, 6.0, 0.0, 10.0, -32.0]));
    assert_eq!(graph.node.iter().map(NodeProto::op_type).collect::<Vec<_>>(), ["MatMul", "Reshape"]);
}

#[test]
fn what_nothing_needs_is_dropped_and_the_rest_kept() {
    let whole = folded(&model(), DynamicAxes::Batch);
    assert_eq!((whole.ir_version(), whole.opset_import[0].version()), (7, 13));
    assert_eq!(whole.training_info, [b"carried along".to_vec()]);
    let graph = whole.graph.unwrap();
    assert_eq!(graph.input.iter().map(ValueInfoProto::name).collect::<Vec<_>>(), ["data"]);
    assert_eq!(graph.value_info, Vec::<Vec<u8>>::new());
}

#[test]
fn axes_become_dynamic_as_asked() {
    let batch = folded(&model(), DynamicAxes::Batch).graph.unwrap();
    assert_eq!(dimensions(&batch.input[0]), ["batch", "3", "4", "3"]);
    assert_eq!(dimensions(&batch.output[0]), ["batch", "12", "2"]);
    assert_eq!(tensor::integers(&batch.initializer[1]).unwrap(), [1, -1, 2]);
    let all = folded(&model(), DynamicAxes::BatchHeightWidth).graph.unwrap();
    assert_eq!(dimensions(&all.input[0]), ["batch", "3", "height", "width"]);
    assert_eq!(dimensions(&all.output[0]), ["batch", "cells", "2"]);
    assert_eq!(tensor::integers(&all.initializer[1]).unwrap(), [0, -1, 2]);
}

#[test]
fn one_scale_serves_the_whole_tensor() {
    let quantised = weight("q", 2, &[2, 2], vec![0, 1, 2, 255]);
    let scale = weight("s", 1, &[], floats(&[0.5]));
    let blocks = tensor::Blocks { axis: 1, size: 64 };
    let whole = tensor::dequantise("w".to_owned(), [Some(&quantised), Some(&scale), None], blocks).unwrap();
    assert_eq!(whole.raw_data(), floats(&[0.0, 0.5, 1.0, 127.5]));
}

#[test]
fn one_scale_for_each_index_of_an_axis() {
    let quantised = weight("q", 3, &[2, 2], vec![1, 2, 3, 4]);
    let scale = weight("s", 1, &[2], floats(&[1.0, 10.0]));
    let parts = [Some(&quantised), Some(&scale), None];
    for (axis, expected) in [(0, [1.0, 2.0, 30.0, 40.0]), (-1, [1.0, 20.0, 3.0, 40.0])] {
        let whole = tensor::dequantise("w".to_owned(), parts, tensor::Blocks { axis, size: 0 }).unwrap();
        assert_eq!(whole.raw_data(), floats(&expected), "axis {axis}");
    }
}

#[test]
fn what_cannot_be_folded_is_refused() {
    let change = |change: fn(&mut GraphProto)| {
        let mut changed = model();
        change(changed.graph.as_mut().unwrap());
        fold(&changed.encode_to_vec(), DynamicAxes::Batch).unwrap_err().to_string()
    };
    for (error, reason) in [
        (fold(b"no model", DynamicAxes::Batch).unwrap_err().to_string(), "no ONNX model"),
        (change(|graph| graph.node[0].input[0] = "data".to_owned()), "not constant"),
        (change(|graph| graph.initializer[1].dims = vec![2, 1]), "shape"),
        (change(|graph| graph.initializer[1].data_type = Some(10)), "type"),
        (
            change(|graph| {
                graph.node[2].attribute.push(AttributeProto { g: Some(vec![]), ..Default::default() })
            }),
            "within nodes",
        ),
        (change(|graph| graph.initializer[3].raw_data = Some(integers(&[4, 4]))), "shape"),
        (change(|graph| graph.input.push(graph.input[0].clone())), "exactly one input"),
    ] {
        assert!(error.contains(reason), "{error}");
    }
}
