//! Compiles the `.proto` files in pure Rust: no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto};
use tonic_prost_build::Builder;

/// The package of the public API, whose messages are JSON as well.
const API: &str = ".vidimus.v1";

fn main() -> Result<(), Box<dyn Error>> {
    internal()?;
    api()?;
    println!("cargo:rerun-if-changed=vidimus");
    Ok(())
}

/// Stored formats, and what the roles say to each other.
fn internal() -> Result<(), Box<dyn Error>> {
    let files = ["record", "catalog", "event", "roles", "bulk"]
        .map(|name| format!("vidimus/internal/v1/{name}.proto"));
    let photos = [
        "EmbedRequest.photo",
        "EmbedAtRequest.photo",
        "IndexFacesRequest.photo",
        "AcceptPhotoRequest.photo",
        "JobPhoto.photo",
        "SearchFacesByImageRequest.photo",
        "SearchUsersByImageRequest.photo",
        "DetectFacesRequest.photo",
        "CompareFacesRequest.source",
        "CompareFacesRequest.target",
        "GetPhotoResponse.photo",
    ];
    let mut builder = tonic_prost_build::configure().build_transport(false).btree_map(".");
    for photo in photos {
        builder = builder.bytes(format!(".vidimus.internal.v1.{photo}"));
    }
    builder.compile_fds(protox::compile(&files, ["."])?)?;
    Ok(())
}

/// The public API. Its descriptors are kept for reflection.
fn api() -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(["vidimus/v1/faces.proto"], ["."])?;
    let kept = PathBuf::from(std::env::var("OUT_DIR")?).join("api.bin");
    std::fs::write(kept, descriptors.encode_to_vec())?;
    let mut builder = tonic_prost_build::configure()
        .build_transport(false)
        .btree_map(".")
        .bytes(format!("{API}.Image.bytes"))
        .bytes(format!("{API}.PhotoPiece.bytes"))
        .bytes(format!("{API}.BulkPhoto.bytes"))
        .type_attribute(API, "#[derive(serde::Serialize, serde::Deserialize)]")
        .type_attribute(API, "#[serde(rename_all = \"PascalCase\", default)]");
    for message in descriptors.file.iter().flat_map(|file| &file.message_type) {
        builder = json_of(builder, message);
    }
    builder.compile_fds(descriptors)?;
    Ok(())
}

/// How a message's members are written as JSON: what is absent is left out; an empty list of a request is absent, one of an answer
/// is not. Photos are base64 in requests, and never written.
fn json_of(mut builder: Builder, message: &DescriptorProto) -> Builder {
    for field in message.field.iter().filter(|field| !is_map(message, field)) {
        let path = format!("{API}.{}.{}", message.name(), field.name());
        let is_list = field.label() == Label::Repeated;
        let attribute = match (message.name(), field.name()) {
            ("PhotoPiece" | "BulkPhoto", "bytes") => "#[serde(skip)]",
            ("Image", "bytes") => {
                "#[serde(skip_serializing, deserialize_with = \"crate::base64_bytes::deserialize\")]"
            }
            ("DescribeCollectionResponse", "collection_arn") => "#[serde(rename = \"CollectionARN\")]",
            (name, _) if is_list && name.ends_with("Request") => {
                "#[serde(skip_serializing_if = \"Vec::is_empty\")]"
            }
            _ if !is_list && (field.proto3_optional() || field.r#type() == Type::Message) => {
                "#[serde(skip_serializing_if = \"Option::is_none\")]"
            }
            _ => continue,
        };
        builder = builder.field_attribute(path, attribute);
    }
    builder
}

/// Maps are messages of their own in descriptors.
fn is_map(message: &DescriptorProto, field: &FieldDescriptorProto) -> bool {
    let entry = field.type_name().rsplit('.').next().unwrap_or_default();
    message.nested_type.iter().any(|nested| nested.name() == entry)
}
