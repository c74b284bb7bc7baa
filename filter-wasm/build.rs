//! What else goes into the link of the filter: cargo knows nothing of it.

fn main() {
    println!("cargo::rerun-if-changed=exports");
    println!("cargo::rerun-if-changed=../scripts/link-filter");
}
