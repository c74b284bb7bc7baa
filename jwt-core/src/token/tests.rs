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

/// A token whose claims are this text.
fn with_payload(payload: impl AsRef<[u8]>) -> Result<Token, Refusal> {
    let header = URL_SAFE_NO_PAD.encode(header().to_string());
    Token::parse(&format!(
        "{header}.{}.c2ln",
        URL_SAFE_NO_PAD.encode(payload)
    ))
}

/// A token whose claims have one more, which is this text.
fn with_claim(member: impl AsRef<[u8]>) -> Result<Token, Refusal> {
    let claims = claims().to_string();
    with_payload([b"{", member.as_ref(), b",", &claims.as_bytes()[1..]].concat())
}

/// A token whose header has one more member.
fn with_header_member(member: impl AsRef<[u8]>) -> Result<Token, Refusal> {
    let header = header().to_string();
    let header = [b"{", member.as_ref(), b",", &header.as_bytes()[1..]].concat();
    let [header, claims] =
        [header, claims().to_string().into_bytes()].map(|part| URL_SAFE_NO_PAD.encode(part));
    Token::parse(&format!("{header}.{claims}.c2ln"))
}

/// That many lists or objects, one in another.
fn nested(levels: usize, open: &str, close: &str) -> String {
    open.repeat(levels) + "1" + &close.repeat(levels)
}

