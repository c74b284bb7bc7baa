//! What the commands print. Names are the publishers' words: they cannot make up columns and lines,
//! or speak to a terminal.

use serde_json::Value;
use std::io::Write as _;

/// One line a key.
pub(super) fn of(keys: &[Value], state: Option<&str>, service: Option<&str>) -> String {
    let wanted = |key: &&Value| {
        state.is_none_or(|state| text(key, "state") == state)
            && service.is_none_or(|service| text(key, "service") == service)
    };
    let line = |key: &Value| {
        [
            "service",
            "kid",
            "state",
            "expires",
            "thumbprint",
            "source",
            "age",
        ]
        .map(|name| printable(&text(key, name)))
        .join("\t")
    };
    let lines: Vec<String> = keys.iter().filter(wanted).map(line).collect();
    lines.join("\n")
}

/// A member of a key's description, `-` where there is none.
pub(super) fn text(key: &Value, name: &str) -> String {
    match key.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// Control characters, and others that do not show or that change the order of what does, escaped.
pub(super) fn printable(text: &str) -> String {
    let escape = |character: char| match character {
        '\'' | '"' => character.to_string(),
        other => other.escape_debug().to_string(),
    };
    text.chars().map(escape).collect()
}

/// The same for the text of a JSON value, which stays one.
pub(super) fn printable_json(json: &str) -> String {
    let mut printable = String::new();
    for character in json.chars() {
        if character.is_ascii() || character.escape_debug().len() == 1 {
            printable.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                printable.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    printable.replace('\u{7f}', "\\u007f")
}

/// A reader that has gone is not a reason to fail.
pub(super) fn print(text: &str) {
    if !text.is_empty() {
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_speaks_to_a_terminal() {
        let name = "a\n\t\u{1b}[0m\u{9b}1m\u{202e}\u{7f}\\ü'";
        let shown = printable(name);
        assert_eq!(shown, "a\\n\\t\\u{1b}[0m\\u{9b}1m\\u{202e}\\u{7f}\\\\ü'");
        let json = serde_json::json!({ "kid": name }).to_string();
        let shown = printable_json(&json);
        assert!(!shown.chars().any(char::is_control) && !shown.contains('\u{202e}'));
        assert_eq!(
            serde_json::from_str::<Value>(&shown).unwrap(),
            serde_json::json!({ "kid": name })
        );
    }
}
