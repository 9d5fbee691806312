//! Discovery of the authorization server: RFC 9728 (the MCP server names its authorization
//! servers), then RFC 8414 or OpenID Connect Discovery (the authorization server names its
//! endpoints).

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use http_auth::parser::ChallengeParser;
use serde::Deserialize;
use url::Url;

use super::web::{WebError, allowed_by};
use super::{LoginError, Web};

/// The `Bearer` challenge of a server that requires a token (RFC 6750, 3; RFC 9728, 5.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Challenge {
    /// URL of the protected resource metadata (RFC 9728, 5.1).
    pub resource_metadata: Option<String>,
    /// Scopes that the request requires, separated by spaces.
    pub scope: Option<String>,
    /// Error code, e.g. `insufficient_scope` (RFC 6750, 3.1).
    pub error: Option<String>,
}

/// Result of discovery: the authorization server, and the resource that tokens are for.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// Resource that tokens are requested for (RFC 8707).
    pub resource: String,
    /// Scopes that the MCP server lists; `None` without metadata.
    pub scopes: Option<Vec<String>>,
    /// Authorization server that issues the tokens.
    pub server: AuthorizationServer,
}

/// Metadata of an authorization server (RFC 8414, 2): the fields in use.
#[derive(Debug, Clone, Deserialize)]
pub struct AuthorizationServer {
    /// Issuer identifier: a URL.
    pub issuer: String,
    /// The name by which the MCP server, or the user, called this issuer, if it differs by a slash at the end.
    #[serde(skip)]
    pub called: Option<String>,
    /// URL of the page that asks the person for authorization.
    pub authorization_endpoint: String,
    /// URL at which codes and refresh tokens are exchanged for tokens.
    pub token_endpoint: String,
    /// URL of dynamic client registration (RFC 7591), if the server supports it.
    pub registration_endpoint: Option<String>,
    /// Scopes that can be requested; may be incomplete.
    #[serde(default)]
    pub scopes_supported: Vec<String>,
    /// Methods of client authentication at the token endpoint; `None` if the server lists none.
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// PKCE methods (RFC 7636).
    #[serde(default)]
    pub code_challenge_methods_supported: Vec<String>,
    /// `true` if authorization responses name the issuer in `iss` (RFC 9207).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

/// Metadata of a protected resource (RFC 9728, 2): the fields in use.
#[derive(Debug, Deserialize)]
struct ResourceMetadata {
    resource: String,
    #[serde(default)]
    authorization_servers: Vec<String>,
    scopes_supported: Option<Vec<String>>,
}

impl Challenge {
    /// Returns the `Bearer` challenge in the headers of a response; `None` if there is none.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenges = values.flat_map(|value| ChallengeParser::new(value).flatten().collect::<Vec<_>>());
        let bearer = challenges.into_iter().find(|each| each.scheme.eq_ignore_ascii_case("bearer"))?;
        let parameter = |name: &str| {
            let found = bearer.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        Some(Self {
            resource_metadata: parameter("resource_metadata"),
            scope: parameter("scope"),
            error: parameter("error"),
        })
    }
}

/// Finds the authorization server of the MCP server at `url`.
///
/// # Errors
/// [`LoginError`] if a request fails or is not allowed, if metadata is for another resource or
/// issuer, or if the authorization server that the MCP server names has none.
pub async fn discover(web: &Web, url: &Url, challenge: &Challenge) -> Result<Discovery, LoginError> {
    for place in resource_places(url, challenge) {
        allowed_by(&place, url)?;
        let Some(metadata) = document::<ResourceMetadata>(web, &place).await? else { continue };
        covers(&metadata.resource, url).then_some(()).ok_or_else(|| {
            LoginError::OtherResource(place.clone(), metadata.resource.clone(), url.to_string())
        })?;
        // Metadata without this list means that the MCP server is its own authorization server
        // (2025-03-26).
        let issuer = metadata.authorization_servers.first().cloned().unwrap_or_else(|| origin(url));
        let server = authorization_server(web, &issuer, url).await?;
        let server = server.ok_or_else(|| LoginError::NoMetadata(issuer.clone()))?;
        return Ok(Discovery { resource: metadata.resource, scopes: metadata.scopes_supported, server });
    }
    // Up to 2025-03-26 an MCP server is its own authorization server, and its endpoints may be at
    // fixed paths (2025-03-26, basic/authorization, fallbacks).
    let issuer = origin(url);
    let server = match authorization_server(web, &issuer, url).await? {
        Some(server) => server,
        None => AuthorizationServer {
            called: None,
            authorization_endpoint: format!("{issuer}/authorize"),
            token_endpoint: format!("{issuer}/token"),
            registration_endpoint: Some(format!("{issuer}/register")),
            issuer,
            scopes_supported: Vec::new(),
            token_endpoint_auth_methods_supported: None,
            code_challenge_methods_supported: vec!["S256".to_owned()],
            authorization_response_iss_parameter_supported: false,
        },
    };
    Ok(Discovery { resource: canonical(url), scopes: None, server })
}

/// Returns the URLs at which the metadata of a resource may be, in the order to try (2025-11-25,
/// authorization server discovery).
fn resource_places(url: &Url, challenge: &Challenge) -> Vec<String> {
    let root = format!("{}/.well-known/oauth-protected-resource", origin(url));
    let path = url.path().trim_end_matches('/');
    let mut places: Vec<String> = challenge.resource_metadata.iter().cloned().collect();
    if !path.is_empty() {
        places.push(format!("{root}{path}"));
    }
    places.push(root);
    places
}

/// Returns the URLs at which the metadata of an issuer may be, in the order to try (2025-11-25,
/// authorization server metadata discovery).
fn issuer_places(issuer: &Url) -> Vec<String> {
    let root = origin(issuer);
    let path = issuer.path().trim_end_matches('/');
    let mut places = vec![
        format!("{root}/.well-known/oauth-authorization-server{path}"),
        format!("{root}/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        places.push(format!("{root}{path}/.well-known/openid-configuration"));
    }
    places
}

/// Returns `true` if two issuers are one: many servers and configurations differ by a slash at the end, which
/// names no other server.
pub fn same_issuer(a: &str, b: &str) -> bool {
    let name = |issuer: &'_ str| issuer.strip_suffix('/').unwrap_or(issuer).to_owned();
    name(a) == name(b)
}

async fn authorization_server(
    web: &Web,
    issuer: &str,
    by: &Url,
) -> Result<Option<AuthorizationServer>, LoginError> {
    let url = allowed_by(issuer, by)?;
    for place in issuer_places(&url) {
        let Some(mut server) = document::<AuthorizationServer>(web, &place).await? else { continue };
        // Metadata of another issuer must not be used: a third party may have put it there (RFC
        // 8414, 3.3).
        if !same_issuer(&server.issuer, issuer) {
            return Err(LoginError::Document {
                document: "the metadata of the authorization server",
                url: place,
                why: format!("it names the issuer {}, expected {issuer}", server.issuer),
            });
        }
        server.called = Some(issuer.to_owned()).filter(|called| *called != server.issuer);
        for endpoint in [&server.authorization_endpoint, &server.token_endpoint] {
            allowed_by(endpoint, by)?;
        }
        return Ok(Some(server));
    }
    Ok(None)
}

/// Fetches a JSON document. Returns `None` if there is none, or if the answer is something else,
/// such as the page that some sites send for every path.
async fn document<T: serde::de::DeserializeOwned>(web: &Web, url: &str) -> Result<Option<T>, LoginError> {
    let answer = web.get(url).await?;
    match answer.status {
        200..300 => Ok(serde_json::from_slice(&answer.body).ok()),
        // A busy or failing server may still have the document: continuing without it would mean
        // asking another server.
        429 | 500.. => Err(WebError::Status { url: url.to_owned(), status: answer.status }.into()),
        _ => Ok(None),
    }
}

/// Returns `true` if a token for `resource` is valid for `url`: for the same path or one below it.
pub fn covers(resource: &str, url: &Url) -> bool {
    let Ok(resource) = Url::parse(resource) else { return false };
    let (above, below) = (resource.path().trim_end_matches('/'), url.path().trim_end_matches('/'));
    let inside = below.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    resource.origin() == url.origin() && inside
}

/// Returns a URL in the form of a resource identifier: absolute, without a fragment (RFC 8707, 2).
fn canonical(url: &Url) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    let text = url.to_string();
    match url.path() {
        "/" => text.trim_end_matches('/').to_owned(),
        _ => text,
    }
}

/// Returns scheme, host and port of a URL.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_challenge_is_read_among_others() {
        let value = r#"Basic realm="x", Bearer error="invalid_token", resource_metadata="https://a.example/w?x=\"1\"", scope="a b""#;
        let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, value.parse().unwrap())]);
        let challenge = Challenge::of(&headers).unwrap();
        assert_eq!(challenge.resource_metadata.as_deref(), Some(r#"https://a.example/w?x="1""#));
        assert_eq!(
            (challenge.scope.as_deref(), challenge.error.as_deref()),
            (Some("a b"), Some("invalid_token"))
        );
        assert_eq!(Challenge::of(&HeaderMap::new()), None);
    }

    #[test]
    fn places_are_looked_at_in_the_order_of_the_specification() {
        let root = "https://a.example/.well-known";
        assert_eq!(
            resource_places(&url("https://a.example/deep/mcp"), &Challenge::default()),
            [format!("{root}/oauth-protected-resource/deep/mcp"), format!("{root}/oauth-protected-resource")]
        );
        assert_eq!(
            issuer_places(&url("https://a.example/t1")),
            [
                format!("{root}/oauth-authorization-server/t1"),
                format!("{root}/openid-configuration/t1"),
                "https://a.example/t1/.well-known/openid-configuration".to_owned(),
            ]
        );
    }

    #[test]
    fn a_token_for_another_place_is_none_for_this() {
        let here = url("https://a.example/v1/mcp");
        for fine in ["https://a.example/v1/mcp", "https://a.example", "https://A.example:443/v1/"] {
            assert!(covers(fine, &here), "{fine}");
        }
        for other in ["https://b.example/v1/mcp", "https://a.example/v1/m", "http://a.example/v1/mcp", "x"] {
            assert!(!covers(other, &here), "{other}");
        }
    }
}
