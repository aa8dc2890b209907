//! Compiles the `.proto` files in pure Rust: no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["record", "catalog", "event", "roles"].map(|name| format!("vidimus/v1/{name}.proto"));
    let descriptors = protox::compile(&files, ["."])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".vidimus.v1.EmbedRequest.photo")
        .bytes(".vidimus.v1.IndexFacesRequest.photo")
        .bytes(".vidimus.v1.SearchFacesByImageRequest.photo")
        .compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=vidimus");
    Ok(())
}
