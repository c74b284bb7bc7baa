//! `keyregistry-mock approve`: an approval is of a key, not of its name.

use super::KeyArgs;
use super::admin::query;
use super::table::{print, printable, text};
use crate::command::Failure;
use axum::http::Method;
use serde_json::Value;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// Shows the key; approves it if it has this thumbprint, or if the person at the terminal says so.
/// The registry compares the thumbprint again: what was shown is what is approved.
pub(super) async fn run(key: &KeyArgs, thumbprint: Option<String>) -> Result<(), Failure> {
    let shown = key.ask(Method::GET, "").await?;
    let shown: Value = serde_json::from_str(&shown).unwrap_or_default();
    let member = |name| printable(&text(&shown, name));
    for name in ["service", "kid", "state", "expires", "source", "age"] {
        print(&format!("{name:<11}{}", member(name)));
    }
    let key_type = shown.get("jwk").map(|jwk| text(jwk, "kty"));
    let key_type = printable(&key_type.unwrap_or_default());
    print(&format!("{:<11}{key_type}", "type"));
    print(&format!("{:<11}{}", "thumbprint", member("thumbprint")));
    let thumbprint = match thumbprint {
        Some(thumbprint) => thumbprint,
        None => {
            confirm()?;
            text(&shown, "thumbprint")
        }
    };
    let terms = query(&[("thumbprint", Some(thumbprint))]);
    key.ask(Method::POST, &format!("/approve?{terms}")).await?;
    print("approved");
    Ok(())
}

fn confirm() -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::Unconfirmed(
            "give --thumbprint, the thumbprint that the signer's log says: anyone can publish a \
             key under any id",
        ));
    }
    let question = "Is this the thumbprint that the signer's log says? Approve it? [y/N] ";
    let _ = write!(std::io::stdout(), "{question}");
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" if read.is_ok() => Ok(()),
        _ => Err(Failure::Unconfirmed("not approved")),
    }
}
