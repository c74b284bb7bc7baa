//! How long each step takes and what it allocates: `cargo bench -p jwt-core --features testing
//! --bench wall_time`. A name behind `--` picks the benchmarks that contain it.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "what fails here fails the benchmark"
)]

mod fixtures;

use divan::{AllocProfiler, Bencher, black_box};
use fixtures::{Bucket, Verifier};
use jwt_core::token::Token;

/// Divan reports what went through it.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// A token with that many claims besides the registered ones.
#[divan::bench(args = [0, 20])]
fn parse(bencher: Bencher<'_, '_>, more_claims: usize) {
    let token = fixtures::token(more_claims);
    bencher.bench_local(|| Token::parse(black_box(&token)));
}

/// All of a verification but the signature.
#[divan::bench(args = [0, 20])]
fn verify(bencher: Bencher<'_, '_>, more_claims: usize) {
    let token = fixtures::token(more_claims);
    let mut verifier = Verifier::new();
    bencher.bench_local(|| verifier.verify(black_box(&token)));
}

/// The same for a token that was verified before, where that may be.
#[divan::bench(args = [0, 20])]
fn verify_again(bencher: Bencher<'_, '_>, more_claims: usize) {
    let token = fixtures::token(more_claims);
    let mut verifier = Verifier::that_knows(&token);
    bencher.bench_local(|| verifier.verify(black_box(&token)));
}

#[divan::bench(args = [0, 80, 159])]
fn claim_nonce(bencher: Bencher<'_, '_>, entries: usize) {
    let bucket = Bucket::with(entries);
    bencher.bench_local(|| black_box(&bucket).claim());
}

#[divan::bench(args = [1, 1024])]
fn look_up_key(bencher: Bencher<'_, '_>, keys: usize) {
    let mut cache = fixtures::key_cache(keys);
    bencher.bench_local(|| fixtures::look_up(black_box(&mut cache)));
}

#[divan::bench]
fn decode_published_key(bencher: Bencher<'_, '_>) {
    let published = fixtures::published_key();
    bencher.bench_local(|| fixtures::decode_published(black_box(&published)));
}

#[divan::bench]
fn exclude_path(bencher: Bencher<'_, '_>) {
    let excludes = fixtures::excludes();
    bencher.bench_local(|| fixtures::is_exempt(black_box(&excludes)));
}

#[divan::bench]
fn hand_over_ten_claims(bencher: Bencher<'_, '_>) {
    let handover = fixtures::handover();
    bencher.bench_local(|| fixtures::hand_over(black_box(&handover)).len());
}
