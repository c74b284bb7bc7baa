//! The properties over the seeds and the inputs that were found with them, and over some that are
//! like them: what fuzzing has found once is found again by `cargo test`.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "what fails here fails the test"
)]

use std::fs;
use std::path::{Path, PathBuf};

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let data = fs::read(&path).unwrap();
        (path, data)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_property_holds_for_the_seeds() {
    for (target, property) in fuzz::TARGETS {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{target} has no seeds");
        for (path, data) in seeds {
            assert!(
                holds(*property, &data),
                "{} fails: see above",
                path.display()
            );
        }
    }
}

#[test]
fn every_property_holds_for_what_is_like_the_seeds() {
    let mut random = fastrand::Rng::with_seed(7);
    for (target, property) in fuzz::TARGETS {
        let seeds: Vec<_> = seeds(target).into_iter().map(|(_, data)| data).collect();
        for _ in 0..50 {
            let mut data = random.choice(&seeds).unwrap().clone();
            let other = random.choice(&seeds).unwrap();
            for _ in 0..random.usize(1..4) {
                mutate(&mut data, other, &mut random);
            }
            assert!(
                holds(*property, &data),
                "{target} fails for {:?}",
                data.escape_ascii().to_string()
            );
        }
    }
}

fn mutate(data: &mut Vec<u8>, other: &[u8], random: &mut fastrand::Rng) {
    let at = random.usize(..=data.len());
    match random.u8(..5) {
        0 if at < data.len() => data[at] ^= 1 << random.u8(..8),
        1 if at < data.len() => drop(data.remove(at)),
        2 => data.insert(
            at,
            random
                .choice(*b"\0\t\n\r \"%,-./0:;=@A[\\]{}\x7f\xc3\xff")
                .unwrap(),
        ),
        3 => data.truncate(at),
        _ => {
            let from = random.usize(..=other.len());
            let piece = &other[from..(from + random.usize(..20)).min(other.len())];
            data.splice(at..at, piece.iter().copied());
        }
    }
}

fn holds(property: fuzz::Property, data: &[u8]) -> bool {
    std::panic::catch_unwind(|| property(data)).is_ok()
}

#[test]
fn each_property_has_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (target, _) in fuzz::TARGETS {
        assert!(
            manifest.contains(&format!("\nname = \"{target}\"\n")),
            "{target}"
        );
        let source = fs::read_to_string(folder.join(format!("fuzz_targets/{target}.rs")));
        assert!(
            source.unwrap().contains(&format!("fuzz::{target}(data)")),
            "{target}"
        );
    }
    assert_eq!(manifest.matches("[[bin]]").count(), fuzz::TARGETS.len());
}
