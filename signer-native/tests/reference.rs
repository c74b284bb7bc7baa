//! The reference in docs/signer.md names every key that can be configured, and no other.
#![expect(
    clippy::unwrap_used,
    reason = "what a test does not expect is its failure"
)]

use signer_native::config::Config;
use std::collections::BTreeSet;
use std::fs;

const REFERENCE: &str = include_str!("../../docs/signer.md");

/// A key that is nowhere near any other: the mistake it makes lists those that are known.
const UNKNOWN_EVERYWHERE: &str = r#"
jwtproxy:
  signer_proxy:
    "?": 1
    limits: {"?": 1}
    proxy_authentication: {"?": 1}
    hosts: [{"?": 1}]
    signer:
      "?": 1
      private_key: {"?": 1, type: preshared, options: {"?": 1}}
"#;

/// The keys of each section, by the path that mistakes give it.
fn known_keys() -> Vec<(String, Vec<String>)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    fs::write(&path, UNKNOWN_EVERYWHERE).unwrap();
    let mistakes = Config::load(&path).unwrap_err().to_string();
    let sections = mistakes.lines().filter_map(|line| {
        let (path, keys) = line.split_once(".?: unknown key; expected one of ")?;
        let keys = keys.split(", ").map(ToOwned::to_owned).collect();
        Some((path.to_owned(), keys))
    });
    sections.collect()
}

/// The first cells of the table under a heading.
fn documented(heading: &str) -> BTreeSet<&'static str> {
    let (_, after) = REFERENCE.split_once(&format!("{heading}\n")).unwrap();
    let section = after.split("\n#").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).collect()
}

fn assert_documented(section: &str, heading: &str, below: &str) {
    let sections = known_keys();
    let path = format!("jwtproxy.signer_proxy{section}");
    let (_, known) = sections.iter().find(|(found, _)| *found == path).unwrap();
    let documented = documented(heading);
    for key in known {
        let key = format!("{below}{key}");
        assert!(
            documented.contains(key.as_str()),
            "docs/signer.md, \"{heading}\": add a row for `{key}`"
        );
    }
    for key in documented {
        let Some(key) = key.strip_prefix(below).filter(|key| !key.contains('.')) else {
            continue;
        };
        assert!(
            known.iter().any(|known| known == key),
            "docs/signer.md, \"{heading}\": there is no key `{key}`"
        );
    }
}

#[test]
fn every_key_of_the_signer_proxy_is_in_the_reference() {
    assert_documented("", "## Keys of `signer_proxy`", "");
    assert_documented(".limits", "### `limits`", "");
    assert_documented(".proxy_authentication", "### `proxy_authentication`", "");
    assert_documented(".hosts[0]", "### `hosts`", "");
    assert_documented(".signer", "### `signer`", "");
    assert_documented(".signer.private_key", "### `signer`", "private_key.");
    let below = "private_key.options.";
    assert_documented(".signer.private_key.options", "### `signer`", below);
}
