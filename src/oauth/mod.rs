//! Being the OAuth 2.1 client of a server (2025-11-25 and 2026-07-28, basic/authorization), so that
//! clients without a token of their own can go through us.
//!
//! [`Keeper`] has the token and renews it; [`discovery`] finds who issues it, [`registration`] makes
//! us known there, [`consent`] asks the person, [`store`] remembers.

pub mod consent;
pub mod discovery;
mod keeper;
pub mod registration;
pub mod store;
mod web;

pub use keeper::{Keeper, Options, Tell};
pub use web::{Web, WebError};

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
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
    Listen(std::io::Error),
    #[error("cannot keep tokens in {path}: {source}")]
    Store { path: String, source: std::io::Error },
    #[error("the server asked for a token that it was given already: {0}")]
    Again(String),
}
