//! Configurations.

use filter_wasm::configuration::read;
use jwt_core::config::filter::FilterConfig;
use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as ProtoValue};
use serde_json::Value;
use signer_native::config::Config;
use std::path::Path;

/// A filter's configuration, as JSON or as a Struct. What is read means the same when it is written
/// and read again, in either form; what is not says why.
pub fn filter_configuration(data: &[u8]) {
    let config = match read(data) {
        Ok(config) => config,
        Err(mistakes) => return assert!(!mistakes.is_empty()),
    };
    let rules = &config.rules.policy;
    assert!(!rules.algorithms.is_empty() && rules.max_token_size > 0);
    let written = config.to_json();
    let again = FilterConfig::from_json(written.to_string().as_bytes());
    assert_eq!(again.expect("what is written is read").to_json(), written);
    let Value::Object(fields) = &written else {
        panic!("no object");
    };
    let fields = fields
        .iter()
        .map(|(name, field)| (name.clone(), proto(field)));
    let proto = Struct {
        fields: fields.collect(),
    };
    let again = read(&proto.encode_to_vec()).expect("a Struct is read");
    assert_eq!(with_floats(again.to_json()), with_floats(written));
}

/// A Struct has no other numbers.
fn with_floats(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(values) => values.into_iter().map(with_floats).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            fields
                .map(|(name, field)| (name, with_floats(field)))
                .collect()
        }
        other => other,
    }
}

/// The text of a configuration file. It is read or refused.
pub fn yaml(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    match Config::parse(Path::new("config.yaml"), text) {
        Ok(config) => {
            assert!(config.signer.is_some() || !config.verifiers.is_empty());
        }
        Err(error) => assert!(error.to_string().starts_with("config.yaml: ")),
    }
}

fn proto(value: &Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(bool) => Kind::BoolValue(*bool),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(values) => Kind::ListValue(ListValue {
            values: values.iter().map(proto).collect(),
        }),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, field)| (name.clone(), proto(field)));
            Kind::StructValue(Struct {
                fields: fields.collect(),
            })
        }
    };
    ProtoValue { kind: Some(kind) }
}
