//! Compiles the `.proto` files in pure Rust: no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files =
        ["record", "catalog", "event", "roles"].map(|name| format!("vidimus/internal/v1/{name}.proto"));
    let descriptors = protox::compile(&files, ["."])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .btree_map(".")
        .bytes(".vidimus.internal.v1.EmbedRequest.photo")
        .bytes(".vidimus.internal.v1.IndexFacesRequest.photo")
        .bytes(".vidimus.internal.v1.SearchFacesByImageRequest.photo")
        .bytes(".vidimus.internal.v1.SearchUsersByImageRequest.photo")
        .bytes(".vidimus.internal.v1.DetectFacesRequest.photo")
        .bytes(".vidimus.internal.v1.CompareFacesRequest.source")
        .bytes(".vidimus.internal.v1.CompareFacesRequest.target")
        .bytes(".vidimus.internal.v1.GetPhotoResponse.photo")
        .compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=vidimus");
    Ok(())
}
