//! `hosts`: the signing policy.

use crate::policy::{Action, Extras, HostPattern, Policy, Rule};
use http::HeaderName;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use jwt_core::config::reader::{self, Expected, Section};
use jwt_core::issue::RESERVED_CLAIMS;
use serde_json::{Map, Value};

pub(super) fn policy(section: &mut Section<'_>) -> Option<Policy> {
    section.field("hosts").sections(rule).map(Policy::new)
}

fn rule(section: &mut Section<'_>) -> Option<Rule> {
    let host = section.field("host").required(host_pattern);
    let port_field = section.field("port");
    let port = match port_field.is_present() {
        true => port_field.required(reader::integer(1..=65535)).map(Some),
        false => Some(None),
    };
    let actions = reader::one_of(&["sign", "tunnel", "pass", "deny"]);
    let action = section.field("action").or("sign", actions);
    let extras = extras(section);
    let beside_registry = section.field("beside_registry").or(false, reader::boolean);
    let (action, extras) = (action?, extras?);
    if beside_registry? && (action != "sign" || host.as_ref()?.is_any()) {
        section.mistake("beside_registry belongs to a rule that signs and names its hosts");
        return None;
    }
    let action = match action {
        "sign" => Action::Sign(extras),
        _ if extras != Extras::default() => {
            section.mistake(format!(
                "audience and claims belong to a token, but action is {action}"
            ));
            return None;
        }
        "tunnel" => Action::Tunnel,
        "pass" => Action::Pass,
        _ => Action::Deny,
    };
    Some(Rule {
        host: host?,
        port: match port? {
            Some(port) => Some(u16::try_from(port).ok()?),
            None => None,
        },
        action,
        beside_registry: beside_registry?,
    })
}

fn extras(section: &mut Section<'_>) -> Option<Extras> {
    let audience_field = section.field("audience");
    let audience = match audience_field.is_present() {
        true => audience_field.required(reader::text).map(Some),
        false => Some(None),
    };
    let claims = section.field("claims").section(static_claims);
    let from_headers = section
        .field("claims_from_headers")
        .section(claims_from_headers);
    Some(Extras {
        audience: audience?,
        claims: claims?,
        claims_from_headers: from_headers?,
    })
}

fn static_claims(section: &mut Section<'_>) -> Option<Map<String, Value>> {
    let claims = section.fields();
    refuse_reserved(section, &claims)?;
    Some(claims)
}

fn claims_from_headers(section: &mut Section<'_>) -> Option<Vec<(String, HeaderName)>> {
    let fields = section.fields();
    refuse_reserved(section, &fields)?;
    let mut claims = Vec::new();
    for (claim, header) in fields {
        match header_name(&header) {
            Ok(name) => claims.push((claim, name)),
            Err(expected) => {
                section.mistake(format!("{claim}: found {header}, expected {expected}"));
                return None;
            }
        }
    }
    Some(claims)
}

fn refuse_reserved(section: &Section<'_>, claims: &Map<String, Value>) -> Option<()> {
    let taken = RESERVED_CLAIMS
        .iter()
        .find(|name| claims.contains_key(**name));
    if let Some(name) = taken {
        section.mistake(format!("the claim {name} is the signer's own"));
        return None;
    }
    Some(())
}

/// Not one that the forwarded request could not do without.
fn header_name(value: &Value) -> Result<HeaderName, Expected> {
    const EXPECTED: &str = "the name of a header, such as X-Tenant";
    let name: HeaderName = value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or(EXPECTED)?;
    if [AUTHORIZATION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING].contains(&name) {
        return Err(format!("{EXPECTED}, not {name}"));
    }
    Ok(name)
}

fn host_pattern(value: &Value) -> Result<HostPattern, Expected> {
    let text = value.as_str().unwrap_or_default();
    HostPattern::parse(text).ok_or_else(|| {
        "a host such as api.example.com, *.example.com, 192.0.2.1, 192.0.2.0/24, \"::1\" or \"*\""
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mistakes(rule_: Value) -> String {
        let read = reader::read("", &json!({ "hosts": [rule_] }), policy);
        read.unwrap_err().to_string()
    }

    #[test]
    fn each_mistake_in_a_rule_is_named() {
        for (rule, words) in [
            (json!({}), "hosts[0].host: missing"),
            (
                json!({"host": "a b"}),
                "hosts[0].host: found \"a b\", expected a host",
            ),
            (json!({"host": "a", "port": 0}), "hosts[0].port: found 0"),
            (
                json!({"host": "a", "action": "drop"}),
                "expected one of sign, tunnel, pass, deny",
            ),
            (
                json!({"host": "a", "action": "deny", "audience": "x"}),
                "action is deny",
            ),
            (
                json!({"host": "a", "claims": {"aud": "x"}}),
                "claim aud is the signer's own",
            ),
            (
                json!({"host": "a", "claims_from_headers": {"exp": "X"}}),
                "claim exp is",
            ),
            (
                json!({"host": "a", "claims_from_headers": {"t": "X Y"}}),
                "name of a header",
            ),
            (
                json!({"host": "a", "claims_from_headers": {"t": "Host"}}),
                "not host",
            ),
            (json!({"host": "10.0.0.1/8"}), "expected a host"),
            (
                json!({"host": "*", "beside_registry": true}),
                "names its hosts",
            ),
            (
                json!({"host": "a", "action": "pass", "beside_registry": true}),
                "a rule that signs",
            ),
            (
                json!({"host": "a", "claim": {}}),
                "did you mean \"claims\"?",
            ),
        ] {
            let found = mistakes(rule.clone());
            assert!(found.contains(words), "{rule}: {found}");
        }
    }
}
