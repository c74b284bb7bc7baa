//! One strict reading of the whole JSON of a token (RFC 8259). What it accepts, every other strict
//! reader can read, and in the same way: text is valid Unicode, numbers are in range, no object
//! names a member twice (RFC 7519 §4), and the nesting is bounded.
//!
//! It keeps only the members that are asked for, and borrows their text.

use super::limits::MAX_DEPTH;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

/// The value of a member, as far as it is of use.
#[derive(Debug, PartialEq)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    /// A list of nothing but texts.
    Texts(Vec<Cow<'a, str>>),
    Integer(i64),
    /// Any other number, integers beyond 64 bits included.
    Float(f64),
    True,
    Other,
}

/// The members of a JSON object with these names, an absent one as `None`. `None` for everything
/// that is not a readable JSON object.
pub(super) fn members<'a, const N: usize>(
    json: &'a [u8],
    names: [&str; N],
) -> Option<[Option<Value<'a>>; N]> {
    let mut json = serde_json::Deserializer::from_slice(json);
    let members = json.deserialize_map(Members(names)).ok()?;
    json.end().ok()?;
    Some(members)
}

struct Members<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
    type Value = [Option<Value<'de>>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut members = [const { None }; N];
        let mut seen = Names {
            few: Vec::with_capacity(2 * N),
            ..Names::default()
        };
        while let Some(name) = object.next_key_seed(Name)? {
            let index = self.0.iter().position(|own| *own == name);
            match index.and_then(|index| members.get_mut(index)) {
                Some(member) => *member = Some(object.next_value_seed(Keep(MAX_DEPTH - 1))?),
                None => object.next_value_seed(Check(MAX_DEPTH - 1))?,
            }
            seen.add(name)?;
        }
        Ok(members)
    }
}

/// Up to so many names of one object are compared with each other; more of them are sorted, since
/// a stranger could send thousands.
const FEW: usize = 32;

/// The names of one object.
#[derive(Default)]
struct Names<'a> {
    few: Vec<Cow<'a, str>>,
    /// A bit for each of them, so that most new names need no comparison.
    marks: u64,
    many: BTreeSet<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    fn add<E: Error>(&mut self, name: Cow<'a, str>) -> Result<(), E> {
        if self.is_new(name) {
            Ok(())
        } else {
            Err(E::custom("a member is named twice"))
        }
    }

    fn is_new(&mut self, name: Cow<'a, str>) -> bool {
        if self.few.len() < FEW {
            let mark = mark(&name);
            if self.marks & mark != 0 && self.few.contains(&name) {
                return false;
            }
            self.marks |= mark;
            self.few.push(name);
            return true;
        }
        if self.many.is_empty() {
            self.many.extend(self.few.iter().cloned());
        }
        self.many.insert(name)
    }
}

/// One of 64 bits, the same for equal names.
fn mark(name: &str) -> u64 {
    let of = |byte: Option<&u8>| byte.copied().map_or(0, usize::from);
    let bytes = name.as_bytes();
    1 << ((name.len() + 7 * of(bytes.first()) + 11 * of(bytes.last())) % 64)
}

/// Reads the name of a member.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    /// A name with escapes.
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// One level fewer than that many.
fn below<E: Error>(levels: usize) -> Result<usize, E> {
    levels
        .checked_sub(1)
        .ok_or_else(|| E::custom("too many levels"))
}

/// Reads a value of at most that many levels and keeps it.
struct Keep(usize);

impl<'de> DeserializeSeed<'de> for Keep {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keep {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    /// A text with escapes.
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).map_or(Value::Float(number as f64), Value::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Self::Value, E> {
        Ok(if bool { Value::True } else { Value::Other })
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let levels = below(self.0)?;
        let mut texts = Vec::new();
        let mut nothing_else = true;
        while let Some(element) = list.next_element_seed(Keep(levels))? {
            match element {
                Value::Text(text) => texts.push(text),
                _ => nothing_else = false,
            }
        }
        Ok(if nothing_else {
            Value::Texts(texts)
        } else {
            Value::Other
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        Check(self.0).visit_map(object)?;
        Ok(Value::Other)
    }
}

/// Reads a value of at most that many levels, and keeps nothing.
struct Check(usize);

impl<'de> DeserializeSeed<'de> for Check {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let levels = below(self.0)?;
        while list.next_element_seed(Check(levels))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let levels = below(self.0)?;
        let mut seen = Names::default();
        while let Some(name) = object.next_key_seed(Name)? {
            object.next_value_seed(Check(levels))?;
            seen.add(name)?;
        }
        Ok(())
    }
}
