//! What Envoy itself answers: never without a reason, and in the words of the filter.

use super::cluster::MAX_RESPONSE_HEAD_KIB;
use super::listener::MAX_REQUEST_HEAD_KIB;
use serde_json::{Value, json};

/// The flags of answers that Envoy gives in an upstream's place. The filter's own have none.
const NO_ANSWER: [&str; 9] = ["UH", "UF", "UC", "UO", "UR", "UT", "LR", "URX", "NC"];

/// Envoy's own answers as clients get them; the first mapping that fits counts.
pub(super) fn local_replies() -> Value {
    let refused = |reason: &str| format!("jwtproxy: unable to verify request: {reason}");
    let mappers = [
        // Envoy's 404 is what a target gets that is no path. It comes before any filter, and
        // nothing else makes one, since every path has a route.
        mapper(
            status(404),
            Some(403),
            &refused("this is no forward proxy; the target must be a path"),
        ),
        mapper(
            details("response.code_details == 'upgrade_failed'"),
            Some(400),
            &refused("the Upgrade field must name websocket once"),
        ),
        mapper(
            details("response.code_details.startsWith('wasm_fail')"),
            None,
            &refused("the filter has failed and is being restarted"),
        ),
        mapper(
            status(400),
            None,
            &refused(
                "it is not valid HTTP (%RESPONSE_CODE_DETAILS%); a target must be ASCII, with \
                 anything else percent-encoded, and there must be one Host",
            ),
        ),
        mapper(
            status(408),
            None,
            &refused("it did not arrive in time (%RESPONSE_CODE_DETAILS%)"),
        ),
        mapper(
            status(413),
            None,
            &refused("its body is too large (%RESPONSE_CODE_DETAILS%)"),
        ),
        mapper(
            status(431),
            None,
            &refused(&format!(
                "its header section has more than {MAX_REQUEST_HEAD_KIB} KiB \
                 (%RESPONSE_CODE_DETAILS%)"
            )),
        ),
        mapper(
            json!({"response_flag_filter": {"flags": ["UPE"]}}),
            None,
            &format!(
                "jwtproxy: the upstream's answer is not valid HTTP, or its header section has \
                 more than {MAX_RESPONSE_HEAD_KIB} KiB (%RESPONSE_CODE_DETAILS%)"
            ),
        ),
        mapper(
            json!({"response_flag_filter": {"flags": NO_ANSWER}}),
            None,
            "jwtproxy: no answer from the upstream: %LOCAL_REPLY_BODY%",
        ),
        mapper(
            status(504),
            None,
            "jwtproxy: no answer from the upstream in time (%RESPONSE_CODE_DETAILS%)",
        ),
        mapper(
            status(500),
            None,
            "jwtproxy: internal error (%RESPONSE_CODE_DETAILS%)",
        ),
    ];
    json!({"mappers": mappers})
}

fn mapper(filter: Value, status: Option<u16>, text: &str) -> Value {
    json!({
        "filter": filter,
        "status_code": status,
        "body_format_override": {"text_format_source": {"inline_string": format!("{text}\n")}},
    })
}

fn status(code: u16) -> Value {
    json!({"status_code_filter": {"comparison": {
        "op": "EQ",
        "value": {"default_value": code, "runtime_key": "jwtproxy.none"},
    }}})
}

/// What Envoy says of the cause, as a condition in CEL.
fn details(condition: &str) -> Value {
    json!({"extension_filter": {
        "name": "envoy.access_loggers.extension_filters.cel",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
            "expression": condition,
        },
    }})
}
