//! Handing on what was verified: claims as header fields for the upstream.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value};

/// What the upstream gets of a verified token, besides the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Whether the token itself goes on to the upstream.
    pub forward: bool,
    /// Whether the credentials of requests that need no token go on, which were not verified.
    pub forward_unverified: bool,
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
            forward_unverified: true,
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
    /// `_` are the same, to some servers of CGI all that is neither letter nor digit.
    pub fn reserves(&self, name: &str) -> bool {
        self.own_headers().any(|own| are_alike(own, name))
    }

    /// A name that two of our fields have, or that a server could take for the name of another.
    pub fn name_given_twice(&self) -> Option<&str> {
        let mut names = self.own_headers().enumerate();
        let found = names.find(|(index, name)| {
            let mut before = self.own_headers().take(*index);
            before.any(|earlier| are_alike(earlier, name))
        });
        found.map(|(_, name)| name)
    }

    /// Whether a field of the trailer section, named in lower case, may go on to the upstream. Some
    /// merge these with the header section, so what is verified or set there must not be in them.
    ///
    /// RFC 9110 §6.5.1: fields for authentication do not belong there at all.
    pub fn permits_trailer(&self, name: &str) -> bool {
        const NEVER: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];
        !NEVER.contains(&name) && !self.reserves(name)
    }

    fn own_headers(&self) -> impl Iterator<Item = &str> {
        let claims = self
            .claim_to_headers
            .iter()
            .map(|claim| claim.header_name.as_str());
        claims.chain(self.forward_payload_header.as_deref())
    }

    /// The fields for a token with this payload. A claim that is absent, null or an empty list has
    /// none.
    pub fn headers(&self, payload: &[u8]) -> Vec<(&str, String)> {
        if !self.has_own_headers() {
            return Vec::new();
        }
        let claims: Map<String, Value> = serde_json::from_slice(payload).unwrap_or_default();
        let of_claims = self.claim_to_headers.iter().filter_map(|claim| {
            let value = field_value(claim_named(&claims, &claim.claim_name)?)?;
            Some((claim.header_name.as_str(), value))
        });
        let whole = self.forward_payload_header.as_deref();
        let whole = whole.map(|name| (name, URL_SAFE_NO_PAD.encode(payload)));
        of_claims.chain(whole).collect()
    }
}

/// Whether two names in lower case are the same to a server that makes no difference between `-`
/// and `_`, or between all that is neither letter nor digit.
fn are_alike(one: &str, other: &str) -> bool {
    let dashed = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => byte,
        false => b'-',
    };
    one.bytes().map(dashed).eq(other.bytes().map(dashed))
}

/// The claim of this name, or what a path of names with dots between leads to. A name may have dots
/// in it, as URLs have: the longest that is there counts.
fn claim_named<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(claim) = claims.get(name) {
        return Some(claim);
    }
    name.rmatch_indices('.').find_map(|(at, _)| {
        let (first, rest) = name.split_at_checked(at)?;
        let inner = claims.get(first)?.as_object()?;
        claim_named(inner, rest.strip_prefix('.')?)
    })
}

/// What stands for itself in no value: what separates the elements of a list, and what a field
/// cannot carry (RFC 9110 §5.5) or servers read in different ways. `percent_encoding` adds what is
/// beyond ASCII.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%').add(b',');

/// A claim as text. Of a list, the texts of the elements with commas between (RFC 9110 §5.6.1);
/// since these have none, `["a,b"]` is no `["a","b"]`, nor is the string `a,b`.
fn field_value(claim: &Value) -> Option<String> {
    match claim {
        Value::Null => None,
        Value::Array(elements) if elements.is_empty() => None,
        Value::Array(elements) => {
            let texts: Vec<_> = elements.iter().map(element).collect();
            Some(texts.join(","))
        }
        other => Some(element(other)),
    }
}

