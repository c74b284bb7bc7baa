//! Reading a configuration tree so that all its mistakes are found in one run.
//!
//! A [`Section`] hands out its fields by name, each to a parser. What a parser refuses, what is
//! missing and what nobody asked for is collected, with the path to it, and reading goes on.

use serde_json::{Map, Value};
use std::cell::RefCell;
use std::fmt;

/// Everything that is wrong with a configuration, in the order of reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where, for example `jwtproxy.verifier_proxies[0].verifier.max_ttl`.
    pub path: String,
    /// What was found and what was expected.
    pub problem: String,
}

/// What a parser says of a value it does not take: what it expected instead.
pub type Expected = String;

/// One mapping of the configuration, its fields being asked for.
pub struct Section<'a> {
    path: String,
    fields: Option<&'a Map<String, Value>>,
    known: Vec<&'static str>,
    /// Whether any key may stand here.
    open: bool,
    mistakes: &'a RefCell<Mistakes>,
}

/// One field of a [`Section`], there or not.
pub struct Field<'a> {
    path: String,
    value: Option<&'a Value>,
    mistakes: &'a RefCell<Mistakes>,
}

/// Reads `tree`, which stands at `path`, with `parse`. All mistakes that were made on the way are
/// the error.
pub fn read<T>(
    path: &str,
    tree: &Value,
    parse: impl FnOnce(&mut Section<'_>) -> Option<T>,
) -> Result<T, Mistakes> {
    let mistakes = RefCell::default();
    let field = Field {
        path: path.to_owned(),
        value: Some(tree),
        mistakes: &mistakes,
    };
    let parsed = field.section(parse);
    let mistakes = mistakes.into_inner();
    match parsed {
        Some(parsed) if mistakes.is_empty() => Ok(parsed),
        _ => Err(mistakes),
    }
}

impl<'a> Section<'a> {
    /// The field of that name. `null` counts as absent, as an empty value does in YAML.
    pub fn field(&mut self, name: &'static str) -> Field<'a> {
        self.known.push(name);
        Field {
            path: join(&self.path, name),
            value: self
                .fields
                .and_then(|fields| fields.get(name))
                .filter(|v| !v.is_null()),
            mistakes: self.mistakes,
        }
    }

    /// The whole mapping as written, for claims and the like, where any key may stand.
    pub fn fields(&mut self) -> Map<String, Value> {
        self.open = true;
        self.fields.cloned().unwrap_or_default()
    }

    /// Keys that nobody asks for are somebody else's.
    pub fn permit_others(&mut self) {
        self.open = true;
    }

    /// Reports a mistake of the section as a whole.
    pub fn mistake(&self, problem: impl Into<String>) {
        self.mistakes
            .borrow_mut()
            .push(self.path.clone(), problem.into());
    }

    /// Whatever nobody has asked for is a mistake, often one of spelling.
    fn report_unknown(&self) {
        for name in self.fields.into_iter().flat_map(Map::keys) {
            if self.known.contains(&name.as_str()) {
                continue;
            }
            let nearest = self
                .known
                .iter()
                .map(|known| (strsim::damerau_levenshtein(known, name), known))
                .filter(|(distance, known)| *distance <= known.len().max(name.len()) / 2)
                .min();
            let problem = match nearest {
                Some((_, known)) => format!("unknown key; did you mean \"{known}\"?"),
                None if self.known.is_empty() => "unknown key; none is expected here".into(),
                None => format!("unknown key; expected one of {}", self.known.join(", ")),
            };
            self.mistakes
                .borrow_mut()
                .push(join(&self.path, name), problem);
        }
    }
}

impl<'a> Field<'a> {
    /// Whether there is a value.
    pub fn is_present(&self) -> bool {
        self.value.is_some()
    }

    /// The value as `parse` reads it; absent or wrong, it is a mistake.
    pub fn required<T>(self, parse: impl FnOnce(&Value) -> Result<T, Expected>) -> Option<T> {
        if self.value.is_none() {
            self.mistake("missing: this key is required");
        }
        self.optional(parse)
    }

    /// The value as `parse` reads it, or `default` when absent.
    pub fn or<T>(self, default: T, parse: impl FnOnce(&Value) -> Result<T, Expected>) -> Option<T> {
        if self.is_present() {
            self.optional(parse)
        } else {
            Some(default)
        }
    }

    /// The value as `parse` reads it; wrong, it is a mistake.
    pub fn optional<T>(self, parse: impl FnOnce(&Value) -> Result<T, Expected>) -> Option<T> {
        let value = self.value?;
        match parse(value) {
            Ok(parsed) => Some(parsed),
            Err(expected) => {
                self.mistake(format!("found {}, expected {expected}", shown(value)));
                None
            }
        }
    }

    /// The value as a mapping, read by `parse`. An absent one is read as an empty mapping, so
    /// that what is missing in it is named; a value of another type is one mistake.
    pub fn section<T>(self, parse: impl FnOnce(&mut Section<'a>) -> Option<T>) -> Option<T> {
        let fields = match self.value {
            None => None,
            Some(Value::Object(fields)) => Some(fields),
            Some(other) => {
                self.mistake(format!("found {}, expected a mapping", shown(other)));
                return None;
            }
        };
        let Self { path, mistakes, .. } = self;
        let mut section = Section {
            path,
            fields,
            known: Vec::new(),
            open: false,
            mistakes,
        };
        let parsed = parse(&mut section);
        if !section.open {
            section.report_unknown();
        }
        parsed
    }

    /// Each element of a list of mappings, read by `parse`; `None` if any of them is wrong.
    pub fn sections<T>(
        self,
        mut parse: impl FnMut(&mut Section<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.elements(|element| element.section(&mut parse))
    }

    /// Each element of a list, as `parse` reads it; `None` if any of them is wrong.
    pub fn list<T>(self, parse: impl Fn(&Value) -> Result<T, Expected>) -> Option<Vec<T>> {
        self.elements(|element| element.required(&parse))
    }

    fn elements<T>(self, mut parse: impl FnMut(Self) -> Option<T>) -> Option<Vec<T>> {
        let Some(value) = self.value else {
            return Some(Vec::new());
        };
        let Value::Array(elements) = value else {
            self.mistake(format!("found {}, expected a list", shown(value)));
            return None;
        };
        let parsed: Vec<_> = (elements.iter().enumerate())
            .map(|(index, element)| {
                let path = format!("{}[{index}]", self.path);
                parse(Field {
                    path,
                    value: Some(element),
                    mistakes: self.mistakes,
                })
            })
            .collect();
        parsed.into_iter().collect()
    }

    /// Reports a mistake at this field.
    pub fn mistake(&self, problem: impl Into<String>) {
        self.mistakes
            .borrow_mut()
            .push(self.path.clone(), problem.into());
    }
}

/// Any string but an empty one.
pub fn text(value: &Value) -> Result<String, Expected> {
    match value {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        _ => Err("a non-empty string".into()),
    }
}

/// `true` or `false`, and the other words that YAML 1.1 has for them.
pub fn boolean(value: &Value) -> Result<bool, Expected> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(true),
            "false" | "no" | "off" | "n" => Ok(false),
            _ => Err("true or false".into()),
        },
        _ => Err("true or false".into()),
    }
}

/// A Go duration.
pub fn duration(value: &Value) -> Result<std::time::Duration, Expected> {
    let parsed = match value {
        Value::String(text) => super::duration::parse(text),
        Value::Number(number) if number.as_i64() == Some(0) => Some(std::time::Duration::ZERO),
        _ => None,
    };
    parsed.ok_or_else(|| super::duration::EXPECTED.into())
}

/// A whole number from `range`. The numbers of a protobuf Struct are all floating-point, so 5.0
/// is one.
pub fn integer(range: std::ops::RangeInclusive<u32>) -> impl Fn(&Value) -> Result<u32, Expected> {
    move |value| {
        let number = value.as_f64().filter(|number| number.fract() == 0.0);
        let (low, high) = (f64::from(*range.start()), f64::from(*range.end()));
        match number {
            Some(number) if (low..=high).contains(&number) => Ok(number as u32),
            _ => Err(format!(
                "a whole number from {} to {}",
                range.start(),
                range.end()
            )),
        }
    }
}

/// The value with which a `type` key selects something.
pub fn one_of(names: &'static [&'static str]) -> impl Fn(&Value) -> Result<&'static str, Expected> {
    move |value| {
        let found = value
            .as_str()
            .and_then(|text| names.iter().find(|name| **name == text));
        found
            .copied()
            .ok_or_else(|| format!("one of {}", names.join(", ")))
    }
}

