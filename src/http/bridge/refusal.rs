//! The words for a response that is no answer.

use http::header::{CONTENT_TYPE, LOCATION};
use http::response::Parts;
use http::{HeaderName, StatusCode};

use crate::mcp::{Id, Message, compose, json, layout};
use crate::transport::http::{Cleaner, ServerAddress};

/// A response that is no answer.
pub(super) struct Refusal<'a> {
    pub head: &'a Parts,
    pub body: &'a [u8],
    pub address: &'a ServerAddress,
    pub cleaner: &'a Cleaner,
}

impl Refusal<'_> {
    /// Returns the status, where a redirect leads, the type and the first line of the body, and the proxy.
    pub(super) fn text(&self) -> String {
        let mut text = format!("the server answered {}", self.head.status);
        if let Some(to) = self.header(LOCATION).filter(|_| self.head.status.is_redirection()) {
            text += &format!(" to {}; name that URL if it is the right one", self.cleaner.url(to));
        }
        match self.first_line() {
            Some(line) => {
                let kind = self.header(CONTENT_TYPE).map(|kind| format!(" ({kind})")).unwrap_or_default();
                text += &format!("{kind}: {line}");
            }
            None if self.head.status.is_success() => text += " without an answer",
            None => {}
        }
        if self.head.status == StatusCode::UNAUTHORIZED {
            text += "; --login or --header gives it a token";
        }
        if let Some(proxy) = &self.address.proxy {
            text += &format!(" (through the proxy {proxy} of the environment)");
        }
        text
    }

    /// Returns an error for request `id` with the code and data of an error that names no request, and with
    /// the status, which is all that tells such errors apart.
    pub(super) fn with_code_of(&self, error: &Message, id: &Id) -> bytes::Bytes {
        let code = error.outcome(&["code"]).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
        let message = format!("shadowcat: {}", self.text());
        let plain = compose::failure(Some(id), code.unwrap_or(compose::INTERNAL_ERROR), &message);
        match error.outcome(&["data"]) {
            // The data are kept as spelled.
            Some(data) => {
                let head = String::from_utf8_lossy(&plain[..plain.len() - 2]).into_owned();
                format!("{head},\"data\":{}}}}}", String::from_utf8_lossy(data)).into()
            }
            None => plain,
        }
    }

    /// Returns the message of an error of JSON-RPC, or the first line of the body that has any text.
    fn first_line(&self) -> Option<String> {
        const MAX_CHARS: usize = 200;
        let error = Message::parse(self.body.to_vec().into());
        let said = error.outcome(&["message"]).and_then(json::unescape).map(|said| said.into_owned());
        let text = said.unwrap_or_else(|| self.cleaner.json(&String::from_utf8_lossy(self.body)));
        let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        Some(line.chars().filter(|c| !layout::is_harmful(*c)).take(MAX_CHARS).collect())
    }

    fn header(&self, name: HeaderName) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }
}
