//! `Upgrade`: only WebSocket means anything.

use serde_json::{Value, json};

const WEBSOCKET: &str = "websocket";

/// Envoy ends a WebSocket's handshake without the body of an answer below 400. Here such an answer
/// says so: a client would else take what is left of it for the whole.
const ANSWERED_WITHOUT_UPGRADE: &str = r#"
function envoy_on_response(handle)
  local status = tonumber(handle:headers():get(":status"))
  if status == nil or status < 200 or status >= 400 then
    return
  end
  if status < 300 then
    handle:headers():replace(":status", "502")
  end
  handle:headers():replace("content-type", "text/plain")
  handle:headers():remove("content-encoding")
  local text = "jwtproxy: the upstream did not accept the WebSocket handshake; it answered "
  handle:body(true):setBytes(text .. status .. "\n")
end
"#;

/// The upgrades that pass, with what stands in their way: the filters of every request and one
/// for the answer.
pub(super) fn permitted(filter: &Value, router: &Value) -> Value {
    let answer = json!({
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": ANSWERED_WITHOUT_UPGRADE},
        },
    });
    json!([{"upgrade_type": WEBSOCKET, "filters": [filter, answer, router]}])
}

/// RFC 9110 §7.8: "A server MAY ignore a received Upgrade header field". Of a list, Envoy takes
/// out the protocols that match this.
pub(super) fn ignored() -> Value {
    json!([{"safe_regex": {"regex": anything_but(WEBSOCKET)}}])
}

/// A request that asks for a WebSocket, as a matcher of routes.
pub(super) fn is_websocket() -> Value {
    json!({
        "name": "upgrade",
        "string_match": {"exact": WEBSOCKET, "ignore_case": true},
    })
}

/// A regular expression for every text but this word, in any case. RE2 has no negation: a text is
/// another one if it ends before the word does, differs in one of its letters, or is longer.
fn anything_but(word: &str) -> String {
    let mut alternatives = Vec::new();
    for (i, letter) in word.char_indices() {
        let (before, _) = word.split_at(i);
        alternatives.push(before.to_owned());
        alternatives.push(format!("{before}[^{letter}].*"));
    }
    alternatives.push(format!("{word}.+"));
    format!("(?is)(?:{})", alternatives.join("|"))
}
