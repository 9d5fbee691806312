//! Client registration at an authorization server: an id that the person was given, or one that the
//! server assigns on request (RFC 7591).

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::discovery::AuthorizationServer;
use super::{LoginError, Web};

/// Identity of shadowcat at one authorization server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Client id.
    pub client_id: String,
    /// Client secret; `None` for a public client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// Authentication method at the token endpoint (RFC 7591, 2).
    #[serde(default = "unspecified")]
    pub token_endpoint_auth_method: String,
    /// Redirect URI, to which the authorization server sends the browser back.
    #[serde(default)]
    pub redirect_uri: String,
}

/// Returns the method that an answer without one stands for (RFC 7591, 2).
fn unspecified() -> String {
    "client_secret_basic".to_owned()
}

/// Supported authentication methods, in order of preference: the one without a secret first.
const METHODS: [&str; 3] = ["none", "client_secret_post", "client_secret_basic"];

impl Registration {
    /// Creates the registration for an id that the person was given. A secret is sent in the
    /// request body if the server supports only that, else as HTTP Basic authentication.
    pub fn given(
        client_id: &str,
        client_secret: Option<&str>,
        server: &AuthorizationServer,
        redirect_uri: &str,
    ) -> Self {
        let methods = server.token_endpoint_auth_methods_supported.as_deref().unwrap_or_default();
        let posts = methods.iter().any(|method| method == METHODS[1])
            && !methods.iter().any(|method| method == METHODS[2]);
        let method = match (client_secret, posts) {
            (None, _) => METHODS[0],
            (Some(_), true) => METHODS[1],
            (Some(_), false) => METHODS[2],
        };
        Self {
            client_id: client_id.to_owned(),
            client_secret: client_secret.map(str::to_owned),
            token_endpoint_auth_method: method.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
        }
    }
}

impl Registration {
    /// Adds the secret that the person gave, which is not stored, if there is none.
    #[must_use]
    pub fn with_secret(mut self, given: Option<&str>) -> Self {
        self.client_secret = self.client_secret.or_else(|| given.map(str::to_owned));
        self
    }

    /// Removes the secret if it is the one that the person gave.
    #[must_use]
    pub fn without_secret(mut self, given: Option<&str>) -> Self {
        self.client_secret = self.client_secret.filter(|secret| Some(secret.as_str()) != given);
        self
    }
}

/// Registers shadowcat at an authorization server (RFC 7591).
///
/// # Errors
/// If the server has no registration endpoint, or if it refuses or its answer is invalid.
pub async fn register(
    web: &Web,
    server: &AuthorizationServer,
    redirect_uri: &str,
    scope: Option<&str>,
) -> Result<Registration, LoginError> {
    let endpoint = server.registration_endpoint.as_deref();
    let endpoint = endpoint.ok_or_else(|| LoginError::NoRegistration(server.issuer.clone()))?;
    let supported = server.token_endpoint_auth_methods_supported.as_deref();
    let takes = |method: &&str| supported.is_none_or(|all| all.iter().any(|each| each == *method));
    let method = METHODS.into_iter().find(takes).unwrap_or(METHODS[0]);
    let mut asked = json!({
        "client_name": "Shadowcat",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        // 2026-07-28, client registration: servers accept loopback redirects only from native
        // clients.
        "application_type": "native",
    });
    if let Some(scope) = scope {
        asked["scope"] = scope.into();
    }
    let mut request = http::Request::new(asked.to_string().into_bytes());
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = endpoint.parse().map_err(|_| super::WebError::NoUrl(endpoint.to_owned()))?;
    let json = http::HeaderValue::from_static("application/json");
    request.headers_mut().insert(http::header::CONTENT_TYPE, json.clone());
    request.headers_mut().insert(http::header::ACCEPT, json);
    let answer = web.send(request).await?;
    let wrong = |why: String| LoginError::Document {
        document: "the answer of the registration endpoint",
        url: endpoint.to_owned(),
        why,
    };
    if !(200..300).contains(&answer.status) {
        let said = super::printable(&String::from_utf8_lossy(&answer.body));
        return Err(wrong(format!("status {}: {said}", answer.status)));
    }
    let mut registration: Registration =
        serde_json::from_slice(&answer.body).map_err(|error| wrong(error.to_string()))?;
    redirect_uri.clone_into(&mut registration.redirect_uri);
    if registration.client_secret.is_none() {
        METHODS[0].clone_into(&mut registration.token_endpoint_auth_method);
    }
    Ok(registration)
}
