//! PEM (RFC 7468), the one way to it: for public keys, private keys and certificates, in files and
//! in configurations.
//!
//! RFC 7468 §3 lets a parser be lax, and OpenSSL, Go, Java and Python all are, each in its own way.
//! Their users have lines of any width, everything on one line, blank lines, CRLF, a byte order
//! mark, UTF-16 from PowerShell, text around the blocks and several blocks in one file. Such files
//! are read here; [`Block::to_pem`] writes them for readers that are stricter.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// A decoded block of the kind that was asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    label: &'static str,
    der: Vec<u8>,
}

/// What a reader of PEM wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A public key, or a certificate with one.
    PublicKey,
    /// A private key that is not encrypted.
    PrivateKey,
    /// One certificate or more.
    Certificate,
}

/// Why a text holds no block of the kind that was asked for. Of the text, errors show labels alone:
/// the rest may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PemError {
    /// There is no PEM at all.
    #[error("found {0}, expected {1}")]
    NoBlock(&'static str, Wanted),
    /// There is PEM, but not of this kind.
    #[error("found a block {found}, expected {wanted}{hint}", hint = hint(found, *wanted))]
    OtherBlock {
        /// The labels that are there.
        found: String,
        /// The kind that was asked for.
        wanted: Wanted,
    },
    /// A block of the kind is cut off.
    #[error("the block {0} is cut off: there is no \"-----END {0}-----\" after it")]
    NoEnd(String),
    /// What stands between the two lines is not base64.
    #[error("the block {0} is damaged: what it holds is not base64")]
    NotBase64(String),
    /// What stands between the two lines is not what the label says.
    #[error("the block {0} is damaged: what it holds is no such thing")]
    Damaged(String),
    /// The private key needs a passphrase.
    #[error(
        "the private key is encrypted; write a decrypted copy with `openssl pkey -in FILE -out \
         DECRYPTED`"
    )]
    Encrypted,
}

/// The public key: the first block PUBLIC KEY (SubjectPublicKeyInfo) or RSA PUBLIC KEY (PKCS#1),
/// and where there is none, the first CERTIFICATE.
pub fn public_key(text: &[u8]) -> Result<Block, PemError> {
    let text = decoded(text);
    let mut blocks = public_keys(&text)?;
    if blocks.is_empty() {
        blocks = certificate_blocks(&text)?;
    }
    let first = blocks.into_iter().next();
    first.ok_or_else(|| missing(&text, Wanted::PublicKey))
}

/// How many different public keys there are, certificates apart.
pub fn count_public_keys(text: &[u8]) -> Result<usize, PemError> {
    let mut found = Vec::new();
    for block in public_keys(&decoded(text))? {
        if !found.contains(&block.der) {
            found.push(block.der);
        }
    }
    Ok(found.len())
}

/// The first private key: PKCS#8, PKCS#1 or SEC1. What it is, its content says; the label of the
/// block returned is the one that belongs to it.
pub fn private_key(text: &[u8]) -> Result<Block, PemError> {
    let text = decoded(text);
    let mut encrypted = false;
    for raw in raw_blocks(&text) {
        match raw.label {
            ENCRYPTED_PRIVATE_KEY => encrypted = true,
            PRIVATE_KEY | RSA_PRIVATE_KEY | EC_PRIVATE_KEY if raw.is_encrypted() => {
                encrypted = true;
            }
            PRIVATE_KEY | RSA_PRIVATE_KEY | EC_PRIVATE_KEY => {
                let der = raw.der()?;
                let damaged = || PemError::Damaged(raw.label.to_owned());
                let label = private_key_label(&der).ok_or_else(damaged)?;
                return Ok(Block { label, der });
            }
            _ => {}
        }
    }
    match encrypted {
        true => Err(PemError::Encrypted),
        false => Err(missing(&text, Wanted::PrivateKey)),
    }
}

/// Whether there is a private key, encrypted or not, whatever its condition.
pub fn has_private_key(text: &[u8]) -> bool {
    raw_blocks(&decoded(text)).any(|raw| raw.label.ends_with(PRIVATE_KEY))
}

/// All certificates, in their order; at least one. Whether they are sound is not checked.
pub fn certificates(text: &[u8]) -> Result<Vec<Block>, PemError> {
    let text = decoded(text);
    let found = certificate_blocks(&text)?;
    match found.is_empty() {
        true => Err(missing(&text, Wanted::Certificate)),
        false => Ok(found),
    }
}

/// The bytes of a file as text, if it looks like PEM at all.
pub fn as_text(file: &[u8]) -> Option<Cow<'_, str>> {
    Some(decoded(file)).filter(|text| text.contains(BEGIN))
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

