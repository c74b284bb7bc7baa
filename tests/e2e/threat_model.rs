use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The attacks of the tables under "Attacks", each with the tests in its last cell.
fn attacks(text: &str) -> Vec<(&str, Vec<&str>)> {
    let (_, chapter) = text.split_once("\n## Attacks").unwrap();
    let chapter = chapter.split("\n## ").next().unwrap();
    let rows = chapter.lines().filter(|line| line.starts_with("| "));
    let rows = rows.filter(|line| !line.starts_with("| attack |"));
    let cells = rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect());
    cells
        .map(|cells: Vec<_>| {
            let [attack, _, tests] = cells[..] else {
                panic!("three cells are expected: {cells:?}")
            };
            (attack, tests.split('`').skip(1).step_by(2).collect())
        })
        .collect()
}

/// The names of all functions with `#[test]` or the like in the project.
fn tests_in(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let (path, name) = entry
            .map(|entry| (entry.path(), entry.file_name()))
            .unwrap();
        let name = name.to_str().unwrap_or_default();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            tests_in(&path, found);
        } else if name.ends_with(".rs") {
            found.extend(tests_of(&fs::read_to_string(&path).unwrap()));
        }
    }
}

fn tests_of(source: &str) -> Vec<String> {
    let mut lines = source.lines().map(str::trim);
    let mut names = Vec::new();
    while let Some(line) = lines.next() {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            let signature = lines.find(|line| line.contains("fn "));
            let name = signature.and_then(|line| line.split_once("fn ")?.1.split('(').next());
            names.extend(name.map(str::to_owned));
        }
    }
    names
}

#[test]
fn every_attack_has_tests_and_every_test_exists() {
    let text = fs::read_to_string(project().join("docs/threat-model.md")).unwrap();
    let mut existing = BTreeSet::new();
    tests_in(&project(), &mut existing);
    let attacks = attacks(&text);
    assert!(attacks.len() > 20, "{attacks:?}");
    let mut missing = Vec::new();
    for (attack, tests) in attacks {
        assert!(
            !tests.is_empty(),
            "docs/threat-model.md: no test for {attack:?}"
        );
        let gone = tests.into_iter().filter(|test| !existing.contains(*test));
        missing.extend(gone.map(|test| format!("{test} ({attack})")));
    }
    assert!(
        missing.is_empty(),
        "docs/threat-model.md names tests that do not exist; name what has replaced them: {missing:#?}"
    );
}
