//! docs/verifier.md against what the two readers really take. Nothing here lists keys: the readers
//! are asked, by mistakes that make them name what they expect.

use jwt_core::config::filter::FilterConfig;
use jwt_core::config::reader::Mistakes;
use serde_json::{Value, json};
use signer_native::config::{Config, ConfigError};
use std::collections::BTreeSet;
use std::path::Path;

/// No reader knows this key, and none is similar to it.
const UNKNOWN: &str = "?";

type Reader = fn(&Value) -> Mistakes;

fn filter(tree: &Value) -> Mistakes {
    FilterConfig::from_tree(tree).err().unwrap_or_default()
}

/// Takes what stands in one element of `verifier_proxies`.
fn yaml(tree: &Value) -> Mistakes {
    let tree = json!({"jwtproxy": {"verifier_proxies": [tree]}});
    let found = match load(&tree.to_string()) {
        Err(ConfigError::Mistakes { mistakes, .. }) => mistakes,
        Err(error) => panic!("{error}"),
        Ok(_) => Mistakes::default(),
    };
    let mut mistakes = Mistakes::default();
    for mistake in found.iter() {
        let path = mistake.path.strip_prefix("jwtproxy.verifier_proxies[0]");
        let path = path.unwrap().trim_start_matches('.');
        mistakes.push(path, &mistake.problem);
    }
    mistakes
}

fn load(text: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path)
}

/// Every key that a reader knows, as `a.b[].c`.
fn keys(read: Reader) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut trees = vec![json!({UNKNOWN: 0})];
    while let Some(tree) = trees.pop() {
        for mistake in read(&tree).iter() {
            let unknown_key = mistake
                .problem
                .strip_prefix("unknown key; expected one of ");
            if let Some(names) = unknown_key {
                let (folder, _) = mistake.path.rsplit_once(UNKNOWN).unwrap();
                for name in names.split(", ") {
                    let path = format!("{folder}{name}");
                    if place(&mut tree.clone(), &path).is_some_and(|value| !value.is_null()) {
                        continue;
                    }
                    keys.insert(path.replace("[0]", "[]"));
                    trees.push(with(&tree, &path, json!({UNKNOWN: 0})));
                }
            } else if mistake.problem.ends_with(", expected a list") {
                trees.push(with(&tree, &mistake.path, json!([{UNKNOWN: 0}])));
            } else if let Some((_, names)) = mistake.problem.split_once(", expected one of ") {
                for name in names.split(", ") {
                    let mut variant = with(&tree, &mistake.path, json!(name));
                    let (folder, _) = mistake.path.rsplit_once('.').unwrap();
                    place(&mut variant, folder).unwrap()[UNKNOWN] = json!(0);
                    trees.push(variant);
                }
            }
        }
    }
    keys
}

/// The tree with this value at this path, and no longer any unknown key elsewhere.
fn with(tree: &Value, path: &str, value: Value) -> Value {
    let mut tree = tree.clone();
    remove_unknown(&mut tree);
    let (folder, name) = path.rsplit_once('.').unwrap_or(("", path));
    place(&mut tree, folder).unwrap()[name] = value;
    tree
}

fn remove_unknown(tree: &mut Value) {
    match tree {
        Value::Object(fields) => {
            fields.remove(UNKNOWN);
            fields.values_mut().for_each(remove_unknown);
        }
        Value::Array(elements) => elements.iter_mut().for_each(remove_unknown),
        _ => {}
    }
}

/// What stands at `a.b[0].c`.
fn place<'a>(tree: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let pointer = format!("/{path}").replace("[0]", "/0").replace('.', "/");
    tree.pointer_mut(if path.is_empty() { "" } else { &pointer })
}

#[test]
fn every_key_is_documented_and_nothing_else() {
    let text = reference();
    let [yaml_only, both, filter_only] = [
        "## Keys of the YAML only",
        "## Keys of both",
        "## Keys of the filter only",
    ]
    .map(|heading| documented(&text, heading));
    // What both share stands below `verifier` in the YAML.
    let in_yaml = both.iter().map(|key| format!("verifier.{key}"));
    let in_yaml: BTreeSet<_> = yaml_only.iter().cloned().chain(in_yaml).collect();
    let in_filter: BTreeSet<_> = filter_only.union(&both).cloned().collect();
    for (who, documented, known) in [
        ("the YAML", in_yaml, keys(yaml)),
        ("the filter", in_filter, keys(filter)),
    ] {
        let missing: Vec<_> = known.difference(&documented).collect();
        let stale: Vec<_> = documented.difference(&known).collect();
        assert!(
            missing.is_empty() && stale.is_empty(),
            "docs/verifier.md, {who}: add rows for {missing:?}; no such keys: {stale:?}"
        );
    }
}

/// The keys in the tables of a chapter, up to its first section; every row has a type, a default, a meaning and an example.
fn documented(text: &str, heading: &str) -> BTreeSet<String> {
    let (_, chapter) = text
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("docs/verifier.md has no chapter {heading:?}"));
    let chapter = chapter.split("\n##").next().unwrap();
    let rows = chapter.lines().filter(|line| line.starts_with("| `"));
    let key = |row: &str| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let filled = cells.iter().filter(|cell| !cell.is_empty()).count();
        assert_eq!(
            (cells.len(), filled),
            (5, 5),
            "five cells are expected: {row}"
        );
        cells[0].trim_matches('`').to_owned()
    };
    rows.map(key).collect()
}

fn reference() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verifier.md");
    std::fs::read_to_string(path).unwrap()
}

/// The blocks of code in this language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("\n```{language}\n");
    let after = text.split(fence.as_str()).skip(1);
    after
        .map(|rest| rest.split("\n```").next().unwrap())
        .collect()
}

#[test]
fn the_examples_are_configurations() {
    let text = reference();
    let (yaml, filter) = (blocks(&text, "yaml"), blocks(&text, "json"));
    assert!(!yaml.is_empty() && !filter.is_empty());
    for example in yaml {
        load(example).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
    for example in filter {
        FilterConfig::from_json(example.as_bytes())
            .unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
}

#[test]
fn the_readers_name_their_keys() {
    let keys = keys(filter);
    for key in [
        "audience",
        "nonce_storage.options.capacity",
        "key_server.options.issuers[].path",
    ] {
        assert!(keys.contains(key), "{key} is not in {keys:?}");
    }
    assert!(keys.iter().all(|key| !key.contains(UNKNOWN)), "{keys:?}");
}
