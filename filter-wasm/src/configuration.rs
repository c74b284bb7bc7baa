//! The configuration as the host hands it over.

use jwt_core::config::filter::FilterConfig;
use jwt_core::config::reader::Mistakes;
use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{Struct, Value as ProtoValue};
use serde_json::{Map, Number, Value};

/// Reads what `proxy_on_configure` gives: the text of a StringValue, or a Struct. Envoy's
/// documentation says that it hands over a Struct as JSON; in fact it comes as protobuf.
pub fn read(bytes: &[u8]) -> Result<FilterConfig, Mistakes> {
    match decode_struct(bytes) {
        Some(tree) => FilterConfig::from_tree(&tree),
        None => FilterConfig::from_json(bytes),
    }
}

/// A Struct that is not empty; JSON text never is one, since it would have to begin with the tag
/// of the first field, a line feed, and go on with the tag of its key, another, at the right
/// distance.
fn decode_struct(bytes: &[u8]) -> Option<Value> {
    let decoded = Struct::decode(bytes)
        .ok()
        .filter(|decoded| !decoded.fields.is_empty())?;
    Some(object(decoded))
}

fn object(decoded: Struct) -> Value {
    let mut fields = Map::new();
    // One by one: collecting would bring a sorting algorithm along.
    for (name, field) in decoded.fields {
        fields.insert(name, value(field));
    }
    Value::Object(fields)
}

fn value(decoded: ProtoValue) -> Value {
    match decoded.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(bool)) => Value::Bool(bool),
        Some(Kind::NumberValue(number)) => {
            Number::from_f64(number).map_or(Value::Null, Value::Number)
        }
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::StructValue(inner)) => object(inner),
        Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(value).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jwt_core::config::filter::KeyServer;
    use jwt_core::config::verifier::NonceStorage;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn to_proto(value: &Value) -> ProtoValue {
        let kind = match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(bool) => Kind::BoolValue(*bool),
            Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
            Value::String(text) => Kind::StringValue(text.clone()),
            Value::Array(values) => Kind::ListValue(prost_types::ListValue {
                values: values.iter().map(to_proto).collect(),
            }),
            Value::Object(fields) => Kind::StructValue(to_struct(fields)),
        };
        ProtoValue { kind: Some(kind) }
    }

    fn to_struct(fields: &Map<String, Value>) -> Struct {
        let fields: BTreeMap<_, _> = fields
            .iter()
            .map(|(name, value)| (name.clone(), to_proto(value)))
            .collect();
        Struct { fields }
    }

    fn configuration() -> Value {
        json!({
            "audience": "https://api",
            "claims_verifiers": [{"type": "static", "options": {"admin": true, "level": 3}}],
            "key_server": {
                "type": "keyregistry",
                "options": {"cluster": "registry", "authority": "registry:8888"},
            },
            "nonce_storage": {"type": "local", "options": {"capacity": 5000}},
        })
    }

    #[test]
    fn json_text_and_a_struct_are_the_same_configuration() {
        let json = configuration().to_string();
        let proto = to_struct(configuration().as_object().unwrap()).encode_to_vec();
        for bytes in [json.as_bytes(), format!("\n{json}\n").as_bytes(), &proto] {
            let config = read(bytes).unwrap();
            assert_eq!(config.rules.policy.audience.as_str(), "https://api");
            assert_eq!(config.rules.policy.claims_verifiers.len(), 1);
            assert_eq!(
                config.rules.nonce_storage,
                NonceStorage::Local {
                    capacity: 5000,
                    restart_guard: false
                }
            );
            assert!(matches!(config.key_server, KeyServer::Keyregistry(_)));
        }
    }

    #[test]
    fn a_struct_with_mistakes_names_them() {
        let tree = json!({"audience": 7});
        let proto = to_struct(tree.as_object().unwrap()).encode_to_vec();
        let mistakes = read(&proto).unwrap_err().to_string();
        assert!(
            mistakes.contains("audience: found 7.0, expected"),
            "{mistakes}"
        );
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bytes in [b"".as_slice(), b"{", b"\n", b"\n\x05abc", b"\xff\xfe"] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }
}