const PUBLIC_KEY: &str = "PUBLIC KEY";
const RSA_PUBLIC_KEY: &str = "RSA PUBLIC KEY";
const CERTIFICATE: &str = "CERTIFICATE";
const PRIVATE_KEY: &str = "PRIVATE KEY";
const RSA_PRIVATE_KEY: &str = "RSA PRIVATE KEY";
const EC_PRIVATE_KEY: &str = "EC PRIVATE KEY";
const ENCRYPTED_PRIVATE_KEY: &str = "ENCRYPTED PRIVATE KEY";

/// Padding may be missing, as when a text was cut at its `=`.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Block {
    /// A SubjectPublicKeyInfo.
    pub(crate) fn public_key(der: Vec<u8>) -> Self {
        let label = PUBLIC_KEY;
        Self { label, der }
    }

    /// What kind of block it is, in the words of RFC 7468.
    pub fn label(&self) -> &'static str {
        self.label
    }

    /// Its content.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its content, alone.
    pub fn into_der(self) -> Vec<u8> {
        self.der
    }

    /// The block as RFC 7468 §2 wants it written, with lines of 64 characters.
    pub fn to_pem(&self) -> String {
        const WIDTH: usize = 64;
        let label = self.label;
        let base64 = BASE64.encode(&self.der);
        let mut text = format!("{BEGIN}{label}{DASHES}\n");
        let mut rest = base64.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at_checked(WIDTH).unwrap_or((rest, ""));
            text.push_str(line);
            text.push('\n');
            rest = after;
        }
        text + END + label + DASHES + "\n"
    }
}

/// Never the content, which may be a private key.
impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Block");
        shown.field("label", &self.label).finish_non_exhaustive()
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PublicKey => "PEM with a PUBLIC KEY, an RSA PUBLIC KEY or a CERTIFICATE",
            Self::PrivateKey => {
                "PEM with an unencrypted PRIVATE KEY (PKCS#8), RSA PRIVATE KEY (PKCS#1) or EC \
                 PRIVATE KEY (SEC1)"
            }
            Self::Certificate => "PEM with a CERTIFICATE",
        })
    }
}

/// A block as it stands in the text.
struct Raw<'a> {
    label: &'a str,
    /// `None` where the END line is missing.
    body: Option<&'a str>,
}

impl Raw<'_> {
    /// RFC 1421 §4.6: header fields inside the block; OpenSSL encrypts "traditional" keys so.
    fn is_encrypted(&self) -> bool {
        let mut lines = self.body.unwrap_or_default().lines();
        lines.any(|line| line.contains(':') && line.contains("ENCRYPTED"))
    }

    fn der(&self) -> Result<Vec<u8>, PemError> {
        let label = || self.label.to_owned();
        let body = self.body.ok_or_else(|| PemError::NoEnd(label()))?;
        // Line breaks that became `\n`, when the text was quoted somewhere, are still line breaks.
        let body = body
            .replace("\\r", "\r")
            .replace("\\n", "\n")
            .replace("\\t", "\t");
        let lines = body.lines().filter(|line| !line.contains(':'));
        let base64: String = lines.flat_map(str::split_whitespace).collect();
        match BASE64.decode(base64) {
            Ok(der) if !der.is_empty() => Ok(der),
            _ => Err(PemError::NotBase64(label())),
        }
    }
}

/// The blocks in their order. RFC 7468 §2: "Data before the encapsulation boundaries are
/// permitted, and parsers MUST NOT malfunction when processing such data."
fn raw_blocks(text: &str) -> impl Iterator<Item = Raw<'_>> {
    // The text before the first BEGIN is not part of a block; each block ends before the next one.
    text.split(BEGIN).skip(1).filter_map(|block| {
        let (label, rest) = block.split_once(DASHES)?;
        // Nothing that could be base64: labels are shown in errors.
        let in_label = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || " #".contains(c);
        let is_label = label.len() <= 40 && label.chars().all(in_label);
        let end = format!("{END}{label}{DASHES}");
        let body = rest.split_once(&end).map(|(body, _)| body);
        is_label.then_some(Raw { label, body })
    })
}

fn public_keys(text: &str) -> Result<Vec<Block>, PemError> {
    raw_blocks(text)
        .filter_map(|raw| {
            let label = match raw.label {
                PUBLIC_KEY => PUBLIC_KEY,
                RSA_PUBLIC_KEY => RSA_PUBLIC_KEY,
                _ => return None,
            };
            Some(raw.der().map(|der| Block { label, der }))
        })
        .collect()
}