#[test]
fn a_member_named_twice_is_malformed() {
    for twice in [
        r#""iss":"other""#,
        r#""\u0069ss":"other""#,
        r#""sub":"a","sub":"b""#,
        r#""sub":"a","su\u0062":"a""#,
        r#""o":{"a":1,"a":1}"#,
        r#""o":[[{"a":1,"b":{},"a":1}]]"#,
    ] {
        let refusal = with_claim(twice).unwrap_err();
        assert!(matches!(refusal, Refusal::Malformed(_)), "{twice}");
    }
    for twice in [r#""kid":"other""#, r#""x":1,"x":1"#] {
        let refusal = with_header_member(twice).unwrap_err();
        assert!(matches!(refusal, Refusal::Malformed(_)), "{twice}");
    }
    // However many there are, and wherever the second one stands.
    for count in [30, 31, 32, 33, 100] {
        let names: Vec<_> = (0..count).map(|n| format!(r#""c{n}":1"#)).collect();
        with_claim(names.join(",")).unwrap();
        for twice in [0, count / 2, count - 1] {
            let all = format!(r#"{},"c{twice}":1"#, names.join(","));
            for claims in [all.clone(), format!(r#""o":{{{all}}}"#)] {
                let refusal = with_claim(&claims).unwrap_err();
                assert!(matches!(refusal, Refusal::Malformed(_)), "{claims}");
            }
        }
    }
    with_claim(r#""o":{"iss":1,"a":{"a":1}},"p":{"a":1}"#).unwrap();
}

#[test]
fn a_claim_that_other_readers_cannot_read_is_malformed() {
    for member in [
        br#""name":"\ud800""#.as_slice(),
        br#""name":"\udc00\ud800""#,
        br#""name":"\x""#,
        b"\"name\":\"\xff\"",
        b"\"name\":\"\xed\xa0\x80\"",
        b"\"name\":\"\xc0\xaf\"",
        b"\"name\":\"a\nb\"",
        b"\"\xff\":1",
        br#""\ud800":1"#,
        br#""n":1e999"#,
        br#""n":-1e999"#,
        br#""n":[{"x":[1e999]}]"#,
        br#""n":01"#,
        br#""n":1."#,
        br#""n":+1"#,
        br#""n":NaN"#,
        br#""n":.5"#,
        br#""n":tru"#,
        br#""n":'x'"#,
        br#""n":[1,]"#,
        br#""n":{"a":1,}"#,
        br#""n":{"o":["\ud800"]}"#,
        br#""n":[1 2]"#,
        b"\"n\":1/**/",
        b"\"n\":\x0b1",
    ] {
        for found in [with_claim(member), with_header_member(member)] {
            assert!(
                matches!(found, Err(Refusal::Malformed(_))),
                "{}",
                String::from_utf8_lossy(member)
            );
        }
    }
}

#[test]
fn what_is_accepted_is_readable_as_a_whole() {
    for member in [
        r#""a":"\ud83d\ude00 \u0000 \" é""#.to_owned(),
        r#""a":[1e308,-1e-400,18446744073709551616,-9223372036854775809,0.1,-0]"#.into(),
        r#""":{"":[null,true,false,{}]}"#.into(),
        format!(r#""a":{}"#, nested(limits::MAX_DEPTH - 1, "[", "]")),
        format!(r#""a":{}"#, nested(limits::MAX_DEPTH - 1, "{\"a\":", "}")),
        (0..900)
            .map(|n| format!(r#""c{n}":{n}"#))
            .collect::<Vec<_>>()
            .join(","),
    ] {
        let token = with_claim(&member).unwrap();
        let all: serde_json::Map<String, Value> = serde_json::from_slice(token.payload()).unwrap();
        assert!(all.len() > claims().as_object().unwrap().len(), "{member}");
    }
}

#[test]
fn the_depth_of_a_token_is_bounded() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
        for levels in [limits::MAX_DEPTH, 127, 130, 1000] {
            let deep = nested(levels, open, close);
            for found in [
                with_claim(format!(r#""a":{deep}"#)),
                with_header_member(format!(r#""a":{deep}"#)),
                with_payload(claims().to_string().replace("\"https://api\"", &deep)),
            ] {
                assert!(matches!(found, Err(Refusal::Malformed(_))), "{levels}");
            }
        }
    }
    // Without an end, and as the whole.
    for text in ["[".repeat(5000), "{\"a\":".repeat(1500)] {
        assert!(matches!(with_payload(text), Err(Refusal::Malformed(_))));
    }
}

#[test]
fn the_size_of_a_token_is_bounded_before_anything_is_decoded() {
    let of_size = |size: usize| {
        let text = compact(&header(), &claims());
        let missing = size - text.len();
        text + &"A".repeat(missing)
    };
    // 9 characters of the signature are there, so that all lengths are not base64url.
    let largest = (limits::DEFAULT_MAX_SIZE - 3..=limits::DEFAULT_MAX_SIZE)
        .filter(|size| Token::parse(&of_size(*size)).is_ok());
    assert!(largest.count() >= 2);
    for text in [
        of_size(limits::DEFAULT_MAX_SIZE + 1),
        ".".repeat(100_000),
        "%".repeat(100_000),
    ] {
        assert_eq!(Token::parse(&text).unwrap_err(), Refusal::TooLarge);
    }
    assert!(Token::parse_up_to(20_000, &of_size(20_000)).is_ok());
}

#[test]
fn an_empty_text_is_as_if_absent() {
    for (part, name) in [
        ("header", "alg"),
        ("header", "kid"),
        ("claims", "iss"),
        ("claims", "jti"),
    ] {
        let refusal = with(part, name, Some(json!(""))).unwrap_err();
        assert_eq!(refusal, Refusal::Missing(name));
    }
}

#[test]
fn each_text_of_a_token_is_bounded() {
    let longest = "x".repeat(limits::MAX_TEXT_LENGTH);
    let longer = longest.clone() + "x";
    for (part, name) in [
        ("header", "kid"),
        ("claims", "iss"),
        ("claims", "jti"),
        ("claims", "aud"),
    ] {
        assert!(with(part, name, Some(json!(longest))).is_ok(), "{name}");
        let refusal = with(part, name, Some(json!(longer))).unwrap_err();
        let expected = limits::TEXT_LENGTH;
        assert_eq!(refusal, Refusal::WrongType { name, expected });
    }
    let list = |count: usize| with("claims", "aud", Some(json!(vec!["a"; count])));
    assert_eq!(
        list(limits::MAX_AUDIENCES)
            .unwrap()
            .claims()
            .audiences
            .len(),
        100
    );
    assert!(matches!(
        list(limits::MAX_AUDIENCES + 1).unwrap_err(),
        Refusal::WrongType { name: "aud", .. }
    ));
    let among_others = with("claims", "aud", Some(json!(["a", longer])));
    assert!(matches!(
        among_others.unwrap_err(),
        Refusal::WrongType { name: "aud", .. }
    ));
    // The texts that the refusals show.
    assert!(limits::TEXT_LENGTH.contains(&limits::MAX_TEXT_LENGTH.to_string()));
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
