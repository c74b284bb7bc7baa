//! How many instructions each step takes, which is the same on every run and on a busy machine:
//! `cargo bench -p jwt-core --features testing --bench instructions`, with valgrind and
//! gungraun-runner (`scripts/setup-cargo-tool gungraun-runner`) at hand.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "what fails here fails the benchmark"
)]

mod fixtures;

use fixtures::{Bucket, Verifier};
use gungraun::{library_benchmark, library_benchmark_group, main};
use jwt_core::excludes::Exclude;
use jwt_core::handover::Handover;
use jwt_core::key::KeyName;
use jwt_core::key_cache::{KeyCache, Lookup};
use jwt_core::machine::KeyAnswer;
use jwt_core::nonce_bucket::BucketClaim;
use jwt_core::refusal::Refusal;
use jwt_core::token::Token;
use jwt_core::verify::VerifiedToken;
use std::hint::black_box;

#[library_benchmark]
#[bench::small(fixtures::token(0))]
#[bench::with_20_more_claims(fixtures::token(20))]
fn parse(token: String) -> Result<Token, Refusal> {
    Token::parse(black_box(&token))
}

// All of a verification but the signature.
#[library_benchmark]
#[bench::small((Verifier::new(), fixtures::token(0)))]
#[bench::with_20_more_claims((Verifier::new(), fixtures::token(20)))]
fn verify((mut verifier, token): (Verifier, String)) -> (Verifier, VerifiedToken) {
    let verified = verifier.verify(black_box(&token));
    (verifier, verified)
}

// The same for a token that was verified before, where that may be.
#[library_benchmark]
#[bench::small((Verifier::that_knows(&fixtures::token(0)), fixtures::token(0)))]
#[bench::with_20_more_claims((Verifier::that_knows(&fixtures::token(20)), fixtures::token(20)))]
fn verify_again((mut verifier, token): (Verifier, String)) -> (Verifier, VerifiedToken) {
    let verified = verifier.verify(black_box(&token));
    (verifier, verified)
}

#[library_benchmark]
#[bench::empty(Bucket::with(0))]
#[bench::at_80(Bucket::with(80))]
#[bench::at_159(Bucket::with(159))]
fn claim_nonce(bucket: Bucket) -> BucketClaim {
    black_box(bucket).claim()
}

#[library_benchmark]
#[bench::one_key(fixtures::key_cache(1))]
#[bench::of_1024_keys(fixtures::key_cache(1024))]
fn look_up_key(mut cache: (KeyCache, KeyName)) -> (Lookup, (KeyCache, KeyName)) {
    (fixtures::look_up(black_box(&mut cache)), cache)
}

#[library_benchmark]
#[bench::rsa(fixtures::published_key())]
fn decode_published_key(published: (Vec<u8>, KeyName)) -> KeyAnswer {
    fixtures::decode_published(black_box(&published))
}

#[library_benchmark]
#[bench::four_entries(fixtures::excludes())]
fn exclude_path(excludes: Vec<Exclude>) -> (bool, Vec<Exclude>) {
    (fixtures::is_exempt(black_box(&excludes)), excludes)
}

#[library_benchmark]
#[bench::ten(fixtures::handover())]
fn hand_over_claims(handover: (Handover, String)) -> (usize, (Handover, String)) {
    (fixtures::hand_over(black_box(&handover)).len(), handover)
}

library_benchmark_group!(
    name = steps,
    benchmarks = [
        parse,
        verify,
        verify_again,
        claim_nonce,
        look_up_key,
        decode_published_key,
        exclude_path,
        hand_over_claims
    ]
);

main!(library_benchmark_groups = steps);