/// A string as it is and anything else as JSON, percent-encoded where need be.
fn element(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    // RFC 9110 §5.5: spaces around a value are not part of it.
    let inside = text.trim_matches(' ');
    let before = text.len() - text.trim_start_matches(' ').len();
    let after = text.len() - before - inside.len();
    let space = |count| "%20".repeat(count);
    let inside = utf8_percent_encode(inside, ESCAPED);
    format!("{}{inside}{}", space(before), space(after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
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
    fn names_with_dots_reach_into_objects() {
        let claims = json!({
            "realm_access": {"roles": ["a", "b"], "n": {"m": 1}},
            "resource_access": {"my.app": {"roles": ["c"]}},
            "https://idp.example/roles": "url",
            "https://idp.example/org": {"id": 7},
            "a.b": "literal",
            "a": {"b": "nested", "c": null},
            "x.y": 1,
            "x": {"y": {"z": "deep"}},
            "text": "no object",
            "list": [{"roles": 1}],
        });
        let payload = claims.to_string();
        let value = |name: &str| {
            let handover = handover(&[name]);
            let field = handover.headers(payload.as_bytes()).pop();
            field.map(|(_, value)| value)
        };
        for (name, expected) in [
            ("realm_access.roles", "a,b"),
            ("realm_access.n.m", "1"),
            ("resource_access.my.app.roles", "c"),
            ("https://idp.example/roles", "url"),
            ("https://idp.example/org.id", "7"),
            // A name that is there counts, whatever it could mean as a path.
            ("a.b", "literal"),
            ("x.y.z", "deep"),
        ] {
            assert_eq!(value(name).as_deref(), Some(expected), "{name}");
        }
        for absent in [
            "realm_access.absent",
            "realm_access.",
            ".roles",
            ".",
            "..",
            "a.c",
            "text.length",
            "list.0",
            "list.roles",
            "realm_access.roles.0",
        ] {
            assert_eq!(value(absent), None, "{absent}");
        }
    }

    /// What a claim becomes; none where it has no field.
    fn value_of(claim: &Value) -> Option<String> {
        let payload = json!({ "c": claim }).to_string();
        let handover = handover(&["c"]);
        let field = handover.headers(payload.as_bytes()).pop();
        field.map(|(_, value)| value)
    }

    #[test]
    fn a_list_is_no_string_with_commas() {
        for (claim, value) in [
            (json!(["a", "b"]), "a,b"),
            (json!("a,b"), "a%2Cb"),
            (json!(["a,b"]), "a%2Cb"),
            (json!("a%2Cb"), "a%252Cb"),
            (json!(["a,b", "c"]), "a%2Cb,c"),
            (json!([["a", "b"], "c"]), "[\"a\"%2C\"b\"],c"),
            (json!({"x": 1, "y": "b,c"}), "{\"x\":1%2C\"y\":\"b%2Cc\"}"),
            (json!(["a", null]), "a,null"),
            (json!(["a", ""]), "a,"),
            (json!(["a "]), "a%20"),
            (json!(["  a b", " "]), "%20%20a b,%20"),
            (json!(""), ""),
        ] {
            assert_eq!(value_of(&claim).as_deref(), Some(value), "{claim}");
        }
        assert_eq!(value_of(&json!([])), None);
    }

    #[test]
    fn lists_of_strings_are_told_apart() {
        let texts = [
            "", "a", "b", ",", "a,b", "%2C", "%", "\u{c4}", "\n", " ", "[]", "null",
        ];
        let mut seen = std::collections::HashMap::new();
        for one in texts {
            for two in texts {
                let claim = json!([one, two]);
                let before = seen.insert(value_of(&claim).unwrap(), claim.clone());
                assert_eq!(before, None, "{claim}");
            }
            // A list of one is as its element.
            let before = seen.insert(value_of(&json!(one)).unwrap(), json!(one));
            assert_eq!(before, None, "{one}");
            assert_eq!(value_of(&json!([one])), value_of(&json!(one)));
        }
    }

    #[test]
    fn no_claim_can_begin_another_field() {
        for (claim, value) in [
            ("me\r\nx-admin: true", "me%0D%0Ax-admin: true"),
            ("a\tb", "a%09b"),
            ("\u{0}", "%00"),
            ("\u{7f}", "%7F"),
            // A line end to those who read Latin-1, or only the lower byte.
            ("\u{85}", "%C2%85"),
            ("\u{10a}", "%C4%8A"),
            ("J\u{fc}rgen", "J%C3%BCrgen"),
        ] {
            assert_eq!(value_of(&json!(claim)).as_deref(), Some(value));
            assert_eq!(value_of(&json!([claim, 1])), Some(format!("{value},1")));
        }
        let nested = value_of(&json!({"a\n": "b\r"})).unwrap();
        assert!(
            nested.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{nested}"
        );
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
            "x.user.name",
            "x!user~name",
            "x-jwt.payload",
        ] {
            assert!(handover.reserves(name), "{name}");
        }
        for name in ["x-user", "x-user-names", "xuser-name", ""] {
            assert!(!handover.reserves(name), "{name}");
        }
        assert!(!Handover::default().has_own_headers());
    }

    #[test]
    fn nor_is_a_trailer() {
        let handover = handover(&["sub"]);
        for name in [
            "x-sub",
            "x_sub",
            "authorization",
            "cookie",
            "proxy-authorization",
        ] {
            assert!(!handover.permits_trailer(name), "{name}");
        }
        assert!(handover.permits_trailer("grpc-status"));
        assert!(!Handover::default().permits_trailer("authorization"));
    }
}
