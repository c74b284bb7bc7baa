//! Puts the compiled filter into the library, so that `jwtproxy` is one file.

use std::path::{Path, PathBuf};
use std::{env, fs};

const REMEDY: &str = "run `make filter` first, or set JWTPROXY_FILTER_WASM to the filter's module";

fn main() {
    println!("cargo::rerun-if-env-changed=JWTPROXY_FILTER_WASM");
    let module = env::var_os("JWTPROXY_FILTER_WASM").map_or_else(built_by_make, PathBuf::from);
    println!("cargo::rerun-if-changed={}", module.display());
    match fs::canonicalize(&module) {
        Ok(path) => println!("cargo::rustc-env=JWTPROXY_FILTER_WASM={}", path.display()),
        Err(error) => println!("cargo::error={}: {error}; {REMEDY}", module.display()),
    }
}

/// Asked for when it runs: the script itself may have been compiled for another copy of the tree.
fn built_by_make() -> PathBuf {
    let folder = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    Path::new(&folder).join("../build/jwtproxy-filter.wasm")
}
