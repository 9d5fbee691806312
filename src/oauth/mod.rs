//! The OAuth 2.1 client of an MCP server (2025-11-25 and 2026-07-28, basic/authorization), so that
//! MCP clients without a token of their own can connect through shadowcat.
//!
//! [`TokenManager`] holds the token and renews it; [`discovery`] finds the authorization server,
//! [`registration`] registers a client there, [`consent`] asks the person for authorization,
//! [`store`] saves tokens.

pub mod consent;
pub mod discovery;
mod exchange;
pub mod registration;
pub mod store;
mod tokens;
mod web;

pub use tokens::{LoginOptions, ShowText, TokenManager};
pub use web::{Web, WebError};

/// Error from obtaining a token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoginError {
    /// A request to the server or an authorization server failed.
    #[error(transparent)]
    Web(#[from] WebError),
    /// A document does not have the expected content.
    #[error("{document} at {url} is invalid: {why}")]
    Document {
        /// Name of the document, for the message.
        document: &'static str,
        /// URL of the document.
        url: String,
        /// Reason why it is rejected, as a clause.
        why: String,
    },
    /// No metadata of this authorization server was found.
    #[error("no metadata of the authorization server {0} was found")]
    NoMetadata(String),
    /// The metadata at the first URL is for the resource at the second, which does not cover the
    /// third, the URL of the MCP server.
    #[error("the metadata at {0} is for {1}, not for {2}")]
    OtherResource(String, String, String),
    /// The metadata of this authorization server does not list the PKCE method `S256`.
    #[error("the authorization server {0} does not say that it supports PKCE with S256")]
    NoPkce(String),
    /// The authorization server has no endpoint for dynamic client registration.
    #[error("the authorization server {0} does not support dynamic client registration")]
    NoRegistration(String),
    /// An answer to the authorization request cannot be attributed to it.
    #[error("the authorization response is not trusted: {0}")]
    Untrusted(String),
    /// The person or the authorization server refused, with this error.
    #[error("authorization was refused: {0}")]
    Refused(String),
    /// No answer to the authorization request arrived within this number of minutes.
    #[error("no authorization within {0} minutes")]
    Patience(u64),
    /// The token endpoint refused, or its answer is unusable.
    #[error("the token endpoint refused: {0}")]
    Token(String),
    /// No local port for the redirect could be opened.
    #[error("cannot listen for the redirect of the browser: {0}")]
    Listen(String),
    /// The directory of tokens cannot be read or written.
    #[error("cannot store tokens in {path}: {why}")]
    Store {
        /// Path of the directory or file.
        path: String,
        /// Error of the operating system.
        why: String,
    },
    /// The user has no home directory, and no other place is configured.
    #[error("tokens cannot be stored: this user has no home directory")]
    NoPlace,
    /// The server refuses the token that was just issued for it.
    #[error("the server refuses the token that was issued for it a moment ago")]
    Again,
    /// A client secret was given without the issuer that it is for.
    #[error("a client secret requires the issuer that it is for")]
    SecretForAnyone,
    /// The server names the first issuer, but only the second is allowed.
    #[error("the server uses the authorization server {0}, but only {1} is allowed")]
    OtherIssuer(String, String),
}

impl LoginError {
    /// Returns advice for the user on how to resolve the error.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoRegistration(_) => Some("set --client-id to a client registered there"),
            Self::SecretForAnyone => Some("set --issuer to its issuer identifier"),
            Self::OtherIssuer(..) => Some("set --issuer to the authorization server to trust"),
            Self::Store { .. } | Self::NoPlace => Some("set SHADOWCAT_DATA_DIR to another directory"),
            Self::NoPkce(_) => {
                Some("without PKCE a stolen code could be redeemed; the server must support it")
            }
            Self::Refused(_) => Some("request other scopes with --scope, or another client with --client-id"),
            _ => None,
        }
    }
}

/// Returns the text of a peer as one line that is safe to print to a terminal.
fn printable(text: &str) -> String {
    const MAX_CHARS: usize = 300;
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(MAX_CHARS).collect()
}
