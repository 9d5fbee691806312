//! Being the OAuth 2.1 client of a server (2025-11-25 and 2026-07-28, basic/authorization), so that
//! clients without a token of their own can go through us.
//!
//! [`TokenManager`] has the token and renews it; [`discovery`] finds who issues it, [`registration`] makes
//! us known there, [`consent`] asks the person, [`store`] remembers.

pub mod consent;
pub mod discovery;
mod exchange;
pub mod registration;
pub mod store;
mod tokens;
mod web;

pub use tokens::{Options, Tell, TokenManager};
pub use web::{Web, WebError};

/// Why there is no token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoginError {
    #[error(transparent)]
    Web(#[from] WebError),
    #[error("{document} at {url} is not what it should be: {why}")]
    Document { document: &'static str, url: String, why: String },
    #[error("no metadata of the authorization server {0} was found")]
    NoMetadata(String),
    #[error("{0} issues tokens for {1}, not for {2}")]
    OtherResource(String, String, String),
    #[error("the authorization server {0} does not say that it supports PKCE with S256")]
    NoPkce(String),
    #[error("the authorization server {0} registers no clients by itself")]
    NoRegistration(String),
    #[error("the answer to the authorization is not to be trusted: {0}")]
    Untrusted(String),
    #[error("authorization was refused: {0}")]
    Refused(String),
    #[error("nobody authorized within {0} minutes")]
    Patience(u64),
    #[error("the token endpoint refused: {0}")]
    Token(String),
    #[error("cannot listen for the answer of the browser: {0}")]
    Listen(String),
    #[error("cannot keep tokens in {path}: {why}")]
    Store { path: String, why: String },
    #[error("there is no place to keep tokens in: this user has no home directory")]
    NoPlace,
    #[error("the server refuses the token that was issued for it a moment ago")]
    Again,
    #[error("a client secret is for one authorization server, and none is named")]
    SecretForAnyone,
    #[error("the server names the authorization server {0}, and only {1} may be logged in at")]
    OtherIssuer(String, String),
}

impl LoginError {
    /// What to do next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoRegistration(_) => Some("--client-id names a client that it knows"),
            Self::SecretForAnyone => Some("--issuer names it, as its metadata does"),
            Self::OtherIssuer(..) => Some("--issuer names the one to trust"),
            Self::Store { .. } | Self::NoPlace => Some("SHADOWCAT_DATA_DIR names another place"),
            Self::NoPkce(_) => {
                Some("without PKCE the answer could be anybody's; the server has to be mended")
            }
            Self::Refused(_) => Some("--scope asks for more, --client-id asks as another client"),
            _ => None,
        }
    }
}

/// What a peer said, as a line that a terminal can be shown.
fn printable(text: &str) -> String {
    const MAX_CHARS: usize = 300;
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(MAX_CHARS).collect()
}
