use super::*;
use crate::{KeyError, PublicKey};
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

// Made with `openssl req -x509 -nodes -newkey rsa:2048 -subj /CN=localhost` and the commands that
// convert its key.
const CERTIFICATE_PEM: &str = include_str!("../../testdata/certificate.crt");
const TRUSTED_CERTIFICATE: &str = include_str!("../../testdata/certificate-trusted.crt");
const CERTIFICATE_TEXT: &str = include_str!("../../testdata/certificate-text.crt");
const SPKI: &str = include_str!("../../testdata/rsa.pub");
const PKCS1: &str = include_str!("../../testdata/rsa-pkcs1.pub");
const EC_SPKI: &str = include_str!("../../testdata/p256.pub");
const EC_SEC1: &str = include_str!("../../testdata/ec-sec1.key");
const EC_ENCRYPTED: &str = include_str!("../../testdata/ec-encrypted.key");
const EC_ENCRYPTED_PKCS8: &str = include_str!("../../testdata/ec-encrypted-pkcs8.key");
const EC_PKCS8: &str = include_str!("../../testdata/ec-pkcs8.key");

fn base64_of(pem: &str) -> String {
    let lines = pem.lines().filter(|line| !line.starts_with(DASHES));
    lines.collect()
}

fn with_lines_of(pem: &str, width: usize) -> String {
    let base64 = base64_of(pem);
    let lines: Vec<&str> = (base64.as_bytes().chunks(width))
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let (first, last) = (pem.lines().next(), pem.lines().last());
    format!(
        "{}\n{}\n{}",
        first.unwrap(),
        lines.join("\n"),
        last.unwrap()
    )
}

fn in_utf16(pem: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let units = format!("\u{feff}{pem}");
    units.encode_utf16().flat_map(unit).collect()
}

/// The same block in every way that people write one.
fn written(pem: &str) -> Vec<Vec<u8>> {
    let mut texts: Vec<Vec<u8>> = [1, 7, 32, 63, 64, 65, 76, 100, 10_000]
        .map(|width| with_lines_of(pem, width).into())
        .into();
    let one_line = with_lines_of(pem, 10_000);
    texts.extend(
        [
            pem.to_owned(),
            pem.replace('\n', "\r\n"),
            pem.replace('\n', "\r"),
            pem.replace('\n', "\n\n"),
            pem.replace('\n', " \t\n"),
            pem.replace('\n', "\n    "),
            pem.replace('\n', " "),
            pem.replace('\n', "\\n"),
            pem.replace('\n', "\\r\\n"),
            pem.trim_end().to_owned(),
            pem.replace('=', ""),
            one_line.replace('\n', ""),
            format!("\u{feff}{pem}"),
            format!("\n\n  {pem}"),
            format!("Bag Attributes\n    friendlyName: x\nsubject=CN = localhost\n{pem}the end"),
            format!("\"{}\",", pem.replace('\n', "\\n")),
            format!("# {} and what follows\n{pem}", "-----"),
        ]
        .map(Vec::from),
    );
    texts.push([b"caf\xe9\n", pem.as_bytes(), b"\xff\xff"].concat());
    texts.push(in_utf16(pem, u16::to_le_bytes));
    texts.push(in_utf16(pem, u16::to_be_bytes));
    texts
}

#[test]
fn a_public_key_is_read_however_it_is_written() {
    let expected = PublicKey::from_pem(SPKI).unwrap();
    for pem in [SPKI, PKCS1, CERTIFICATE_PEM, TRUSTED_CERTIFICATE] {
        for text in written(pem) {
            let key = PublicKey::from_pem(&text).unwrap_or_else(|error| {
                panic!("{error}: {}", String::from_utf8_lossy(&text));
            });
            assert_eq!(key.spki(), expected.spki());
        }
    }
    let key = PublicKey::from_pem(CERTIFICATE_TEXT).unwrap();
    assert_eq!(key.spki(), expected.spki());
}

#[test]
fn a_private_key_is_read_however_it_is_written() {
    for (pem, label) in [(EC_SEC1, EC_PRIVATE_KEY), (EC_PKCS8, PRIVATE_KEY)] {
        // Behind the parameters, which `openssl ecparam -genkey` writes first.
        let pem = pem.split_inclusive("-----END EC PARAMETERS-----\n");
        let pem = pem.last().unwrap();
        let der = private_key(pem.as_bytes()).unwrap();
        for text in written(pem) {
            assert_eq!(private_key(&text).as_ref(), Ok(&der));
        }
        assert_eq!(der.label(), label);
        assert_eq!(der.to_pem(), pem);
    }
    assert_eq!(
        private_key(EC_SEC1.as_bytes()).unwrap().label(),
        EC_PRIVATE_KEY
    );
}

#[test]
fn certificates_are_read_however_they_are_written() {
    let expected = certificates(CERTIFICATE_PEM.as_bytes()).unwrap();
    for text in written(CERTIFICATE_PEM) {
        assert_eq!(certificates(&text).as_ref(), Ok(&expected));
    }
    assert_eq!(expected[0].to_pem(), CERTIFICATE_PEM);
    for text in [TRUSTED_CERTIFICATE, CERTIFICATE_TEXT] {
        assert_eq!(certificates(text.as_bytes()).as_ref(), Ok(&expected));
    }
    let key_between = [CERTIFICATE_PEM, EC_SEC1, CERTIFICATE_TEXT].concat();
    let found = certificates(key_between.as_bytes()).unwrap();
    assert_eq!(found.len(), 2);
}

