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

fn built_by_make() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/jwtproxy-filter.wasm")
}
