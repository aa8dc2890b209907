use serde_json::json;

use super::*;

static INNER: [Member; 2] =
    [optional("Bytes", Rule::Photo { bytes_max: 6 }), optional("Name", Rule::Text(Text::of(2, 4)))];
static MEMBERS: [Member; 7] = [
    required("CollectionId", Rule::Text(Text::of(1, 5).like(NAME))),
    optional("MaxFaces", Rule::Integer { min: 1, max: 4096 }),
    optional("Threshold", Rule::Float { min: 0.0, max: 100.0 }),
    optional("Filter", Rule::Text(Text::one_of(&["NONE", "AUTO"]))),
    optional("Ids", Rule::TextList { of: Text::of(1, 3).like(NAME), min: 1, max: 2 }),
    optional("Tags", Rule::TextMap { keys: Text::of(1, 3), values: Text::of(0, 2), max: 2 }),
    optional("Image", Rule::Structure(&INNER)),
];

/// What is said of `extra` in an otherwise right request; none where it is right too.
fn said(extra: serde_json::Value) -> Option<Refusal> {
    let mut request = json!({"CollectionId": "a"}).as_object().unwrap().clone();
    request.extend(extra.as_object().unwrap().clone());
    check(&MEMBERS, &request).err()
}

fn violation(value: &str, path: &str, constraint: &str) -> Option<Refusal> {
    let text = format!("Value {value} at '{path}' failed to satisfy constraint: {constraint}");
    let fields = vec![(path.to_owned(), constraint.to_owned())];
    Some(Refusal::Constraints(Broken { message: format!("1 validation error detected: {text}"), fields }))
}

#[test]
fn what_is_right_passes_with_unknown_members_and_nulls() {
    for right in [
        json!({}),
        json!({"Unknown": {"deep": [1]}, "Vidimus": 3}),
        json!({"MaxFaces": null, "Image": null, "Ids": null}),
        json!({"MaxFaces": 1, "Threshold": 0, "Filter": "NONE"}),
        json!({"MaxFaces": 4096, "Threshold": 100.0, "Filter": "AUTO"}),
        json!({"CollectionId": "abcde", "Ids": ["a", "abc"], "Tags": {"abc": "", "ä": "xy"}}),
        json!({"Image": {"Bytes": "AAAAAAAA", "Name": "äö", "Other": 1}}),
        json!({"Image": {"Bytes": null}}),
    ] {
        assert_eq!(said(right.clone()), None, "{right}");
    }
}

#[test]
fn each_bound_is_told_in_the_words_of_the_general_layer() {
    let pattern = r"[a-zA-Z0-9_.\-]+";
    let like = format!("Member must satisfy regular expression pattern: {pattern}");
    let longer = |max: usize| format!("Member must have length less than or equal to {max}");
    for (wrong, value, path, constraint) in [
        (json!({"CollectionId": null}), "null", "collectionId", "Member must not be null"),
        (json!({"CollectionId": "abcdef"}), "'abcdef'", "collectionId", &longer(5)),
        (json!({"CollectionId": "a/b"}), "'a/b'", "collectionId", &like),
        (json!({"MaxFaces": 0}), "'0'", "maxFaces", "Member must have value greater than or equal to 1"),
        (
            json!({"MaxFaces": 4097}),
            "'4097'",
            "maxFaces",
            "Member must have value less than or equal to 4096",
        ),
        (
            json!({"Threshold": -0.5}),
            "'-0.5'",
            "threshold",
            "Member must have value greater than or equal to 0",
        ),
        (
            json!({"Threshold": 100.5}),
            "'100.5'",
            "threshold",
            "Member must have value less than or equal to 100",
        ),
        (json!({"Filter": "auto"}), "'auto'", "filter", "Member must satisfy enum value set: [NONE, AUTO]"),
        (json!({"Ids": []}), "'[]'", "ids", "Member must have length greater than or equal to 1"),
        (json!({"Ids": ["a", "b", "c"]}), "'[a, b, c]'", "ids", &longer(2)),
        (json!({"Ids": ["a", "b/"]}), "'[b/]'", "ids", &format!("Member must satisfy constraint: [{like}]")),
        (json!({"Tags": {"a": "", "b": "", "c": ""}}), "'3 entries'", "tags", &longer(2)),
        (
            json!({"Tags": {"abcd": ""}}),
            "'abcd'",
            "tags",
            &format!("Map keys must satisfy constraint: [{}]", longer(3)),
        ),
        (
            json!({"Tags": {"a": "xyz"}}),
            "'xyz'",
            "tags",
            &format!("Map value must satisfy constraint: [{}]", longer(2)),
        ),
        (
            json!({"Image": {"Bytes": ""}}),
            "''",
            "image.bytes",
            "Member must have length greater than or equal to 1",
        ),
        (json!({"Image": {"Name": "abcde"}}), "'abcde'", "image.name", &longer(4)),
    ] {
        assert_eq!(said(wrong.clone()), violation(value, path, constraint), "{wrong}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let Some(Refusal::Constraints(Broken { message, .. })) =
        said(json!({"CollectionId": "", "MaxFaces": 0, "Filter": "x"}))
    else {
        panic!("it is refused");
    };
    assert!(message.starts_with("4 validation errors detected: Value '' at 'collectionId'"), "{message}");
    assert_eq!(message.matches("failed to satisfy").count(), 4, "{message}");
}

#[test]
fn wrong_types_are_told_without_the_value() {
    for (wrong, message) in [
        (json!({"CollectionId": 5}), "'collectionId' must be a string"),
        (json!({"MaxFaces": "5"}), "'maxFaces' must be a 32-bit integer"),
        (json!({"MaxFaces": 1.5}), "'maxFaces' must be a 32-bit integer"),
        (json!({"MaxFaces": 5_000_000_000_i64}), "'maxFaces' must be a 32-bit integer"),
        (json!({"Threshold": true}), "'threshold' must be a number"),
        (json!({"Ids": "a"}), "'ids' must be a list"),
        (json!({"Ids": ["a", null]}), "'ids' must be a list of strings"),
        (json!({"Tags": ["a"]}), "'tags' must be an object"),
        (json!({"Tags": {"a": 1}}), "'tags' must be a string"),
        (json!({"Image": "AAAA"}), "'image' must be an object"),
        (json!({"Image": {"Bytes": [1, 2]}}), "'image.bytes' must be a string"),
    ] {
        assert_eq!(said(wrong.clone()), Some(Refusal::WrongType(message.to_owned())), "{wrong}");
    }
}

#[test]
fn photos_are_measured_without_decoding() {
    // Six bytes fit: eight characters of base64, or seven and padding.
    for (base64, fits) in
        [("AAAAAAAA", true), ("AAAAAAA=", true), ("AAAAAAAAAA==", false), ("AAAAAAAAAAAA", false)]
    {
        let refusal = said(json!({"Image": {"Bytes": base64}}));
        assert_eq!(refusal, (!fits).then_some(Refusal::ImageTooLarge), "{base64}");
    }
}

#[test]
fn long_values_are_cut_and_photos_never_shown() {
    let long = "ä".repeat(10_000);
    let Some(Refusal::Constraints(Broken { message, .. })) =
        said(json!({"CollectionId": long, "Ids": [long, long, long]}))
    else {
        panic!("it is refused");
    };
    assert!(message.len() < 2_000, "{}", message.len());
    let secret = "c2VjcmV0IHBob3Rv";
    let refusal = format!("{:?}", said(json!({"MaxFaces": 0, "Image": {"Bytes": secret, "Name": "x"}})));
    assert!(!refusal.contains(secret), "{refusal}");
}
