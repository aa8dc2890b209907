use super::*;

/// A convolution over pictures, or one over rows, and `PRelu` behind it with slopes of this shape.
fn model(kernel: &[i64], slope_dims: &[i64]) -> Vec<u8> {
    let tensor = |name: &str, dims: &[i64]| TensorProto {
        dims: dims.to_vec(),
        ..weight(name, &vec![0.25; dims.iter().product::<i64>() as usize])
    };
    let graph = GraphProto {
        node: vec![
            operator("Conv", &["photo", "kernel"], "seen"),
            operator("BatchNormalization", &["seen", "a", "b", "c", "d"], "normal"),
            operator("PRelu", &["normal", "slope"], "bent"),
            operator("Relu", &["bent"], "out"),
        ],
        initializer: vec![tensor("kernel", kernel), tensor("slope", slope_dims)],
        ..GraphProto::default()
    };
    ModelProto { graph: Some(graph), ..ModelProto::default() }.encode_to_vec()
}

fn operators(bytes: &[u8]) -> Vec<String> {
    let graph = ModelProto::decode(bytes).unwrap().graph.unwrap();
    graph.node.iter().map(|node| node.op_type().to_owned()).collect()
}

#[test]
fn a_slope_for_each_channel_becomes_two_convolutions() {
    let rewritten = without_prelu(model(&[2, 3, 1, 1], &[2, 1, 1]));
    let expected = ["Conv", "BatchNormalization", "Conv", "Relu", "Conv", "Add", "Relu"];
    assert_eq!(operators(&rewritten), expected);
    let graph = ModelProto::decode(rewritten.as_slice()).unwrap().graph.unwrap();
    assert_eq!(graph.node[5].output, ["bent"], "what comes behind finds its input");
    let slopes: Vec<Vec<f32>> =
        graph.initializer[2..].iter().map(|slope| tensor::floats(slope).unwrap()).collect();
    assert_eq!(slopes, [[0.25, 0.25], [0.75, 0.75]]);
    assert_eq!(without_prelu(rewritten.clone()), rewritten, "there is nothing left to do");
}

#[test]
fn other_models_stay_as_they_are() {
    for (what, bytes) in [
        ("no model", b"no model".to_vec()),
        ("one slope for all", model(&[2, 3, 1, 1], &[1, 1, 1])),
        ("a slope for each pixel", model(&[2, 3, 1, 1], &[2, 4, 4])),
        ("rows, not pictures", model(&[2, 3, 1], &[2, 1, 1])),
    ] {
        assert_eq!(without_prelu(bytes.clone()), bytes, "{what}");
    }
}
