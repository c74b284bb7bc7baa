//! Writes what a fleet asks of its registry, as a Markdown table.

fn main() {
    println!("{}", jwtproxy_bench::fleet::report());
}
