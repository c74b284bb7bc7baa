//! `proxy_authentication`.

use super::super::file::read_secret;
use crate::proxy::Credentials;
use jwt_core::config::reader::{self, Section};

pub(super) fn credentials(section: &mut Section<'_>) -> Option<Option<Credentials>> {
    let field = section.field("proxy_authentication");
    if !field.is_present() {
        return Some(None);
    }
    field.section(read).map(Some)
}

/// Values are not shown in mistakes: they may be a password in the wrong place.
fn read(section: &mut Section<'_>) -> Option<Credentials> {
    let username = section.field("username").required(reader::text);
    let file = section.field("password_file");
    let direct = section.field("password");
    let password = match (direct.is_present(), file.is_present()) {
        (false, true) => file.required(|path| read_secret(path, one_line)),
        (true, false) => direct
            .required(|value| Ok(value.as_str().map(ToOwned::to_owned)))
            .flatten()
            .filter(|password| !password.is_empty()),
        _ => None,
    };
    let Some(password) = password else {
        section.mistake("expected a non-empty \"password\", in quotes, or else \"password_file\"");
        return None;
    };
    let credentials = Credentials::new(&username?, &password);
    if credentials.is_none() {
        section.mistake("username: expected a name without a colon");
    }
    credentials
}

/// An editor's line break at the end is no part of a password.
fn one_line(content: &[u8]) -> Result<String, &'static str> {
    let text = str::from_utf8(content).map_err(|_| "it is not UTF-8")?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err("it is empty"),
        password => Ok(password.to_owned()),
    }
}
