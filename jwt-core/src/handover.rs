//! Handing on what was verified: claims as header fields for the upstream.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// What the upstream gets of a verified token, besides the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Whether the token itself goes on to the upstream.
    pub forward: bool,
    /// A header field with all claims: the payload in base64url.
    pub forward_payload_header: Option<String>,
    /// Header fields with one claim each.
    pub claim_to_headers: Vec<ClaimToHeader>,
    /// Whether the claims become filter state, for access logs and other filters.
    pub claims_in_filter_state: bool,
}

/// A claim and the header field that carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimToHeader {
    /// The claim.
    pub claim_name: String,
    /// The header field, in lower case.
    pub header_name: String,
}

impl Default for Handover {
    /// The token as it came, and nothing else.
    fn default() -> Self {
        Self {
            forward: true,
            forward_payload_header: None,
            claim_to_headers: Vec::new(),
            claims_in_filter_state: false,
        }
    }
}

impl Handover {
    /// Whether there are header fields that are ours to set.
    pub fn has_own_headers(&self) -> bool {
        self.own_headers().next().is_some()
    }

    /// Whether a header field, named in lower case, is ours to set or could be taken for one: what
    /// a client sends under such a name must never reach the upstream. To some (CGI, WSGI) `-` and
    /// `_` are the same.
    pub fn reserves(&self, name: &str) -> bool {
        let dashed = |byte: u8| if byte == b'_' { b'-' } else { byte };
        self.own_headers()
            .any(|own| own.bytes().map(dashed).eq(name.bytes().map(dashed)))
    }

    fn own_headers(&self) -> impl Iterator<Item = &str> {
        let claims = self
            .claim_to_headers
            .iter()
            .map(|claim| claim.header_name.as_str());
        claims.chain(self.forward_payload_header.as_deref())
    }

    /// The fields for a token with this payload. A claim that is absent, or that no field can
    /// carry, has none.
    pub fn headers(&self, payload: &[u8]) -> Vec<(&str, String)> {
        if !self.has_own_headers() {
            return Vec::new();
        }
        let claims: Map<String, Value> = serde_json::from_slice(payload).unwrap_or_default();
        let of_claims = self.claim_to_headers.iter().filter_map(|claim| {
            let value = field_value(claims.get(&claim.claim_name)?)?;
            Some((claim.header_name.as_str(), value))
        });
        let whole = self.forward_payload_header.as_deref();
        let whole = whole.map(|name| (name, URL_SAFE_NO_PAD.encode(payload)));
        of_claims.chain(whole).collect()
    }
}

/// A claim as text: lists joined by commas, as RFC 9110 §5.3 has it; objects as JSON.
fn field_value(claim: &Value) -> Option<String> {
    let text = match claim {
        Value::Null => return None,
        Value::Array(elements) => elements
            .iter()
            .filter_map(field_value)
            .collect::<Vec<_>>()
            .join(","),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    // RFC 9110 §5.5: control characters could end the field and begin another.
    (!text.chars().any(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn handover(names: &[&str]) -> Handover {
        let claim = |name: &&str| ClaimToHeader {
            claim_name: (*name).to_owned(),
            header_name: format!("x-{name}"),
        };
        Handover {
            claim_to_headers: names.iter().map(claim).collect(),
            ..Handover::default()
        }
    }

    #[test]
    fn claims_become_fields() {
        let payload =
            br#"{"sub":"me","roles":["a","b",3],"n":1.5,"yes":true,"o":{"x":1},"no":null}"#;
        let handover = handover(&["sub", "roles", "n", "yes", "o", "no", "absent"]);
        let expected = [
            ("x-sub", "me"),
            ("x-roles", "a,b,3"),
            ("x-n", "1.5"),
            ("x-yes", "true"),
            ("x-o", "{\"x\":1}"),
        ];
        assert_eq!(
            handover.headers(payload),
            expected.map(|(n, v)| (n, v.to_owned()))
        );
    }

    #[test]
    fn no_claim_can_begin_another_field() {
        let payload = br#"{"sub":"me\r\nx-admin: true","tab":"a\tb","nul":"\u0000"}"#;
        assert!(handover(&["sub", "tab", "nul"]).headers(payload).is_empty());
    }

    #[test]
    fn the_whole_payload_is_base64url() {
        let handover = Handover {
            forward_payload_header: Some("x-payload".into()),
            ..Handover::default()
        };
        assert_eq!(handover.headers(b"{}"), [("x-payload", "e30".to_owned())]);
    }

    #[test]
    fn no_field_of_a_client_is_taken_for_one_of_ours() {
        let handover = Handover {
            forward_payload_header: Some("x_jwt-payload".into()),
            ..handover(&["user-name"])
        };
        for name in [
            "x-user-name",
            "x_user_name",
            "x-user_name",
            "x-jwt-payload",
            "x_jwt_payload",
        ] {
            assert!(handover.reserves(name), "{name}");
        }
        for name in ["x-user", "x-user-names", "xuser-name", ""] {
            assert!(!handover.reserves(name), "{name}");
        }
        assert!(!Handover::default().has_own_headers());
    }
}
