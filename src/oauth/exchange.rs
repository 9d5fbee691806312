//! Requests to the endpoints of an authorization server, made with the oauth2 crate over the HTTP
//! client of [`Web`].

use std::pin::Pin;
use std::time::Duration;

use oauth2::basic::{BasicClient, BasicErrorResponse, BasicTokenResponse, BasicTokenType};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken,
    RequestTokenError, Scope, TokenResponse, TokenUrl,
};
use url::Url;

use super::discovery::Discovery;
use super::registration::Registration;
use super::{LoginError, Web, WebError, printable};

/// A successful token response.
pub struct Grant {
    /// Access token; valid as the value of an HTTP header.
    pub access: String,
    /// Refresh token, if the server issued one.
    pub refresh: Option<String>,
    /// Lifetime of the access token; `None` if the server does not say.
    pub lasts: Option<Duration>,
    /// Granted scopes, separated by spaces; `None` if the server does not say.
    pub scope: Option<String>,
}

/// An authorization request, and the secrets that tie the answer to it.
pub struct Asking {
    /// Address that the person opens in a browser.
    pub url: Url,
    /// Value of `state` that an answer must repeat.
    pub state: String,
    verifier: PkceCodeVerifier,
}

/// A pending HTTP request of the oauth2 crate.
type Carried = Pin<Box<dyn Future<Output = Result<HttpResponse, WebError>> + Send>>;

type Client = BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// Creates an authorization request (RFC 6749, 4.1.1) with PKCE (RFC 7636) for a resource (RFC
/// 8707).
///
/// # Errors
/// If an endpoint is not a URL.
pub fn ask(
    found: &Discovery,
    registration: &Registration,
    scope: Option<&str>,
) -> Result<Asking, LoginError> {
    let client = client(found, registration)?;
    let (proof, verifier) = PkceCodeChallenge::new_random_sha256();
    let asking = client.authorize_url(CsrfToken::new_random).set_pkce_challenge(proof);
    let asking = asking.add_extra_param("resource", &found.resource);
    let scopes = scope.iter().flat_map(|scope| scope.split(' ')).map(|scope| Scope::new(scope.to_owned()));
    let (url, csrf) = asking.add_scopes(scopes).url();
    Ok(Asking { url, state: csrf.secret().clone(), verifier })
}

/// Exchanges the authorization code for tokens.
///
/// # Errors
/// If the token endpoint cannot be reached, refuses, or issues an unusable token.
pub async fn redeem(
    web: &Web,
    found: &Discovery,
    registration: &Registration,
    asking: Asking,
    code: String,
) -> Result<Grant, LoginError> {
    let client = client(found, registration)?;
    let exchange = client.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(asking.verifier);
    let exchange = exchange.add_extra_param("resource", &found.resource);
    exchange.request_async(&carrier(web)).await.map_err(refused).and_then(granted)
}

/// Exchanges a refresh token for new tokens.
///
/// # Errors
/// If the token endpoint cannot be reached, refuses, or issues an unusable token.
pub async fn refresh(
    web: &Web,
    found: &Discovery,
    registration: &Registration,
    refresh: &str,
) -> Result<Grant, LoginError> {
    let client = client(found, registration)?;
    let token = RefreshToken::new(refresh.to_owned());
    let request = client.exchange_refresh_token(&token).add_extra_param("resource", &found.resource);
    request.request_async(&carrier(web)).await.map_err(refused).and_then(granted)
}

fn granted(answer: BasicTokenResponse) -> Result<Grant, LoginError> {
    if *answer.token_type() != BasicTokenType::Bearer {
        return Err(LoginError::Token("the token is not a bearer token".into()));
    }
    let scopes = answer.scopes().map(|scopes| scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>());
    let access = answer.access_token().secret().clone();
    if http::HeaderValue::from_str(&access).is_err() {
        return Err(LoginError::Token("the token cannot be sent in a header".into()));
    }
    Ok(Grant {
        access,
        refresh: answer.refresh_token().map(|token| token.secret().clone()),
        lasts: answer.expires_in().filter(|lasts| !lasts.is_zero()),
        scope: scopes.map(|scopes| scopes.join(" ")),
    })
}

fn carrier(web: &Web) -> impl Fn(HttpRequest) -> Carried + Send + Sync + 'static {
    let web = web.clone();
    move |request| {
        let web = web.clone();
        Box::pin(async move {
            let answer = web.send(request).await?;
            let mut response = http::Response::new(answer.body);
            *response.status_mut() = http::StatusCode::from_u16(answer.status).unwrap_or_default();
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}

fn client(found: &Discovery, registration: &Registration) -> Result<Client, LoginError> {
    let url = |_| WebError::NoUrl(found.server.token_endpoint.clone());
    let mut client = BasicClient::new(ClientId::new(registration.client_id.clone()))
        .set_auth_uri(AuthUrl::new(found.server.authorization_endpoint.clone()).map_err(url)?)
        .set_token_uri(TokenUrl::new(found.server.token_endpoint.clone()).map_err(url)?)
        .set_redirect_uri(RedirectUrl::new(registration.redirect_uri.clone()).map_err(url)?)
        .set_auth_type(match registration.token_endpoint_auth_method.as_str() {
            "client_secret_basic" => AuthType::BasicAuth,
            _ => AuthType::RequestBody,
        });
    let uses_secret = registration.token_endpoint_auth_method != "none";
    if let Some(secret) = registration.client_secret.as_ref().filter(|_| uses_secret) {
        client = client.set_client_secret(ClientSecret::new(secret.clone()));
    }
    Ok(client)
}

fn refused(error: RequestTokenError<WebError, BasicErrorResponse>) -> LoginError {
    match error {
        RequestTokenError::ServerResponse(said) => LoginError::Token(printable(&said.to_string())),
        RequestTokenError::Request(error) => error.into(),
        // The answer may contain a token: leave it out of the message.
        RequestTokenError::Parse(error, _) => {
            LoginError::Token(printable(&format!("its answer is invalid: {error}")))
        }
        RequestTokenError::Other(why) => LoginError::Token(why),
    }
}
