use super::*;
use serde_json::{Value, json};
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn compact(header: &Value, claims: &Value) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!(
        "{}.{}.{}",
        encode(header),
        encode(claims),
        URL_SAFE_NO_PAD.encode("signature")
    )
}

fn header() -> Value {
    json!({"alg": "RS256", "kid": "k1", "typ": "JWT"})
}

fn claims() -> Value {
    json!({"iss": "svc", "aud": "https://api", "exp": 200, "nbf": 100, "iat": 100.5, "jti": "n"})
}

/// Parses a token after setting `part[name]`, or removing it when `value` is `None`.
fn with(part: &str, name: &str, value: Option<Value>) -> Result<Token, Refusal> {
    let (mut header, mut claims) = (header(), claims());
    let target = if part == "header" {
        &mut header
    } else {
        &mut claims
    };
    match value {
        Some(value) => target[name] = value,
        None => drop(target.as_object_mut().unwrap().remove(name)),
    }
    Token::parse(&compact(&header, &claims))
}

#[test]
fn a_whole_token_is_taken_apart() {
    let text = compact(&header(), &claims());
    let token = Token::parse(&text).unwrap();
    assert_eq!(token.algorithm(), Algorithm::Rs256);
    assert_eq!(
        token.key_name(),
        &KeyName::new("svc".into(), "k1".into()).unwrap()
    );
    assert_eq!(token.claims().audiences, ["https://api"]);
    assert_eq!(
        token.claims().issued,
        Timestamp::from_fractional_seconds(100.5).unwrap()
    );
    assert_eq!(token.signature(), b"signature");
    assert!(text.as_bytes().starts_with(token.signing_input()));
}

#[test]
fn what_is_not_three_base64url_parts_of_json_is_malformed() {
    let good = compact(&header(), &claims());
    let array = URL_SAFE_NO_PAD.encode("[]");
    for text in [
        String::new(),
        ".".into(),
        "..".into(),
        "a.b".into(),
        "a.b.c.d".into(),
        format!("{good}="),
        format!("{good}.x"),
        good.replace('.', ".\u{e9}"),
        format!("{array}.{array}.{array}"),
    ] {
        assert!(
            matches!(Token::parse(&text), Err(Refusal::Malformed(_))),
            "{text:?}"
        );
    }
}

#[test]
fn each_required_member_is_required() {
    for (part, name) in [
        ("header", "alg"),
        ("header", "kid"),
        ("claims", "iss"),
        ("claims", "aud"),
        ("claims", "exp"),
        ("claims", "nbf"),
        ("claims", "iat"),
        ("claims", "jti"),
    ] {
        assert_eq!(with(part, name, None).unwrap_err(), Refusal::Missing(name));
        let wrong = with(part, name, Some(json!({"an": "object"}))).unwrap_err();
        assert!(
            matches!(wrong, Refusal::WrongType { name: n, .. } if n == name),
            "{wrong:?}"
        );
        let null = with(part, name, Some(Value::Null)).unwrap_err();
        assert!(
            matches!(null, Refusal::WrongType { name: n, .. } if n == name),
            "{null:?}"
        );
    }
}

#[test]
fn dates_must_be_finite_and_in_range() {
    for wrong in [
        json!("200"),
        json!(1e300),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(-1e300),
    ] {
        let refusal = with("claims", "exp", Some(wrong.clone())).unwrap_err();
        assert!(
            matches!(refusal, Refusal::WrongType { name: "exp", .. }),
            "{wrong}"
        );
    }
    assert!(with("claims", "exp", Some(json!(200.25))).is_ok());
    let overflow = compact(&header(), &claims())
        .split('.')
        .next()
        .unwrap()
        .to_owned()
        + "."
        + &URL_SAFE_NO_PAD.encode(claims().to_string().replace("200", "1e999"))
        + ".c2ln";
    assert!(Token::parse(&overflow).is_err());
}

#[test]
fn an_audience_is_a_string_or_a_list_of_strings() {
    let token = with("claims", "aud", Some(json!(["a", "b"]))).unwrap();
    assert_eq!(token.claims().audiences, ["a", "b"]);
    assert!(with("claims", "aud", Some(json!(["a", 1]))).is_err());
}

#[test]
fn a_member_named_twice_is_malformed() {
    let twice = claims().to_string().replacen('{', "{\"iss\":\"other\",", 1);
    let text = format!(
        "{}.{}.c2ln",
        URL_SAFE_NO_PAD.encode(header().to_string()),
        URL_SAFE_NO_PAD.encode(twice)
    );
    assert!(matches!(Token::parse(&text), Err(Refusal::Malformed(_))));
}

#[test]
fn neither_none_nor_hmac_nor_an_unknown_algorithm_is_taken() {
    for alg in [
        "none", "None", "NONE", "HS256", "HS512", "rs256", "RS257", " RS256",
    ] {
        let refusal = with("header", "alg", Some(json!(alg))).unwrap_err();
        assert_eq!(refusal, Refusal::Algorithm, "{alg}");
    }
}

#[test]
fn critical_extensions_are_refused_and_embedded_keys_ignored() {
    for crit in [json!(["b64"]), json!([]), json!(null), json!(["exp"])] {
        assert_eq!(
            with("header", "crit", Some(crit)).unwrap_err(),
            Refusal::Critical
        );
    }
    assert_eq!(
        with("header", "b64", Some(json!(false))).unwrap_err(),
        Refusal::Critical
    );
    for name in ["jwk", "jku", "x5u", "x5c"] {
        assert!(with("header", name, Some(json!("https://evil.example"))).is_ok());
    }
}

#[test]
fn members_are_known_by_their_names_and_values_however_they_are_written() {
    let payload = |json: &str| {
        let header = URL_SAFE_NO_PAD.encode(header().to_string());
        Token::parse(&format!("{header}.{}.c2ln", URL_SAFE_NO_PAD.encode(json)))
    };
    let escaped = claims().to_string().replace("iss", "\\u0069ss");
    let token = payload(&escaped.replace("\"svc\"", "\"s\\u0076c\"")).unwrap();
    assert_eq!(token.key_name().issuer(), "svc");
    assert!(payload(&format!(" \n{} ", claims())).is_ok());
    for broken in [
        claims().to_string().replace("svc", "\\ud800"),
        claims().to_string().replace("200", "0200"),
        claims().to_string() + "x",
        format!("[{}]", claims()),
        r#"["svc","https://api",200,100,100,"n"]"#.to_owned(),
    ] {
        assert!(
            matches!(payload(&broken), Err(Refusal::Malformed(_))),
            "{broken}"
        );
    }
}