/// A value as an error shows it: short, on one line.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

impl Mistakes {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one.
    pub fn push(&mut self, path: impl Into<String>, problem: impl Into<String>) {
        self.0.push(Mistake {
            path: path.into(),
            problem: problem.into(),
        });
    }

    /// Each one.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let line_break = if index > 0 { "\n" } else { "" };
            write!(f, "{line_break}{mistake}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.problem),
            path => write!(f, "{path}: {}", self.problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[derive(Debug, PartialEq)]
    struct Pet {
        name: String,
        nap: Duration,
        legs: u32,
    }

    fn pet(section: &mut Section<'_>) -> Option<Pet> {
        let name = section.field("name").required(text);
        let nap = section.field("nap").or(Duration::from_secs(60), duration);
        let legs = section.field("legs").or(4, integer(0..=8));
        Some(Pet {
            name: name?,
            nap: nap?,
            legs: legs?,
        })
    }

    fn mistakes(tree: &Value) -> Vec<String> {
        let mistakes = read("pets", tree, |s| s.field("list").sections(pet)).unwrap_err();
        mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn defaults_fill_what_is_absent() {
        let read = read("", &json!({"name": "Tom", "nap": null, "legs": 4.0}), pet).unwrap();
        assert_eq!(
            read,
            Pet {
                name: "Tom".into(),
                nap: Duration::from_secs(60),
                legs: 4
            }
        );
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        let tree = json!({"list": [{"name": "", "nap": 5, "lags": 3}, 7, {"legs": 9.5}], "x": 1});
        assert_eq!(
            mistakes(&tree),
            [
                "pets.list[0].name: found \"\", expected a non-empty string",
                "pets.list[0].nap: found 5, expected a duration such as 5m, 1m30s or 250ms",
                "pets.list[0].lags: unknown key; did you mean \"legs\"?",
                "pets.list[1]: found 7, expected a mapping",
                "pets.list[2].name: missing: this key is required",
                "pets.list[2].legs: found 9.5, expected a whole number from 0 to 8",
                "pets.x: unknown key; expected one of list",
            ]
        );
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(shown(&json!("ä".repeat(200))).chars().count(), 81);
    }
}
