//! Being known to an authorization server: an id that the person was given, or one that the server
//! gives out itself (RFC 7591).

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::discovery::AuthorizationServer;
use super::{LoginError, Web};

/// Who we are to one authorization server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    pub client_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// How the token endpoint is told (RFC 7591, 2).
    #[serde(default = "unspecified")]
    pub token_endpoint_auth_method: String,
    /// Where the browser comes back to.
    #[serde(default)]
    pub redirect_uri: String,
}

/// RFC 7591, 2: what an answer that does not say means.
fn unspecified() -> String {
    "client_secret_basic".to_owned()
}

/// The ways to authenticate that we know, the ones without a secret first.
const METHODS: [&str; 3] = ["none", "client_secret_post", "client_secret_basic"];

impl Registration {
    /// The id that the person was given; a secret goes where the server takes it.
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
    /// The same with the secret that the person gave, which is not kept.
    #[must_use]
    pub fn with_secret(mut self, given: Option<&str>) -> Self {
        self.client_secret = self.client_secret.or_else(|| given.map(str::to_owned));
        self
    }

    /// The same without the secret that the person gave.
    #[must_use]
    pub fn without_secret(mut self, given: Option<&str>) -> Self {
        self.client_secret = self.client_secret.filter(|secret| Some(secret.as_str()) != given);
        self
    }
}

/// Asks the server for an id.
///
/// # Errors
/// When it gives none.
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
        // 2026-07-28, client registration: servers bind loopback redirects to it.
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