#[test]
fn of_several_blocks_the_first_that_was_asked_for_counts() {
    let all = [EC_SEC1, CERTIFICATE_PEM, EC_SPKI, SPKI].concat();
    let key = PublicKey::from_pem(&all).unwrap();
    assert_eq!(key.spki(), PublicKey::from_pem(EC_SPKI).unwrap().spki());
    assert_eq!(private_key(all.as_bytes()).unwrap().label(), EC_PRIVATE_KEY);
    assert_eq!(count_public_keys(all.as_bytes()), Ok(2));
    let twice = [SPKI, &with_lines_of(SPKI, 76)].join("\n");
    assert_eq!(count_public_keys(twice.as_bytes()), Ok(1));
    let encrypted_first = [EC_ENCRYPTED, EC_PKCS8].concat();
    assert_eq!(
        private_key(encrypted_first.as_bytes()).unwrap().label(),
        PRIVATE_KEY
    );
}

#[test]
fn mixed_up_labels_do_not_matter() {
    let expected = PublicKey::from_pem(SPKI).unwrap();
    let (spki, pkcs1) = (
        SPKI.replace("PUBLIC", "RSA PUBLIC"),
        PKCS1.replace("RSA PUBLIC", "PUBLIC"),
    );
    for pem in [spki, pkcs1] {
        assert_eq!(PublicKey::from_pem(pem).unwrap().spki(), expected.spki());
    }
    let pkcs8 = EC_PKCS8.replace("PRIVATE", "EC PRIVATE");
    assert_eq!(private_key(pkcs8.as_bytes()).unwrap().to_pem(), EC_PKCS8);
}

#[test]
fn what_is_something_else_is_named_with_the_way_out() {
    let public = |text: &str| PublicKey::from_pem(text).unwrap_err().to_string();
    let private = |text: &str| private_key(text.as_bytes()).unwrap_err().to_string();
    let certificate = |text: &str| certificates(text.as_bytes()).unwrap_err().to_string();
    for (error, words) in [
        (
            public(EC_SEC1),
            "found a block EC PARAMETERS, EC PRIVATE KEY, expected PEM with a PUBLIC",
        ),
        (public(EC_PKCS8), "openssl pkey -in FILE -pubout"),
        (public(""), "found nothing, expected"),
        (public(" \n"), "found nothing, expected"),
        (public("ssh-ed25519 AAAA me"), "ssh-keygen -e -m PKCS8"),
        (public("{\"kty\":\"RSA\"}"), "found JSON"),
        (public(&base64_of(SPKI)), "found base64 without its lines"),
        (public("hello"), "found no PEM"),
        (
            public("-----BEGIN PUBLIC KEY-----"),
            "PUBLIC KEY is cut off",
        ),
        (
            public("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"),
            "not base64",
        ),
        (
            private(SPKI),
            "found a block PUBLIC KEY, expected PEM with an unencrypted PRIVATE KEY",
        ),
        (private(EC_ENCRYPTED), "openssl pkey -in FILE -out"),
        (private(EC_ENCRYPTED_PKCS8), "openssl pkey -in FILE -out"),
        (
            private("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----"),
            "ssh-keygen -p -m PEM -f FILE",
        ),
        (
            certificate(EC_PKCS8),
            "found a block PRIVATE KEY, expected PEM with a CERTIFICATE",
        ),
        (
            certificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
            "damaged",
        ),
    ] {
        assert!(error.contains(words), "{words:?} is not in {error:?}");
    }
    let der = certificates(CERTIFICATE_PEM.as_bytes())
        .unwrap()
        .remove(0)
        .into_der();
    let error = certificates(&der).unwrap_err().to_string();
    assert!(error.contains("-inform DER"), "{error}");
}

/// Every byte of a key left out, every line, and other damage: an error or the same key.
#[test]
fn garbage_is_never_a_key() {
    let whole = PublicKey::from_pem(EC_SPKI).unwrap();
    for index in 0..EC_SPKI.len() {
        let (before, after) = EC_SPKI.split_at(index);
        for text in [
            before.to_owned(),
            format!("{before}{}", after.get(1..).unwrap()),
        ] {
            if let Ok(key) = PublicKey::from_pem(&text) {
                assert_eq!(key.spki(), whole.spki(), "{text}");
            }
        }
    }
    for (from, to) in [
        ("END PUBLIC", "END RSA PUBLIC"),
        ("BEGIN", "BEGUN"),
        ("\n-----END", "*\n-----END"),
    ] {
        assert!(
            PublicKey::from_pem(EC_SPKI.replace(from, to)).is_err(),
            "{from}"
        );
    }
    let cut = CERTIFICATE_PEM.replacen("MII", "MIIA", 1);
    assert!(PublicKey::from_pem(cut).is_err());
    let no_certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----";
    assert_eq!(
        PublicKey::from_pem(no_certificate).unwrap_err(),
        KeyError::Certificate
    );
}

#[test]
fn errors_and_debug_texts_show_nothing_of_a_key() {
    let secret = base64_of(EC_PKCS8);
    let start = secret.get(..10).unwrap();
    for text in [
        EC_PKCS8.replace("-----END", "-----ENDE"),
        EC_PKCS8.replace("PRIVATE KEY-----\n", "PRIVATE KEY\n"),
        format!("-----BEGIN {}-----", secret.get(..32).unwrap()),
        EC_PKCS8.replace(start, &format!("{start}*")),
        secret.clone(),
    ] {
        let error = private_key(text.as_bytes()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(start), "{error}");
    }
    let block = private_key(EC_PKCS8.as_bytes()).unwrap();
    assert_eq!(format!("{block:?}"), "Block { label: \"PRIVATE KEY\", .. }");
}