fn certificate_blocks(text: &str) -> Result<Vec<Block>, PemError> {
    raw_blocks(text)
        .filter_map(|raw| {
            // The older names are OpenSSL's. A trusted certificate has the purposes it is trusted
            // for behind it.
            let is_ours = [CERTIFICATE, "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];
            if !is_ours.contains(&raw.label) {
                return None;
            }
            let damaged = || PemError::Damaged(raw.label.to_owned());
            let der = raw.der().and_then(|mut der| {
                let length = element_length(&der).ok_or_else(damaged)?;
                if raw.label == "TRUSTED CERTIFICATE" {
                    der.truncate(length);
                }
                Ok(der)
            });
            let label = CERTIFICATE;
            Some(der.map(|der| Block { label, der }))
        })
        .collect()
}

/// The length of the ASN.1 SEQUENCE at the start, its header included (X.690 §8.1.3).
fn element_length(der: &[u8]) -> Option<usize> {
    let (header, content) = match der {
        [0x30, short @ 0..=0x7f, ..] => (2, usize::from(*short)),
        [0x30, 0x81, a, ..] => (3, usize::from(*a)),
        [0x30, 0x82, a, b, ..] => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        [0x30, 0x83, a, b, c, ..] => (5, u32::from_be_bytes([0, *a, *b, *c]).try_into().ok()?),
        _ => return None,
    };
    (header + content <= der.len()).then_some(header + content)
}

/// All three begin with a version; then comes in PKCS#8 (RFC 5958 §2) a sequence, in PKCS#1
/// (RFC 8017 §A.1.2) the modulus, in SEC1 (RFC 5915 §3) an octet string.
fn private_key_label(der: &[u8]) -> Option<&'static str> {
    let header = match der.get(1)? {
        0..=0x7f => 2,
        0x81 => 3,
        _ => 4,
    };
    element_length(der)?;
    match der.get(header..)? {
        [2, 1, _, 0x30, ..] => Some(PRIVATE_KEY),
        [2, 1, _, 0x02, ..] => Some(RSA_PRIVATE_KEY),
        [2, 1, _, 0x04, ..] => Some(EC_PRIVATE_KEY),
        _ => None,
    }
}

/// As text. What is around the blocks may be in any encoding; the blocks are ASCII, unless a
/// Windows shell wrote all of it in UTF-16.
fn decoded(text: &[u8]) -> Cow<'_, str> {
    let from_utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.as_chunks().0.iter().map(|pair| unit(*pair));
        char::decode_utf16(units)
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect::<String>()
    };
    match text {
        [0xff, 0xfe, rest @ ..] => from_utf16(rest, u16::from_le_bytes).into(),
        [0xfe, 0xff, rest @ ..] => from_utf16(rest, u16::from_be_bytes).into(),
        _ => String::from_utf8_lossy(text),
    }
}

fn missing(text: &str, wanted: Wanted) -> PemError {
    let mut labels: Vec<&str> = raw_blocks(text).map(|raw| raw.label).collect();
    labels.dedup();
    if !labels.is_empty() {
        labels.truncate(4);
        let found = labels.join(", ");
        return PemError::OtherBlock { found, wanted };
    }
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let found = match start {
        "" => "nothing",
        _ if start.starts_with("ssh-") || start.starts_with("ecdsa-") => {
            "an OpenSSH public key (`ssh-keygen -e -m PKCS8 -f FILE` writes it as PEM)"
        }
        _ if start.starts_with("---- BEGIN SSH2") => {
            "an SSH2 public key (`ssh-keygen -i -m RFC4716 -f FILE` and then `ssh-keygen -e -m \
             PKCS8 -f FILE` write it as PEM)"
        }
        _ if start.starts_with('{') => "JSON",
        _ if start.starts_with('0') && text.contains(char::REPLACEMENT_CHARACTER) => {
            "DER (the openssl commands pkey, rsa and x509 read it with -inform DER and write PEM)"
        }
        _ if start.starts_with("MI") => "base64 without its lines -----BEGIN and -----END",
        _ => "no PEM",
    };
    PemError::NoBlock(found, wanted)
}

/// What to do about blocks that are often found in the place of another.
fn hint(found: &str, wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::PrivateKey if found == "OPENSSH PRIVATE KEY" => {
            " (`ssh-keygen -p -m PEM -f FILE` rewrites it)"
        }
        Wanted::PublicKey if found.ends_with(PRIVATE_KEY) => {
            " (`openssl pkey -in FILE -pubout` writes the public key of a private key)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests;
