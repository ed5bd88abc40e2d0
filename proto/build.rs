//! Compiles the `.proto` files with protox: pure Rust, so a fresh machine needs no protoc.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

#[expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts through the environment")]
fn main() -> Result<(), Box<dyn Error>> {
    let files = ["model", "log", "peer", "hub", "admin"].map(|f| format!("loop/p2p/v1/{f}.proto"));
    let descriptors = protox::compile(&files, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let grpc = env::var_os("CARGO_FEATURE_GRPC").is_some();
    let generator = tonic_prost_build::configure().build_client(grpc).build_server(grpc);
    generator.bytes(".").compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=loop");
    Ok(())
}
